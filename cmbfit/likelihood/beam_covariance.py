r"""A covariance that moves with the model, C(m) = C_0 + B_ij m_i m_j, by its few directions.

B = U U^T + R with a few columns U and a remainder R, so that C(m) = C_0 + V V^T + E with V = diag(m) U. With C_0 = L L^T
and X = L^-1 V, Woodbury's identity and the determinant lemma give

    r^T C^-1 r = |w|^2 - |K^-1 X^T w|^2,   ln det C = ln det C_0 + 2 ln det K,   K K^T = 1 + X^T X,   w = L^-1 r,

a factorisation of a matrix as small as the number of directions kept. The remainder of a published B is the rounding of
its file, of both signs: it enters to first order,

    ln L += (u^T E u - tr C^-1 E) / 2,   u = C^-1 r,   E_ij = R_ij m_i m_j,

of which the trace, a number, is taken at the bandpowers of the data.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.banded import Whitening

_SMALLEST = (1e-6, 1e-8, 1e-10, 0.0)
"""Eigenvalues of B, relative to the largest, that are left to the remainder: the first with a remainder that is small enough."""

_LARGEST = 1e-4
"""Size of a remainder, relative to the fixed covariance, that is small enough: its square is neglected."""

_CHUNK = 64
"""Models at a time: their L^-1 diag(m) U stay in the cache."""


class BeamCovariance(OnDevice):
    """Chi2 and ln det of a fixed covariance plus a fractional one times the model's outer product.

    Parameters
    ----------
    name : str
        Of the data set, for messages.
    whitening : Whitening
        By the fixed covariance.
    beam : numpy.ndarray, shape (n, n)
        The fractional covariance B.
    reference : numpy.ndarray, shape (n,)
        Bandpowers at which the remainder's trace is taken, the data.

    Attributes
    ----------
    rank : int
        Directions kept.

    Raises
    ------
    LikelihoodError
        If B has another shape, is not finite or symmetric, or has eigenvalues well below zero.
    """

    def __init__(
        self,
        name: str,
        whitening: Whitening,
        beam: np.ndarray,
        reference: np.ndarray,
    ) -> None:
        n = len(reference)
        if beam.shape != (n, n) or not np.isfinite(beam).all():
            raise LikelihoodError(
                f"{name}: beam correlation: expected {n} x {n} finite numbers, found shape {beam.shape}"
            )
        scale = np.abs(beam).max()
        if not np.allclose(beam, beam.T, rtol=1e-6, atol=1e-9 * scale):
            raise LikelihoodError(f"{name}: the beam correlation is not symmetric")
        values, vectors = np.linalg.eigh((beam + beam.T) / 2)
        if values[0] < -1e-6 * values[-1]:
            raise LikelihoodError(
                f"{name}: the beam correlation has a negative eigenvalue, {values[0]:.3g}; it must be a covariance"
            )
        self.whitening = whitening
        at = np.asarray(reference, dtype=np.float64)
        for smallest in _SMALLEST:
            kept = values > smallest * values[-1]
            rest = (vectors[:, ~kept] * values[~kept]) @ vectors[:, ~kept].T
            white = torch.from_numpy(at[:, None] * rest * at)
            white = whitening(whitening(white).T)  # L^-1 E L^-T
            self.size = float(torch.linalg.matrix_norm(white, 2))
            if self.size < _LARGEST:
                break
        else:
            raise LikelihoodError(
                f"{name}: the negative eigenvalues of the beam correlation are {self.size:.1e} of the covariance; it must be a "
                "covariance itself"
            )
        self.rank = int(kept.sum())
        self.directions = torch.from_numpy(np.ascontiguousarray(vectors[:, kept] * np.sqrt(values[kept])))
        self.ordered = self.directions.index_select(0, whitening.order)
        self.rest = torch.from_numpy(rest).to(torch.float32)
        at_data = torch.from_numpy(at[:, None])
        x, products = self._factors(at_data, at_data)
        turned = torch.linalg.solve_triangular(
            self._cholesky(products)[0], x[0, :, : self.rank].T, upper=False
        )
        self.trace = white.diagonal().sum() - ((turned @ white) * turned).sum()

    def settings(self) -> dict[str, Any]:
        """Return how many directions are kept, and the remainder's size e relative to the fixed covariance.

        What is neglected is of second order: e^2 chi2 / 2 in ln L at most, and e times the relative change of the
        bandpowers in the trace.
        """
        return {"rank": self.rank, "remainder": self.size}

    def at(self, model: torch.Tensor) -> torch.Tensor:  # (n,) -> (n, n)
        """Return what is added to the covariance at one model, less the remainder."""
        columns = model[:, None] * self.directions
        return columns @ columns.T

    def chi2_and_log_det(
        self,
        model: torch.Tensor,  # shape: (n, batch)
        residual: torch.Tensor,  # shape: (n, batch)
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return r^T C(m)^-1 r and ln det C(m), each (batch,)."""
        parts = [
            self._chunk(m, r)
            for m, r in zip(model.split(_CHUNK, dim=1), residual.split(_CHUNK, dim=1), strict=True)
        ]
        chi2, log_det = zip(*parts, strict=True)
        return torch.cat(chi2), torch.cat(log_det)

    def _factors(self, model: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return [X, w] = L^-1 [diag(m) U, r], shape (batch, n, rank + 1), and the products of all columns."""
        order = self.whitening.order
        columns = model.index_select(0, order)[:, :, None] * self.ordered[:, None, :]
        columns = torch.cat([columns, residual.index_select(0, order)[:, :, None]], dim=2)
        x = self.whitening.of_batch(columns)
        return x, x.transpose(1, 2) @ x

    def _chunk(self, model: torch.Tensor, residual: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rank = self.rank
        x, products = self._factors(model, residual)
        factor = self._cholesky(products)
        projected, white2 = products[:, :rank, rank:], products[:, rank, rank]
        left = torch.linalg.solve_triangular(factor, projected, upper=False)
        log_det = self.whitening.log_det + 2 * factor.diagonal(dim1=1, dim2=2).log().sum(1)
        # w - X K^-T K^-1 X^T w = L^T C^-1 r, of which L^-T makes u
        back = torch.linalg.solve_triangular(factor.transpose(1, 2), left, upper=True)
        weights = torch.cat([-back, torch.ones_like(back[:, :1])], dim=1)
        u = self.whitening.transposed((x @ weights)[:, :, 0].T) * model
        # what the remainder gives is 1e-8 of ln L: single precision is enough for it
        small = (u * (self.rest @ u.to(self.rest.dtype))).sum(0)
        chi2 = white2 - left.square().sum((1, 2)) - small
        return chi2, log_det + self.trace

    def _cholesky(self, products: torch.Tensor) -> torch.Tensor:  # shape: (batch, rank, rank)
        """Return K; a model that is not finite has none, and what is returned for it is not a number either."""
        small = products[:, : self.rank, : self.rank]
        return torch.linalg.cholesky_ex(small + torch.eye(self.rank, dtype=small.dtype, device=small.device))[
            0
        ]
