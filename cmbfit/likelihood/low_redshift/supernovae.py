r"""Supernovae of type Ia: magnitudes against luminosity distances, one unknown absolute magnitude.

.. math:: m_i = 5 \log_{10} \frac{(1 + z_{\odot,i}) D_M(z_i)}{10\,\mathrm{pc}} + M + \mathrm{noise}.

With a flat prior on M the marginal likelihood is again Gaussian: the whitened residual without its part along the whitened
column of ones (Goliath et al. 2001, astro-ph/0104009, appendix); constants are dropped, so that chi2 is the one of the best M.

Thousands of magnitudes fold into two dozen numbers without a loss: ln(D_M / z) is smooth in ln(1 + z), so that its values at
Gauss-Legendre nodes give it at every supernova, and a QR decomposition of the whitened interpolation leaves as many
directions as there are nodes. Everything orthogonal to them no expansion history can reach.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.polynomial import legendre

from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, sources
from cmbfit.likelihood.low_redshift.measured import DistanceLikelihood, Seen, factor_of
from cmbfit.theory.spectra import Spectra

_MAGNITUDES = 5 / math.log(10)
"""Magnitudes for each unit of ln of distance."""

N_NODES = 32
"""Of the interpolation."""


def interpolation(z: np.ndarray, n_nodes: int = N_NODES) -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and the matrix from ln(D_M / z) there to ln(D_M / z) at z, shapes (n_nodes,) and (len(z), n_nodes)."""
    top = np.log1p(z.max())
    node, weight = legendre.leggauss(n_nodes)
    order = np.arange(n_nodes)
    analysis = (order[:, None] + 0.5) * legendre.legvander(node, n_nodes - 1).T * weight
    matrix = legendre.legvander(2 * np.log1p(z) / top - 1, n_nodes - 1) @ analysis
    return np.expm1((node + 1) / 2 * top), matrix


