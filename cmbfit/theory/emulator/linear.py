"""The emulator as a Theory: batched torch, float64, differentiable, refusing points outside its box."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch

from cmbfit.errors import LikelihoodError
from cmbfit.theory.base import check_box
from cmbfit.theory.emulator.arrays import LOGA_PIVOT, LOWL_EE_MAX, TAU_PIVOT, Block, EmulatorArrays
from cmbfit.theory.emulator.polynomial import LegendreFeatures
from cmbfit.theory.spectra import Spectra


class _TorchBlock:
    """A block's arrays in torch: decoded = mean + basis^T (coefficients^T h), times scale."""

    def __init__(self, block: Block, lmax: int, device: torch.device | str = "cpu") -> None:
        self.slices = block.slices(lmax)
        self.lmin = dict(zip(block.pairs, block.lmin, strict=True))
        self.mean = torch.from_numpy(block.mean * block.scale).to(device)
        self.decoder = torch.from_numpy(block.basis.astype("f8") * block.scale).to(
            device
        )  # (n_components, n)
        self.coefficients = torch.from_numpy(block.coefficients.T.copy()).to(
            device
        )  # (n_components, n_terms)

    def decode(self, features: torch.Tensor) -> torch.Tensor:  # (n_terms, batch) -> (batch, n)
        return torch.addmm(self.mean, (self.coefficients @ features).T, self.decoder)


class LinearEmulator:
    """LCDM spectra from a trained linear-decoder emulator.

    Parameters
    ----------
    arrays : EmulatorArrays
    settings : dict
        What the emulator was trained on; becomes part of every product's provenance.
    device : torch.device or str

    Notes
    -----
    Everything after the polynomial features is linear up to an amplitude, so a Gaussian likelihood
    can be folded into one small matrix: see :meth:`fold`.
    """

    def __init__(
        self, arrays: EmulatorArrays, settings: dict[str, Any], device: torch.device | str = "cpu"
    ) -> None:
        self.arrays = arrays
        self.parameters = tuple(arrays.box)
        self.box = dict(arrays.box)
        self.lmax = arrays.lmax
        self.settings = settings
        self.features = LegendreFeatures(list(arrays.box.values()), arrays.degrees).to(device)
        self._cmb = _TorchBlock(arrays.cmb, arrays.lmax, device)
        self._lensing = _TorchBlock(arrays.lensing, arrays.lmax, device)
        self.lowl_ee_coefficients = torch.from_numpy(arrays.lowl_ee.T.copy()).to(device)  # (28, n_terms)
        self._derived = torch.from_numpy(arrays.derived.T.copy()).to(device)
        self._logA = self.parameters.index("logA")
        self._tau = self.parameters.index("tau")

    def to(self, device: torch.device | str) -> LinearEmulator:
        """Return a copy on `device`."""
        return LinearEmulator(self.arrays, copy.deepcopy(self.settings), device)

    def amplitude(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the factor on the cmb block, exp(logA - 2 tau) up to a constant."""
        return torch.exp(theta[:, self._logA] - LOGA_PIVOT - 2 * (theta[:, self._tau] - TAU_PIVOT))

    def scalar_amplitude(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the factor on low-l EE and lensing, A_s up to a constant."""
        return torch.exp(theta[:, self._logA] - LOGA_PIVOT)

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return lensed tt, te, ee and pp up to lmax, and derived parameters.

        Raises
        ------
        OutsideBoxError
            If a point lies outside the box: an emulator extrapolates plausibly and wrongly.
        """
        check_box(theta, self.parameters, self.box)
        h = self.features(theta)
        amplitude = self.amplitude(theta)[:, None]
        scalar = self.scalar_amplitude(theta)[:, None]
        cmb = amplitude * self._cmb.decode(h)
        lensing = scalar * self._lensing.decode(h)
        lowl_ee = scalar * torch.exp((self.lowl_ee_coefficients @ h).T)
        empty = torch.zeros(len(theta), 2, dtype=theta.dtype, device=theta.device)  # l = 0, 1
        dl = {pair: torch.cat([empty, cmb[:, self._cmb.slices[pair]]], dim=1) for pair in ("tt", "te")}
        dl["ee"] = torch.cat([empty, lowl_ee, cmb[:, self._cmb.slices["ee"]]], dim=1)
        dl["pp"] = torch.cat([empty, lensing], dim=1)
        return Spectra(dl, self._parameter_table(theta, h))

    def _parameter_table(self, theta: torch.Tensor, h: torch.Tensor) -> dict[str, torch.Tensor]:
        derived = torch.exp(self._derived @ h)
        table = {p: theta[:, i] for i, p in enumerate(self.parameters)}
        return table | {p: derived[i] for i, p in enumerate(self.arrays.derived_names)}

    def derived(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return sampled and derived parameters without decoding spectra."""
        check_box(theta, self.parameters, self.box)
        return self._parameter_table(theta, self.features(theta))

    def fold(
        self,
        matrices: Mapping[str, torch.Tensor],  # pair -> shape (n_rows, <= lmax + 1), acting on D_l from l = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fold linear functionals of the spectra into the decoder.

        Returns
        -------
        offset : torch.Tensor, shape (n_rows,)
        matrix : torch.Tensor, shape (n_rows, n_components)
            ``sum_pair M_pair D_pair = amplitude * (offset + matrix @ component_coefficients @ h)``.

        Raises
        ------
        LikelihoodError
            If a matrix touches a multipole that is not linear in this emulator (low-l EE).
        """
        offset: torch.Tensor | float = 0.0
        matrix: torch.Tensor | float = 0.0
        for pair, rows in matrices.items():
            if pair not in self._cmb.slices:
                raise LikelihoodError(f"{pair} is not in the linear part of this emulator")
            lmin = self._cmb.lmin[pair]
            if rows[:, 2:lmin].any():
                raise LikelihoodError(f"{pair} below l = {LOWL_EE_MAX + 1} is not linear in this emulator")
            start = self._cmb.slices[pair].start
            columns = slice(start, start + rows.shape[1] - lmin)
            offset = offset + rows[:, lmin:] @ self._cmb.mean[columns]
            matrix = matrix + rows[:, lmin:] @ self._cmb.decoder[:, columns].T
        if not isinstance(offset, torch.Tensor) or not isinstance(matrix, torch.Tensor):
            raise LikelihoodError("nothing to fold: no spectra were named")
        return offset, matrix

    @property
    def component_coefficients(self) -> torch.Tensor:
        """Polynomial coefficients of the cmb block's components, shape (n_components, n_terms)."""
        return self._cmb.coefficients
