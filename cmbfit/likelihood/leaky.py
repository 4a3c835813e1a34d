"""Gaussian bandpowers that respond to several spectra each: leakage under a mask, lensing corrections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.spectra import Spectra


class LeakyBandpowers(GaussianBandpowers):
    r"""Model of a pair's bandpowers: sum over sources s of c_s(nuisance) W_{pair,s} D_s + offset.

    E leaks into B under a mask; a lensing spectrum depends on the CMB through the estimator's
    normalisation. A calibration belongs to the source, as the maps saw it: a pair's own windows and
    all leakage of the spectrum D_s are multiplied by the same c_s.

    Parameters
    ----------
    leakage : mapping (pair, source) -> numpy.ndarray, shape (n_bins of the pair, any lmax + 1)
        Response of the pair's bandpowers to the source's D_l. Source and pair may be equal: the
        response adds to the pair's own windows.
    calibration : mapping, optional
        Nuisance name to source to power.
    others
        As for :class:`~cmbfit.likelihood.gaussian.GaussianBandpowers`.
    """

    def __init__(
        self,
        info: DataSetInfo,
        windows: Mapping[str, np.ndarray],
        data: np.ndarray,
        covariance: np.ndarray,
        leakage: Mapping[tuple[str, str], np.ndarray],
        files: Mapping[str, str] | None = None,
        calibration: Mapping[str, Mapping[str, float]] | None = None,
        templates: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        super().__init__(info, windows, data, covariance, calibration, files, templates)
        for (pair, source), window in leakage.items():
            expected = len(windows[pair]) if pair in windows else None
            if window.ndim != 2 or len(window) != expected:
                raise LikelihoodError(
                    f"{info.name}: leakage of {source} into {pair} has windows of shape {window.shape}, "
                    f"expected {expected if expected is not None else 'no such pair'} bins"
                )
        self._leakage = {key: torch.from_numpy(np.ascontiguousarray(w)) for key, w in leakage.items()}
        self.pairs = (*self.pairs, *dict.fromkeys(s for _, s in leakage if s not in windows))
        self.lmax = max([self.lmax, *(w.shape[1] - 1 for w in leakage.values())])

    def bandpowers(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch, n_bins)
        """Return the model bandpowers, leakage included."""
        total = super().bandpowers(spectra, nuisance)
        parts, start = [], 0
        for pair, window in self._windows.items():
            part = total[:, start : start + len(window)]
            start += len(window)
            for (to, source), leak in self._leakage.items():
                if to == pair:
                    term = spectra.dl[source][:, : leak.shape[1]] @ leak.T
                    factor = self.calibration_factor(source, nuisance)
                    part = part + (term if factor is None else term * factor[:, None])
            parts.append(part)
        return torch.cat(parts, dim=1)

    def whitened(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return L^-1 W per source, leakage included; see :meth:`GaussianBandpowers.whitened`."""
        rows = {p: w.new_zeros(len(self._data), self.lmax + 1) for p, w in self._windows.items()}
        for _, source in self._leakage:
            rows.setdefault(source, self._data.new_zeros(len(self._data), self.lmax + 1))
        start = 0
        for pair, window in self._windows.items():
            own = slice(start, start + len(window))
            start = own.stop
            rows[pair][own, : window.shape[1]] += window
            for (to, source), leak in self._leakage.items():
                if to == pair:
                    rows[source][own, : leak.shape[1]] += leak
        out = {s: torch.linalg.solve_triangular(self.cholesky, r, upper=False) for s, r in rows.items()}
        return out, super().whitened()[1]