class Supernovae(DistanceLikelihood):
    """Gaussian magnitudes of supernovae, or distance moduli up to a common constant.

    Parameters
    ----------
    info : DataSetInfo
    z, z_hel : numpy.ndarray, shape (n,)
        Redshift of the expansion (CMB frame, corrected for peculiar velocity), and as observed from the Sun.
    magnitudes : numpy.ndarray, shape (n,)
    covariance : numpy.ndarray, shape (n, n)
    offset : str, optional
        Nuisance parameter that is M; marginalised with a flat prior when omitted.
    files : mapping of str to str, optional

    Raises
    ------
    DataError
        For redshifts or magnitudes that are none.
    LikelihoodError
        For a covariance of another length, or one that is not positive definite.
    """

    with_horizon = False

    def __init__(
        self,
        info: DataSetInfo,
        z: np.ndarray,
        z_hel: np.ndarray,
        magnitudes: np.ndarray,
        covariance: np.ndarray,
        offset: str | None = None,
        files: Mapping[str, str] | None = None,
    ) -> None:
        z, z_hel, magnitudes = (np.asarray(x, dtype=float) for x in (z, z_hel, magnitudes))
        good = np.isfinite(magnitudes) & (z > 0) & (z_hel > -1)
        if not good.all():
            i = int(np.flatnonzero(~good)[0])
            raise DataError(
                f"{info.name}: supernova {i + 1}: expected a redshift above zero and a magnitude, found z = {z[i]}, "
                f"z_hel = {z_hel[i]}, {magnitudes[i]}"
            )
        super().__init__(info, z, files)
        self.offset, self.z_hel = offset, z_hel
        self._magnitudes = torch.from_numpy(magnitudes)
        self._fixed = torch.from_numpy(25 + 5 * np.log10(1 + z_hel))
        self._factor = factor_of(info.name, covariance, len(z))
        self._ones = self._whiten(torch.ones(len(z), 1, dtype=torch.float64))

    def _whiten(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.solve_triangular(self._factor, x, upper=False)

    def _white(self, x: torch.Tensor) -> torch.Tensor:
        """Return whitened columns, less what M can be where it is marginalised."""
        white = self._whiten(x)
        if self.offset is not None:
            return white
        return white - self._ones @ (self._ones.T @ white) / self._ones.square().sum()

    def settings(self) -> dict[str, Any]:
        """Return files and what becomes of the absolute magnitude."""
        made_of = sources(self._files, self._magnitudes, self._factor)
        return {"kind": "supernovae", **made_of, "absolute_magnitude": self.offset or "marginalised"}

    @property
    def data(self) -> torch.Tensor:  # shape: (n,)
        """The magnitudes."""
        return self._magnitudes

    @property
    def sigma(self) -> torch.Tensor:  # shape: (n,)
        """Square roots of the covariance's diagonal."""
        return self._factor.square().sum(1).sqrt()

    @property
    def covariance(self) -> torch.Tensor:  # shape: (n, n)
        """Of the magnitudes."""
        return self._factor @ self._factor.T

    def moduli(self, seen: Seen) -> torch.Tensor:  # shape: (n, batch)
        """Return the distance moduli of a model."""
        return torch.add(self._fixed[:, None], seen.dm, alpha=_MAGNITUDES)

    def shifted(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],  # noqa: ARG002 (the same offset in both)
    ) -> Self:
        """Return the same likelihood of the magnitudes plus the second model's moduli less the first one's."""
        before, after = self.moduli(self.seen(spectra.parameters)).unbind(1)
        out = copy.copy(self)
        out._magnitudes = self._magnitudes + (after - before)
        return out

    def log_prob_of(
        self, seen: Seen, nuisance: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:  # shape: (batch,)
        """Return -chi2 / 2."""
        residual = self._magnitudes[:, None] - self.moduli(seen)
        if self.offset is not None:
            residual = residual - nuisance[self.offset]
        return -0.5 * self._white(residual).square().sum(0)

    def folded(self) -> DistanceLikelihood:
        """Return the same likelihood of distances at the nodes of the interpolation."""
        if len(self.z) <= N_NODES:
            return self
        return FoldedSupernovae(self)


class FoldedSupernovae(DistanceLikelihood):
    """Supernovae as a few directions; see the module."""

    with_horizon = False

    def __init__(self, whole: Supernovae) -> None:
        nodes, matrix = interpolation(whole.z)
        super().__init__(whole.info, nodes)
        self.whole, self.offset = whole, whole.offset
        rows = whole._white(torch.from_numpy(_MAGNITUDES * matrix))
        if whole.offset is not None:
            rows = torch.cat([rows, whole._ones], dim=1)
        at_z = whole._fixed + _MAGNITUDES * torch.from_numpy(np.log(whole.z) - matrix @ np.log(nodes))
        data = whole._white((whole._magnitudes - at_z)[:, None])[:, 0]
        basis, self._matrix = torch.linalg.qr(rows)
        self._target = (basis.T @ data)[:, None]
        self._norm = -0.5 * (data - basis @ self._target[:, 0]).square().sum()

    def settings(self) -> dict[str, Any]:
        """Return those of the whole."""
        return self.whole.settings()

    def log_prob_of(
        self, seen: Seen, nuisance: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:  # shape: (batch,)
        """Return -chi2 / 2."""
        x = seen.dm if self.offset is None else torch.cat([seen.dm, nuisance[self.offset][None]])
        residual = torch.addmm(self._target, self._matrix, x, alpha=-1)
        return torch.sub(self._norm, residual.square().sum(0), alpha=0.5)


def check_magnitude_names(name: str, table: list[str], covariance: list[str]) -> None:
    """Raise :class:`LikelihoodError` unless a covariance is of the very objects of a table, in their order."""
    if len(table) != len(covariance):
        raise LikelihoodError(
            f"{name}: the covariance names {len(covariance)} objects, the table {len(table)}: expected the same"
        )
    for i, (one, two) in enumerate(zip(table, covariance, strict=True)):
        if one != two:
            raise LikelihoodError(
                f"{name}: row {i + 1}: the covariance names {two}, the table {one}: expected the same objects in one order"
            )
