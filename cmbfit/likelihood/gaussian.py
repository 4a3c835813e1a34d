"""Gaussian likelihood of bandpowers: float64, batched over models, differentiable."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.bandpower_model import (
    AddTemplate,
    Block,
    Calibrate,
    Powers,
    bandpower_name,
    block_sections,
    calibrated,
    pair_blocks,
)
from cmbfit.likelihood.base import DataSetInfo, nuisance_values, sources
from cmbfit.theory.spectra import Spectra


class GaussianBandpowers(OnDevice):
    r"""ln L = -chi2 / 2 with chi2 = r^T C^-1 r and r = sum_s c_s(nuisance) W_s D_s + sum_k A_k t_k - d.

    The sum over s runs over the spectra that a block of bandpowers sees, its own and those that leak into it.
    The covariance enters through its Cholesky factor, C = L L^T, so chi2 = |L^-1 r|^2. The constant
    -ln det(2 pi C) / 2 is left out, as in Planck's, ACT's and SPT's own codes.

    Parameters
    ----------
    info : DataSetInfo
    blocks : sequence of Block, or mapping of str to numpy.ndarray
        In the order of the data vector. A mapping gives pairs and their windows on D_l [uK^2], shape
        (n_bins of the pair, lmax + 1), l from 0: one block a pair, without leakage.
    data : numpy.ndarray, shape (n_bins,)
    covariance : numpy.ndarray, shape (n_bins, n_bins)
    calibration : mapping, optional
        Nuisance name to pair to power: what is seen of a pair is multiplied by the product of
        nuisance**power. Planck: ``{"A_planck": {"tt": -2, "te": -2, "ee": -2}}``.
    files : mapping, optional
        Data files and their sha256, for the record.
    templates : mapping of str to numpy.ndarray, shape (n_bins,), optional
        Nuisance name to what it adds to the model at amplitude 1 (a foreground).

    Attributes
    ----------
    blocks : tuple of Block
    calibrations : tuple of Calibrate
    templates : tuple of AddTemplate

    Raises
    ------
    LikelihoodError
        If shapes disagree, a window is empty, or the covariance is not symmetric and positive definite.
    """

    def __init__(
        self,
        info: DataSetInfo,
        blocks: Sequence[Block] | Mapping[str, np.ndarray],
        data: np.ndarray,
        covariance: np.ndarray,
        calibration: Mapping[str, Mapping[str, float]] | None = None,
        files: Mapping[str, str] | None = None,
        templates: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        try:
            blocks = pair_blocks(blocks) if isinstance(blocks, Mapping) else blocks
        except LikelihoodError as error:
            raise LikelihoodError(f"{info.name}: {error}") from error
        names = [block.name for block in blocks]
        if twice := [name for name in names if names.count(name) > 1]:
            raise LikelihoodError(f"{info.name}: two blocks are called {twice[0]}; give each its own name")
        n = sum(len(block) for block in blocks)
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
                f"{bandpower_name(blocks, int(failed) - 1)}); it must be the covariance itself, both triangles, in "
                "the order of the bandpowers"
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
        self.blocks = tuple(blocks)
        seen = [response for block in blocks for response in block.responses]
        # the spectra that are measured come first
        self.pairs = tuple(dict.fromkeys([block.pair for block in blocks] + [pair for pair, _ in seen]))
        self.lmax = max(window.shape[1] for _, window in seen) - 1
        self._data = torch.from_numpy(data)
        self._cholesky = cholesky
        self.calibrations = tuple(Calibrate(k, dict(v)) for k, v in (calibration or {}).items())
        self.templates = tuple(
            AddTemplate(k, torch.from_numpy(np.ascontiguousarray(t))) for k, t in (templates or {}).items()
        )
        self._files = dict(files or {})

    def settings(self) -> dict[str, Any]:
        """Return data files, calibration and the amplitudes of templates."""
        calibration = {step.nuisance: step.powers for step in self.calibrations}
        windows = [window for block in self.blocks for _, window in block.responses]
        templates = [step.template for step in self.templates]
        made_of = sources(self._files, self._data, self._cholesky, *windows, *templates)
        out = {"kind": "gaussian", **made_of, "calibration": calibration}
        return out | ({"templates": [step.nuisance for step in self.templates]} if self.templates else {})

    def powers(self, pair: str) -> Powers:
        """Return the powers of the nuisance parameters that multiply what is seen of a pair."""
        return tuple(
            sorted((step.nuisance, step.powers[pair]) for step in self.calibrations if step.powers.get(pair))
        )

    def bandpowers(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch, n_bins)
        """Return the model bandpowers as the data see them: with leakage, calibrated, with templates."""
        spectra.require(self.pairs, self.lmax)
        nuisance = nuisance_values(self.info, nuisance, spectra.batch)
        columns = {name: x[:, None] for name, x in nuisance.items()}
        parts = []
        for block in self.blocks:
            terms = [
                calibrated(spectra.dl[pair][:, : w.shape[1]] @ w.T, self.powers(pair), columns)
                for pair, w in block.responses
            ]
            parts.append(functools.reduce(torch.add, terms))
        model = torch.cat(parts, dim=1)
        for step in self.templates:
            model = model + columns[step.nuisance] * step.template
        return model

    def chi2(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return chi2 = |L^-1 (model - data)|^2."""
        residual = self.bandpowers(spectra, nuisance) - self._data
        return self._white(residual.T).square().sum(0)

    def log_prob(
        self,
        spectra: Spectra,
        nuisance: Mapping[str, torch.Tensor],
    ) -> torch.Tensor:  # shape: (batch,)
        """Return -chi2 / 2."""
        return -0.5 * self.chi2(spectra, nuisance)

    def shifted(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> Self:
        """Return the same likelihood of the data plus the second model's bandpowers less the first one's."""
        before, after = self.bandpowers(spectra, nuisance)
        out = copy.copy(self)
        out._data = self._data + (after - before)
        return out

    def _white(self, x: torch.Tensor) -> torch.Tensor:
        """Return L^-1 x of columns, each (n_bins,)."""
        return torch.linalg.solve_triangular(self._cholesky, x, upper=False)

    def whitened(self) -> tuple[dict[tuple[str, Powers], torch.Tensor], torch.Tensor]:
        """Return L^-1 W of each pair and its calibration, each (n_bins, lmax + 1), and L^-1 d.

        Without templates chi2 = |sum c W' D - d'|^2: for folding into a linear theory, see
        :mod:`cmbfit.likelihood.compiled`.
        """
        rows: dict[tuple[str, Powers], torch.Tensor] = {}
        responses = [
            (where, pair, w)
            for block, where in zip(self.blocks, self.sections.values(), strict=True)
            for pair, w in block.responses
        ]
        for where, pair, w in responses:
            size = max(x.shape[1] for _, p, x in responses if p == pair)
            key = pair, self.powers(pair)
            rows.setdefault(key, self._data.new_zeros(len(self._data), size))[where, : w.shape[1]] += w
        return {key: self._white(x) for key, x in rows.items()}, self._white(self._data[:, None])[:, 0]

    def whitened_templates(self) -> dict[str, torch.Tensor]:
        """Return L^-1 t of each template by its amplitude's name, each (n_bins,)."""
        return {step.nuisance: self._white(step.template[:, None])[:, 0] for step in self.templates}

    @property
    def sections(self) -> dict[str, slice]:
        """Rows of each block in the data vector, by its name."""
        return block_sections(self.blocks)

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
