"""Log-normal bins of low multipoles: mean D_l of a few bins, each with a (shifted) log-normal probability.

Prince & Dunkley 2019 (arXiv:1909.05869) and 2022 (arXiv:2104.05715), fitted to Planck's low-l likelihoods.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import DataError
from cmbfit.likelihood.bandpower_model import Powers, calibrated
from cmbfit.likelihood.base import DataSetInfo, nuisance_values, sources
from cmbfit.theory.spectra import Spectra


class LogNormalBins(OnDevice):
    r"""ln L = -sum_b [ln(x_b) + (ln x_b - mu_b)^2 / (2 sigma_b^2) + ln(sigma_b sqrt(2 pi))], x_b = mean of D_l in bin b - shift_b.

    Parameters
    ----------
    info : DataSetInfo
    pair : str
    bins : numpy.ndarray, shape (n_bins, 5)
        First and last multipole, mu, sigma, shift [uK^2] of each.
    powers : sequence of (str, float)
        Nuisance parameters and the powers of them that multiply the model.
    files : mapping, optional
        Data files and their sha256, for the record.

    Raises
    ------
    DataError
        If bins are empty, overlap or run backwards, or a width is not positive.
    """

    def __init__(
        self,
        info: DataSetInfo,
        pair: str,
        bins: np.ndarray,
        powers: Powers = (),
        files: Mapping[str, str] | None = None,
    ) -> None:
        if bins.ndim != 2 or bins.shape[1] != 5 or not np.isfinite(bins).all():
            raise DataError(
                f"{info.name}: expected lmin, lmax, mu, sigma and a shift of each bin, found shape {bins.shape}"
            )
        first, last = bins[:, 0].astype(int), bins[:, 1].astype(int)
        if first[0] < 2 or (last < first).any() or (first[1:] <= last[:-1]).any() or (bins[:, 3] <= 0).any():
            raise DataError(
                f"{info.name}: expected bins that follow each other from l = 2 or above, of positive widths"
            )
        self.info, self.pairs, self.lmax = info, (pair,), int(last[-1])
        window = np.zeros((len(bins), self.lmax + 1))
        for row, a, b in zip(window, first, last, strict=True):
            row[a : b + 1] = 1.0 / (b + 1 - a)
        self.window = torch.from_numpy(window)
        self._mu, self._sigma, self._shift = (
            torch.from_numpy(np.ascontiguousarray(bins[:, i]))[:, None] for i in (2, 3, 4)
        )
        self._constant = float(np.log(bins[:, 3] * math.sqrt(2 * math.pi)).sum())
        self.powers, self._files = tuple(powers), dict(files or {})

    def settings(self) -> dict[str, Any]:
        """Return data files and calibration."""
        made_of = sources(self._files, self.window, self._mu, self._sigma, self._shift)
        return {"kind": "lognormal_bins", **made_of, "calibration": dict(self.powers)}

    def log_prob(
        self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L; -inf where a bin lies below its shift."""
        spectra.require(self.pairs, self.lmax)
        values = nuisance_values(self.info, nuisance, spectra.batch)
        return self.log_prob_of_bins(self.window @ spectra.dl[self.pairs[0]][:, : self.lmax + 1].T, values)

    def shifted(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> Self:  # noqa: ARG002 (a factor of both)
        """Return the bins as if the sky had the second model's power for the first one's: means times their ratio.

        Of a log-normal without a shift of its bin that moves ln D as a Gaussian's mean moves D.
        """
        spectra.require(self.pairs, self.lmax)
        before, after = (self.window @ spectra.dl[self.pairs[0]][:, : self.lmax + 1].T).unbind(1)
        out = copy.copy(self)
        out.window = self.window * (before / after)[:, None]
        return out

    def log_prob_of_bins(
        self,
        means: torch.Tensor,  # shape: (n_bins, batch), uK^2, not calibrated
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L of just the bins' means."""
        x = calibrated(means, self.powers, nuisance) - self._shift
        inside = (x > 0).all(0)  # False for NaN
        log = torch.where(x > 0, x, 1.0).log()
        total = -(log + 0.5 * ((log - self._mu) / self._sigma).square()).sum(0) - self._constant
        return torch.where(inside, total, -torch.inf)


class FoldedLogNormal(OnDevice):
    """The same from the components of a linear-decoder emulator.

    Parameters
    ----------
    like : LogNormalBins
    decode : callable
        From windows on D_l by pair to matrices on the components of each source.
    """

    def __init__(
        self,
        like: LogNormalBins,
        decode: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]],
    ) -> None:
        self.like = like
        self.matrices = decode({like.pairs[0]: like.window})
        self.sources = tuple(self.matrices)

    def log_prob(
        self,
        components: Mapping[str, torch.Tensor],  # source -> (n_components, batch)
        amplitudes: Mapping[str, torch.Tensor],  # source -> (batch,)
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L."""
        terms = [matrix @ (components[s] * amplitudes[s]) for s, matrix in self.matrices.items()]
        return self.like.log_prob_of_bins(functools.reduce(torch.add, terms), nuisance)
