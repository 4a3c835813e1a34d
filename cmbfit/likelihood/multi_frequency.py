"""Gaussian likelihood of spectra of several frequencies, with foregrounds, and a covariance that may move with the model."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.banded import Whitening
from cmbfit.likelihood.bandpower_model import Block, bandpower_name, block_sections
from cmbfit.likelihood.base import DataSetInfo, nuisance_values
from cmbfit.likelihood.beam_covariance import BeamCovariance
from cmbfit.likelihood.cuts import centres
from cmbfit.likelihood.data_model import DataModel
from cmbfit.theory.spectra import Spectra


class MultiFrequencyBandpowers(OnDevice):
    r"""ln L = -chi2 / 2, or -chi2 / 2 - ln det(C(m)) / 2 where the covariance moves with the model m.

    Parameters
    ----------
    info : DataSetInfo
    model : DataModel
    data : numpy.ndarray, shape (n_bins,)
    covariance : numpy.ndarray, shape (n_bins, n_bins)
    beam : numpy.ndarray, shape (n_bins, n_bins), optional
        Fractional covariance B of the beams' errors, C(m) = covariance + B_ij m_i m_j (Dutcher et al. 2021,
        arXiv:2101.01684, section V E). ln det 2pi of a fixed covariance is left out, as in the surveys' own codes.
    files : mapping, optional
        Data files and their sha256, for the record.
    rename : mapping of str to str, optional
        Parameters of the model to names outside.

    Raises
    ------
    LikelihoodError
        If shapes disagree, or a covariance is not symmetric and positive.
    """

    def __init__(
        self,
        info: DataSetInfo,
        model: DataModel,
        data: np.ndarray,
        covariance: np.ndarray,
        beam: np.ndarray | None = None,
        *,
        files: Mapping[str, str] | None = None,
        rename: Mapping[str, str] | None = None,
    ) -> None:
        n = len(model.owner)
        if data.shape != (n,) or covariance.shape != (n, n):
            raise LikelihoodError(
                f"{info.name}: windows give {n} bandpowers, but the data have shape {data.shape} "
                f"and the covariance {covariance.shape}"
            )
        if not (np.isfinite(covariance).all() and np.isfinite(data).all()):
            raise LikelihoodError(f"{info.name}: data or covariance hold non-finite numbers")
        if not np.allclose(covariance, covariance.T, rtol=1e-8, atol=0):
            raise LikelihoodError(f"{info.name}: the covariance is not symmetric")
        self.info, self.model = info, model
        self.blocks = tuple(
            Block(s.name, s.pair, model.window(i).numpy()) for i, s in enumerate(model.spectra)
        )
        total = torch.from_numpy(covariance)
        _, failed = torch.linalg.cholesky_ex(total)
        if failed:
            row = bandpower_name(self.blocks, int(failed) - 1)
            raise LikelihoodError(
                f"{info.name}: the covariance is not positive definite (row {int(failed)}, {row})"
            )
        self._data, self._fixed = torch.from_numpy(np.array(data)), total
        self.whitening = Whitening(total, np.concatenate([centres(b.window.numpy()) for b in self.blocks]))
        self.beam = None if beam is None else BeamCovariance(info.name, self.whitening, beam, data)
        self.pairs, self.lmax = model.pairs, model.lmax
        self._files, self._rename = dict(files or {}), dict(rename or {})
        lacking = [p for p in model.parameters if self._rename.get(p, p) not in info.nuisance]
        if lacking:
            raise LikelihoodError(f"{info.name}: the nuisance parameter {lacking[0]} has no prior")

    def settings(self) -> dict[str, Any]:
        """Return data files and steps."""
        steps = [{"step": type(s).__name__, "parameters": list(s.parameters)} for s in self.model.steps]
        out = {"kind": "multi_frequency", "files": self._files, "steps": steps}
        return out | ({} if self.beam is None else {"beam_covariance": self.beam.settings()})

    def own_names(self, nuisance: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return the values of the model's parameters under the names that its steps use."""
        return {name: nuisance[self.outside(name)] for name in self.model.parameters}

    def outside(self, name: str) -> str:
        """Return the name outside of one of the model's parameters."""
        return self._rename.get(name, name)

    def bandpowers(
        self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:  # shape: (batch, n_bins)
        """Return the model bandpowers as the data see them."""
        spectra.require(self.pairs, self.lmax)
        values = nuisance_values(self.info, nuisance, spectra.batch)
        return self.model.bandpowers(spectra, self.own_names(values)).expand(spectra.batch, -1)

    def log_prob(
        self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
    ) -> torch.Tensor:  # shape: (batch,)
        """Return ln L without priors."""
        return self.log_prob_of_bandpowers(self.bandpowers(spectra, nuisance).T)

    def log_prob_of_bandpowers(self, model: torch.Tensor) -> torch.Tensor:  # (n_bins, batch) -> (batch,)
        """Return ln L of model bandpowers."""
        chi2, log_det = self._terms(model)
        return -0.5 * (chi2 + log_det)

    def chi2(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> torch.Tensor:  # shape: (batch,)
        """Return chi2 with the covariance at the model."""
        return self._terms(self.bandpowers(spectra, nuisance).T)[0]

    def _terms(self, model: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        residual = model - self._data[:, None]
        if self.beam is not None:
            return self.beam.chi2_and_log_det(model, residual)
        return self.whitening(residual).square().sum(0), residual.new_zeros(())

    def shifted(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> Self:
        """Return the same likelihood of the data plus the second model's bandpowers less the first one's."""
        before, after = self.bandpowers(spectra, nuisance)
        out = copy.copy(self)
        out._data = self._data + (after - before)
        return out

    @property
    def sections(self) -> dict[str, slice]:
        """Rows of each spectrum in the data vector, by its name."""
        return block_sections(self.blocks)

    @property
    def data(self) -> torch.Tensor:
        """The bandpowers, shape (n_bins,)."""
        return self._data

    @property
    def sigma(self) -> torch.Tensor:
        """Square roots of the covariance's diagonal, shape (n_bins,); at the data where it moves with the model."""
        return self.covariance.diagonal().sqrt()

    @property
    def cholesky(self) -> torch.Tensor:
        """Lower Cholesky factor of the covariance, shape (n_bins, n_bins); at the data where it moves."""
        return torch.linalg.cholesky(self.covariance)

    @property
    def covariance(self) -> torch.Tensor:
        """Covariance, shape (n_bins, n_bins); at the data where it moves with the model."""
        return self._fixed if self.beam is None else self._fixed + self.beam.at(self._data)
