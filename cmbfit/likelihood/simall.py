"""Planck's simulation-based low-l likelihood: a table of ln P(D_l) for each multipole.

Planck Collaboration V (2020), A&A 641, A5, section 2.2.6 (SimAll, EE at l = 2-29).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import DataError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values, sources
from cmbfit.theory.spectra import Spectra


class TabulatedSpectrum(OnDevice):
    """ln L = sum_l table[D_l, l], between rows by linear interpolation.

    The published code takes the row below D_l, so that row i stands for D_l from i to i + 1 steps: on
    average for its centre, (i + 1/2) step. Interpolating between the centres equals the published
    numbers on average, keeps ln L continuous and gives it a gradient. At the Planck best fit the two
    differ by 0.03 in chi2 (interpolating between the row's lower edges would differ by 0.09).

    Parameters
    ----------
    info : DataSetInfo
    pair : str
        Which spectrum the table is of.
    lmin : int
        Multipole of the first column.
    step : float
        Spacing of the rows in D_l [uK^2]; row i holds D_l from i to i + 1 steps.
    table : numpy.ndarray, shape (n_rows, n_multipoles)
        ln P.
    files : mapping, optional
        Data files and their sha256, for the record.
    """

    def __init__(
        self,
        info: DataSetInfo,
        pair: str,
        lmin: int,
        step: float,
        table: np.ndarray,
        files: Mapping[str, str] | None = None,
    ) -> None:
        if table.ndim != 2 or not np.isfinite(table).all():
            raise DataError(
                f"{info.name}: expected a finite two-dimensional table, found shape {table.shape}"
            )
        self.info = info
        self.pairs = (pair,)
        self.lmin = lmin
        self.lmax = lmin + table.shape[1] - 1
        self.step = step
        self._table = torch.from_numpy(np.ascontiguousarray(table.T))  # shape: (n_multipoles, n_rows)
        self._rise = self._table.diff()
        self._files = dict(files or {})

    def settings(self) -> dict[str, Any]:
        """Return data files and the rule between rows."""
        made_of = sources(self._files, self._table)
        return {
            "kind": "table",
            **made_of,
            "lmin": self.lmin,
            "step": self.step,
            "interpolation": "linear between row centres",
        }

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L; -inf for a D_l outside the table (negative or above its last row)."""
        spectra.require(self.pairs, self.lmax)
        nuisance = nuisance_values(self.info, nuisance, spectra.batch)
        dl = spectra.dl[self.pairs[0]][:, self.lmin : self.lmax + 1]
        return self.log_prob_of_rows(dl.T, nuisance)

    def shifted(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> Self:  # noqa: ARG002 (units)
        """Return the table as if the sky had the second model's power for the first one's: ln L(D_l) -> ln L(D_l D1/D2).

        The distribution of D_l at given data is nearly one of their ratio, and its support, D_l > 0, stays. Between rows it is
        interpolated as everywhere; where the old table ends, its last two rows are continued.
        """
        spectra.require(self.pairs, self.lmax)
        before, after = spectra.dl[self.pairs[0]][:, self.lmin : self.lmax + 1]
        last = self._table.shape[1] - 1
        rows = torch.arange(last + 1, dtype=self._table.dtype, device=self._table.device)
        position = (rows + 0.5) * (before / after)[:, None] - 0.5  # shape: (n_multipoles, n_rows)
        index = position.to(torch.int64).clamp_(0, last - 1)
        out = copy.copy(self)
        out._table = self._table.gather(1, index) + self._rise.gather(1, index) * (position - index)
        out._rise = out._table.diff()
        return out

    def log_prob_of_rows(
        self,
        dl: torch.Tensor,  # shape: (n_multipoles, batch), D_l [uK^2] from lmin
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of just the tabulated multipoles, a row each."""
        unit: torch.Tensor | float = self.step
        for calibration in nuisance.values():
            unit = unit * calibration.square()
        position = dl / unit - 0.5  # in rows' centres
        last = self._table.shape[1] - 1
        inside = (position.clamp(-0.5, last) == position).all(0)  # False for NaN
        # a whole number from NaN is any number: limited after the conversion
        index = position.detach().to(torch.int64).clamp_(0, last - 1)
        below, rise = self._table.gather(1, index), self._rise.gather(1, index)
        total = torch.addcmul(below, position - index, rise).sum(0)
        return torch.where(inside, total, -torch.inf)
