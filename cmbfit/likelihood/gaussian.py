"""Gaussian likelihood of bandpowers: float64, batched over models, differentiable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, nuisance_values
from cmbfit.likelihood.device import moved
from cmbfit.theory.spectra import Spectra


def _row_name(windows: Mapping[str, np.ndarray], row: int) -> str:
    """Name the bandpower of a row of the data vector."""
    for pair, window in windows.items():
        if row < len(window):
            return f"{pair} bandpower {row + 1}"
        row -= len(window)
    return "beyond the bandpowers"


class GaussianBandpowers:
    r"""ln L = -chi2 / 2 with chi2 = r^T C^-1 r and r = c(nuisance) W D + sum_k A_k t_k - d.

    The covariance enters through its Cholesky factor, C = L L^T, so chi2 = |L^-1 r|^2. The constant
    -ln det(2 pi C) / 2 is left out, as in Planck's, ACT's and SPT's own codes.

    Parameters
    ----------
    info : DataSetInfo
    windows : mapping of str to numpy.ndarray
        Pair to bandpower windows on D_l [uK^2], shape (n_bins of the pair, lmax + 1), l from 0.
        The order of the pairs is the order of the data vector.
    data : numpy.ndarray, shape (n_bins,)
    covariance : numpy.ndarray, shape (n_bins, n_bins)
    calibration : mapping, optional
        Nuisance name to pair to power: the model of a pair is multiplied by the product of
        nuisance**power. Planck: ``{"A_planck": {"tt": -2, "te": -2, "ee": -2}}``.
    files : mapping, optional
        Data files and their sha256, for the record.
    templates : mapping of str to numpy.ndarray, shape (n_bins,), optional
        Nuisance name to what it adds to the model at amplitude 1 (a foreground).

    Raises
    ------
    LikelihoodError
        If shapes disagree, a window is empty, or the covariance is not symmetric and positive definite.
    """

    def __init__(
        self,
        info: DataSetInfo,
        windows: Mapping[str, np.ndarray],
        data: np.ndarray,
        covariance: np.ndarray,
        calibration: Mapping[str, Mapping[str, float]] | None = None,
        files: Mapping[str, str] | None = None,
        templates: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        n = sum(len(w) for w in windows.values())
        if data.shape != (n,) or covariance.shape != (n, n):
            raise LikelihoodError(
                f"{info.name}: windows give {n} bandpowers, but the data have shape {data.shape} "
                f"and the covariance {covariance.shape}"
            )
        if not (np.isfinite(covariance).all() and np.isfinite(data).all()):
            raise LikelihoodError(f"{info.name}: data or covariance hold non-finite numbers")
        if not np.allclose(covariance, covariance.T, rtol=1e-8, atol=0):
            raise LikelihoodError(f"{info.name}: the covariance is not symmetric")
        cholesky, failed = torch.linalg.cholesky_ex(torch.from_numpy(covariance))
        if failed:
            raise LikelihoodError(
                f"{info.name}: the covariance is not positive definite (row {int(failed)}, "
                f"{_row_name(windows, int(failed) - 1)}); it must be the covariance itself, both triangles, in "
                "the order of the bandpowers"
            )
        for pair, window in windows.items():
            if bad := np.flatnonzero(~np.isfinite(window).all(1) | ~window.any(1)).tolist():
                raise LikelihoodError(
                    f"{info.name}: the window of {pair} bandpower {bad[0] + 1} is empty or not finite"
                )
        if unknown := (set(calibration or {}) | set(templates or {})) - set(info.nuisance):
            raise LikelihoodError(
                f"{info.name}: calibration or template by {sorted(unknown)} without a prior for it"
            )
        for name, template in (templates or {}).items():
            if template.shape != (n,) or not np.isfinite(template).all():
                raise LikelihoodError(
                    f"{info.name}: template of {name}: expected {n} finite numbers, found shape {template.shape}"
                )
        self.info = info
        self.pairs = tuple(windows)
        self.lmax = max(w.shape[1] for w in windows.values()) - 1
        self._windows = {pair: torch.from_numpy(np.ascontiguousarray(w)) for pair, w in windows.items()}
        self._data = torch.from_numpy(data)
        self._cholesky = cholesky
        self._calibration = {k: dict(v) for k, v in (calibration or {}).items()}
        self._files = dict(files or {})
        self._templates = {k: torch.from_numpy(np.ascontiguousarray(t)) for k, t in (templates or {}).items()}

    def to(self, device: torch.device | str) -> GaussianBandpowers:
        """Return a copy whose arrays live on `device`."""
        return moved(self, device)

    def settings(self) -> dict[str, Any]:
        """Return data files, calibration and the amplitudes of templates."""
        out = {"kind": "gaussian", "files": self._files, "calibration": self._calibration}
        return out | ({"templates": list(self._templates)} if self._templates else {})

    def calibration_factor(self, pair: str, nuisance: Mapping[str, torch.Tensor]) -> torch.Tensor | None:
        """Return the factor on a pair's model, shape (batch,), or None if there is no calibration."""
        factor = None
        for name, powers in self._calibration.items():
            if powers.get(pair, 0):
                term = nuisance[name] ** powers[pair]
                factor = term if factor is None else factor * term
        return factor

    def bandpowers(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch, n_bins)
        """Return the model bandpowers as the data see them (calibrated)."""
        spectra.require(self.pairs, self.lmax)
        nuisance = nuisance_values(self.info, nuisance, spectra.batch)
        blocks = []
        for pair, window in self._windows.items():
            block = spectra.dl[pair][:, : window.shape[1]] @ window.T
            factor = self.calibration_factor(pair, nuisance)
            blocks.append(block if factor is None else block * factor[:, None])
        model = torch.cat(blocks, dim=1)
        for name, template in self._templates.items():
            model = model + nuisance[name][:, None] * template
        return model

    def chi2(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return chi2 = |L^-1 (model - data)|^2."""
        residual = self.bandpowers(spectra, nuisance) - self._data
        return torch.linalg.solve_triangular(self._cholesky, residual.T, upper=False).square().sum(0)

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return -chi2 / 2."""
        return -0.5 * self.chi2(spectra, nuisance)

    def whitened(self) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Return L^-1 W per pair, each (n_bins, lmax + 1), and L^-1 d: chi2 = |sum c W' D - d'|^2.

        For folding into a linear theory; see :mod:`cmbfit.likelihood.compiled`.
        """
        out, start = {}, 0
        for pair, window in self._windows.items():
            rows = torch.zeros(len(self._data), window.shape[1], dtype=window.dtype, device=window.device)
            rows[start : start + len(window)] = window
            start += len(window)
            out[pair] = torch.linalg.solve_triangular(self._cholesky, rows, upper=False)
        data = torch.linalg.solve_triangular(self._cholesky, self._data[:, None], upper=False)[:, 0]
        return out, data

    def whitened_templates(self) -> dict[str, torch.Tensor]:
        """Return L^-1 t of each template by its amplitude's name, each (n_bins,)."""
        return {
            name: torch.linalg.solve_triangular(self._cholesky, t[:, None], upper=False)[:, 0]
            for name, t in self._templates.items()
        }

    @property
    def data(self) -> torch.Tensor:
        """The bandpowers, shape (n_bins,)."""
        return self._data

    @property
    def sigma(self) -> torch.Tensor:
        """Square roots of the covariance's diagonal, shape (n_bins,)."""
        return self._cholesky.square().sum(1).sqrt()

    @property
    def cholesky(self) -> torch.Tensor:
        """Lower Cholesky factor L of the covariance, shape (n_bins, n_bins)."""
        return self._cholesky

    @property
    def covariance(self) -> torch.Tensor:
        """Covariance L L^T of the bandpowers, shape (n_bins, n_bins)."""
        return self._cholesky @ self._cholesky.T

    @property
    def windows(self) -> dict[str, torch.Tensor]:
        """Bandpower windows on D_l by pair."""
        return dict(self._windows)
