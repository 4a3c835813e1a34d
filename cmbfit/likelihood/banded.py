"""Whitening with a covariance whose bandpowers correlate with their neighbours in multipole alone."""

from __future__ import annotations

import itertools

import numpy as np
import torch

from cmbfit.device import OnDevice


class Whitening(OnDevice):
    """L^-1 and L^-T of a covariance C = L L^T, its rows in an order in which C is a narrow band if there is one.

    The Cholesky factor of a band is a band. In blocks as long as the band is wide it has nothing but a diagonal and
    what stands beside it, so that a solution costs n times the width in place of n^2 / 2.

    Parameters
    ----------
    covariance : torch.Tensor, shape (n, n)
        Positive definite.
    middles : numpy.ndarray, shape (n,)
        Mean multipole of each row.
    """

    def __init__(self, covariance: torch.Tensor, middles: np.ndarray) -> None:
        n = len(covariance)
        order = torch.from_numpy(np.argsort(middles, kind="stable"))
        rows, columns = torch.nonzero(covariance[order][:, order], as_tuple=True)
        width = int((rows - columns).abs().max()) + 1
        if 3 * width > n:
            order, width = torch.arange(n), n
        self.order, self.back = order, torch.argsort(order)
        cholesky = torch.linalg.cholesky(covariance[order][:, order])
        self.log_det = 2 * cholesky.diagonal().log().sum()
        edges = [*range(0, n, width), n]
        self.sizes = [b - a for a, b in itertools.pairwise(edges)]
        places = [slice(a, b) for a, b in itertools.pairwise(edges)]
        eye = torch.eye(width, dtype=covariance.dtype)
        self.inverses = [
            torch.linalg.solve_triangular(
                cholesky[p, p], eye[: p.stop - p.start, : p.stop - p.start], upper=False
            )
            for p in places
        ]
        beside = [cholesky[p, q] for q, p in itertools.pairwise(places)]
        # L_ii^-1 L_i,i-1 and L_i,i-1 L_i-1,i-1^-1
        self.down = [inverse @ x for inverse, x in zip(self.inverses[1:], beside, strict=True)]
        self.up = [x @ inverse for inverse, x in zip(self.inverses[:-1], beside, strict=True)]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:  # (n, k) -> (n, k)
        """Return L^-1 x, rows in the order of the band."""
        return self.of_ordered(x.index_select(0, self.order))

    def of_ordered(self, x: torch.Tensor) -> torch.Tensor:  # (n, k) -> (n, k)
        """Return L^-1 x of rows that are in the order of the band already."""
        return torch.cat(self._blocks(x))

    def of_batch(self, x: torch.Tensor) -> torch.Tensor:  # (n, batch, k) -> (batch, n, k)
        """Return L^-1 x of rows that are in the order of the band, each matrix of a batch for itself in memory."""
        _, batch, k = x.shape
        parts = self._blocks(x.reshape(len(x), batch * k))
        return torch.cat([part.reshape(len(part), batch, k).transpose(0, 1) for part in parts], dim=1)

    def _blocks(self, x: torch.Tensor) -> list[torch.Tensor]:
        parts = x.split(self.sizes)
        out = [self.inverses[0] @ parts[0]]
        for part, inverse, down in zip(parts[1:], self.inverses[1:], self.down, strict=True):
            out.append(torch.addmm(inverse @ part, down, out[-1], alpha=-1))
        return out

    def transposed(self, y: torch.Tensor) -> torch.Tensor:  # (n, k) -> (n, k)
        """Return L^-T y, rows in the order of the data."""
        parts = y.split(self.sizes)
        out = [self.inverses[-1].T @ parts[-1]]
        for part, inverse, up in zip(parts[-2::-1], self.inverses[-2::-1], self.up[::-1], strict=True):
            out.append(torch.addmm(inverse.T @ part, up.T, out[-1], alpha=-1))
        return torch.cat(out[::-1]).index_select(0, self.back)
