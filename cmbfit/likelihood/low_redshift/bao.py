"""Baryon acoustic oscillations: distances over the sound horizon, Gaussian.

Every quantity is a product of powers of D_M, D_H = c/H, z and r_d, so that ln of all of them is one matrix times the ln of
distances: for instance D_V = (z D_M^2 D_H)^(1/3) (Eisenstein et al. 2005, astro-ph/0501171).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import torch

from cmbfit.errors import DataError, LikelihoodError, unknown_name
from cmbfit.likelihood.base import DataSetInfo, sources
from cmbfit.likelihood.low_redshift.measured import DistanceLikelihood, Seen, factor_of
from cmbfit.theory.spectra import Spectra
from cmbfit.units import SPEED_OF_LIGHT


class Quantity(NamedTuple):
    """Powers of D_M, D_H, r_d, z and 1 + z in a measured quantity, a factor, and how figures write it."""

    dm: float
    dh: float
    horizon: float
    z: float
    stretch: float
    factor: float
    latex: str


QUANTITIES = {
    "DM_over_rs": Quantity(1, 0, -1, 0, 0, 1, r"D_M/r_d"),
    "DH_over_rs": Quantity(0, 1, -1, 0, 0, 1, r"D_H/r_d"),
    "DV_over_rs": Quantity(2 / 3, 1 / 3, -1, 1 / 3, 0, 1, r"D_V/r_d"),
    "rs_over_DV": Quantity(-2 / 3, -1 / 3, 1, -1 / 3, 0, 1, r"r_d/D_V"),
    "DA_over_rs": Quantity(1, 0, -1, 0, -1, 1, r"D_A/r_d"),
    "Hz_rs": Quantity(0, -1, 1, 0, 0, SPEED_OF_LIGHT / 1e3, r"H r_d"),
    "F_AP": Quantity(1, -1, 0, 0, 0, 1, r"D_M/D_H"),
}
"""Names of Cobaya's and DESI's files to what they are; H r_d is in km/s."""


class LogModel:
    """ln of quantities at their redshifts as a matrix on ln of distances."""

    def __init__(self, z: np.ndarray, quantities: Sequence[str], scale: float) -> None:
        self.z = np.unique(z)
        rows, at = np.arange(len(z)), np.searchsorted(self.z, z)
        kinds = [QUANTITIES[name] for name in quantities]
        matrix = np.zeros((len(z), 2 * len(self.z)))
        matrix[rows, at] = [q.dm for q in kinds]
        matrix[rows, len(self.z) + at] = [q.dh for q in kinds]
        horizon = np.array([q.horizon for q in kinds], dtype=float)
        constant = [
            q.z * np.log(x) + q.stretch * np.log1p(x) + np.log(q.factor)
            for q, x in zip(kinds, z, strict=True)
        ]
        self.matrix, self.horizon = torch.from_numpy(matrix), torch.from_numpy(horizon)
        self.constant = torch.from_numpy(np.array(constant) + horizon * np.log(scale))


def check_rows(name: str, z: np.ndarray, quantities: Sequence[str]) -> None:
    """Raise :class:`DataError` for quantities that nobody knows and redshifts that are not in order."""
    for i, quantity in enumerate(quantities):
        if quantity not in QUANTITIES:
            raise DataError(f"{name}: row {i + 1}: {unknown_name('quantity', quantity, QUANTITIES)}")
    if not (np.isfinite(z) & (z > 0)).all():
        raise DataError(f"{name}: expected redshifts above zero, found {z.tolist()}")
    if falls := np.flatnonzero(np.diff(z) < 0).tolist():
        i = falls[0]
        raise DataError(
            f"{name}: row {i + 2}: z = {z[i + 1]:g} after {z[i]:g}: expected rows in the order of redshift, as those of the "
            "covariance"
        )


class BaoGaussian(DistanceLikelihood):
    """Gaussian measurements of distances over the sound horizon.

    Parameters
    ----------
    info : DataSetInfo
    z, values : numpy.ndarray, shape (n,)
        Redshifts in order, and what was measured there.
    quantities : sequence of str
        Of :data:`QUANTITIES`.
    covariance : numpy.ndarray, shape (n, n)
    horizon_scale : float
        The sound horizon that the measurement means over the one of a Boltzmann code, of old fitting formulas.
    files : mapping of str to str, optional

    Raises
    ------
    DataError
        For an unknown quantity or redshifts out of order.
    LikelihoodError
        For a covariance of another length, or one that is not positive definite.
    """

    def __init__(
        self,
        info: DataSetInfo,
        z: np.ndarray,
        values: np.ndarray,
        quantities: Sequence[str],
        covariance: np.ndarray,
        *,
        horizon_scale: float = 1.0,
        files: Mapping[str, str] | None = None,
    ) -> None:
        check_rows(info.name, z, quantities)
        if not len(z) == len(values) == len(quantities) or not np.isfinite(values).all():
            raise LikelihoodError(
                f"{info.name}: expected a redshift, a finite value and a quantity in each row"
            )
        if not horizon_scale > 0:
            raise LikelihoodError(
                f"{info.name}: horizon_scale: expected a positive number, found {horizon_scale}"
            )
        self.rows_z, self.quantities, self.scale = (
            np.asarray(z, dtype=float),
            tuple(quantities),
            horizon_scale,
        )
        model = LogModel(self.rows_z, quantities, horizon_scale)
        self._matrix, self._horizon = model.matrix, model.horizon[:, None]
        self._constant = model.constant[:, None]
        super().__init__(info, model.z, files)
        self._factor = factor_of(info.name, covariance, len(z))
        self._data = torch.from_numpy(np.array(values, dtype=float))
        eye = torch.eye(len(z), dtype=torch.float64)
        self._white = torch.linalg.solve_triangular(self._factor, eye, upper=False)
        self._target = (self._white @ self._data)[:, None]

    def settings(self) -> dict[str, Any]:
        """Return files, quantities and the scale of the sound horizon."""
        made_of = sources(self._files, self._data, self._factor)
        return {"kind": "bao", **made_of, "quantities": list(self.quantities), "horizon_scale": self.scale}

    @property
    def data(self) -> torch.Tensor:  # shape: (n,)
        """The measured values."""
        return self._data

    @property
    def sigma(self) -> torch.Tensor:  # shape: (n,)
        """Square roots of the covariance's diagonal."""
        return self._factor.square().sum(1).sqrt()

    def predicted(self, seen: Seen) -> torch.Tensor:  # shape: (n, batch)
        """Return the quantities of a model."""
        log = torch.addmm(self._constant, self._matrix, torch.cat([seen.dm, seen.dh]))
        return torch.exp(log if seen.horizon is None else torch.addcmul(log, self._horizon, seen.horizon))

    def shifted(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],  # noqa: ARG002 (none)
    ) -> Self:
        """Return the same likelihood of the values plus the second model's less the first one's."""
        before, after = self.predicted(self.seen(spectra.parameters)).unbind(1)
        out = copy.copy(self)
        out._data = self._data + (after - before)
        out._target = (self._white @ out._data)[:, None]
        return out

    def log_prob_of(
        self,
        seen: Seen,
        nuisance: Mapping[str, torch.Tensor],  # noqa: ARG002 (none)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return -chi2 / 2."""
        return -0.5 * torch.addmm(self._target, self._white, self.predicted(seen), alpha=-1).square().sum(0)
