"""The emulator as a Theory: batched torch, float64, differentiable, refusing points outside its box."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.theory.base import check_box
from cmbfit.theory.emulator.arrays import LOGA_PIVOT, LOWL_EE_MAX, TAU_PIVOT, Block, EmulatorArrays
from cmbfit.theory.emulator.coordinates import Coordinates
from cmbfit.theory.emulator.polynomial import LegendreFeatures
from cmbfit.theory.spectra import Spectra


class TorchBlock(OnDevice):
    """A block's arrays in torch: decoded = mean + basis^T (coefficients^T h), times scale."""

    def __init__(self, block: Block, lmax: int) -> None:
        self.slices = block.slices(lmax)
        self.lmin = dict(zip(block.pairs, block.lmin, strict=True))
        self.mean = torch.from_numpy(block.mean * block.scale)
        self.decoder = torch.from_numpy(block.basis.astype("f8") * block.scale)  # (n_components, n)
        self.coefficients = torch.from_numpy(block.coefficients.T.copy())  # (n_components, n_terms)

    def decode(self, components: torch.Tensor) -> torch.Tensor:  # (n_components, batch) -> (batch, n)
        """Return the block's spectra before the amplitude, side by side."""
        return torch.addmm(self.mean, components.T, self.decoder)


class LinearEmulator(OnDevice):
    """LCDM spectra from a trained linear-decoder emulator.

    Parameters
    ----------
    arrays : EmulatorArrays
    settings : dict
        What the emulator was trained on; becomes part of every product's provenance.

    Attributes
    ----------
    coordinates : Coordinates
        From parameters to the variables of the polynomials; ``coordinates.box`` is their range.

    Notes
    -----
    Everything after the polynomial features is linear up to an amplitude, so a Gaussian likelihood
    can be folded into one small matrix: see :meth:`fold`.
    """

    def __init__(self, arrays: EmulatorArrays, settings: dict[str, Any]) -> None:
        self.arrays = arrays
        self.parameters = tuple(arrays.box)
        self.box = dict(arrays.box)
        self.lmax = arrays.lmax
        self.settings = settings
        self.coordinates = Coordinates(arrays.box, arrays.coordinates)
        self._polynomial = LegendreFeatures(list(self.coordinates.box.values()), arrays.degrees)
        self.blocks = {name: TorchBlock(block, arrays.lmax) for name, block in arrays.blocks.items()}
        self.lowl_ee_coefficients = torch.from_numpy(arrays.lowl_ee.T.copy())  # (28, n_terms)
        self.derived_coefficients = torch.from_numpy(arrays.derived.T.copy())
        self._logA = self.parameters.index("logA")
        self._tau = self.parameters.index("tau")

    def features(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (n_terms, batch)
        """Return the polynomial features; the first is the constant 1."""
        return self._polynomial(self.coordinates(theta))

    def amplitude(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the factor on the cmb block, exp(logA - 2 tau) up to a constant."""
        at_pivot = LOGA_PIVOT - 2 * TAU_PIVOT
        return torch.exp(torch.sub(theta[:, self._logA], theta[:, self._tau], alpha=2) - at_pivot)

    def scalar_amplitude(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the factor on low-l EE and lensing, A_s up to a constant."""
        return torch.exp(theta[:, self._logA] - LOGA_PIVOT)

    def log_amplitude(self, source: str) -> tuple[dict[int, float], float]:
        """Return ln of a source's factor, linear in the parameters: coefficients by column, and the constant.

        The same as :meth:`block_amplitude`, and :meth:`scalar_amplitude` for ``lowl_ee``; of ``template`` it is 0.
        """
        scalar, damped = {"template": (0, 0), "lensing": (1, 0), "lowl_ee": (1, 0), "bb": (1, 1)}.get(
            source, (0, 1)
        )
        linear = {self._logA: float(scalar + damped), self._tau: -2.0 * damped}
        constant = -scalar * LOGA_PIVOT - damped * (LOGA_PIVOT - 2 * TAU_PIVOT)
        return {i: c for i, c in linear.items() if c}, constant

    def block_amplitude(
        self,
        name: str,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the factor on a block: see :class:`~cmbfit.theory.emulator.arrays.EmulatorArrays`."""
        if name == "lensing":
            return self.scalar_amplitude(theta)
        if name == "bb":
            return self.amplitude(theta) * self.scalar_amplitude(theta)
        return self.amplitude(theta)

    def components(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (n_components, batch)
        """Return what the decoders start from: each block's components, ln low-l EE and ln derived."""
        h = self.features(theta)
        out = {name: block.coefficients @ h for name, block in self.blocks.items()}
        out["lowl_ee"] = self.lowl_ee_coefficients @ h
        out["derived"] = self.derived_coefficients @ h
        return out

    def decode(
        self, theta: torch.Tensor, components: Mapping[str, torch.Tensor], *, lensed: bool = True
    ) -> Spectra:
        """Return spectra from :meth:`components` of the same points."""
        name = "cmb" if lensed else "unlensed"
        block = self.blocks[name]
        cmb = self.block_amplitude(name, theta)[:, None] * block.decode(components[name])
        lowl_ee = self.scalar_amplitude(theta)[:, None] * torch.exp(components["lowl_ee"].T)
        empty = torch.zeros(len(theta), 2, dtype=theta.dtype, device=theta.device)  # l = 0, 1
        dl = {pair: torch.cat([empty, cmb[:, block.slices[pair]]], dim=1) for pair in ("tt", "te")}
        dl["ee"] = torch.cat([empty, lowl_ee, cmb[:, block.slices["ee"]]], dim=1)
        others = {"bb": "bb", "pp": "lensing"} if lensed else {"pp": "lensing"}
        for pair, source in others.items():
            if source in self.blocks:
                decoded = self.blocks[source].decode(components[source])
                dl[pair] = torch.cat([empty, self.block_amplitude(source, theta)[:, None] * decoded], dim=1)
        table = {p: theta[:, i] for i, p in enumerate(self.parameters)}
        return Spectra(dl, table | self.derived_table(components))

    def derived_table(self, components: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Return derived parameters from :meth:`components`."""
        derived = torch.exp(components["derived"])
        return {p: derived[i] for i, p in enumerate(self.arrays.derived_names)}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return lensed tt, te, ee, pp (and bb where trained) up to lmax, and derived parameters.

        Raises
        ------
        OutsideBoxError
            If a point lies outside the box: an emulator extrapolates plausibly and wrongly.
        """
        check_box(theta, self.parameters, self.box)
        return self.decode(theta, self.components(theta))

    def unlensed(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return unlensed tt, te and ee with the lensing potential pp: what a lensing code starts from.

        EE at l < 30 is the lensed one: the unlensed differs from it by 0.05 cosmic-variance sigma at the median
        multipole and model, and by up to 0.22.

        Raises
        ------
        SpectrumError
            If the emulator was trained without unlensed spectra.
        """
        if "unlensed" not in self.blocks:
            raise SpectrumError("this emulator holds no unlensed spectra; train one from chunks that do")
        check_box(theta, self.parameters, self.box)
        return self.decode(theta, self.components(theta), lensed=False)

    def derived(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return sampled and derived parameters without decoding spectra."""
        check_box(theta, self.parameters, self.box)
        h = self.features(theta)
        table = {p: theta[:, i] for i, p in enumerate(self.parameters)}
        return table | self.derived_table({"derived": self.derived_coefficients @ h})

    def fold(
        self,
        matrices: Mapping[str, torch.Tensor],  # pair -> shape (n_rows, <= lmax + 1), acting on D_l from l = 0
        block: str = "cmb",
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fold linear functionals of the spectra into a block's decoder.

        Returns
        -------
        offset : torch.Tensor, shape (n_rows,)
        matrix : torch.Tensor, shape (n_rows, n_components)
            ``sum_pair M_pair D_pair = block_amplitude * (offset + matrix @ block_coefficients @ h)``.

        Raises
        ------
        LikelihoodError
            If a matrix touches a multipole that is not linear in this emulator (low-l EE).
        """
        if block not in self.blocks:
            raise LikelihoodError(
                f"this emulator has no block {block!r}; it has {', '.join(self.blocks)}: train one that has it"
            )
        part = self.blocks[block]
        offset: torch.Tensor | float = 0.0
        matrix: torch.Tensor | float = 0.0
        for pair, rows in matrices.items():
            if pair not in part.slices:
                raise LikelihoodError(f"{pair} is not in the block {block!r} of this emulator")
            lmin = part.lmin[pair]
            if rows[:, 2:lmin].any():
                raise LikelihoodError(f"{pair} below l = {LOWL_EE_MAX + 1} is not linear in this emulator")
            start = part.slices[pair].start
            columns = slice(start, start + rows.shape[1] - lmin)
            offset = offset + rows[:, lmin:] @ part.mean[columns]
            matrix = matrix + rows[:, lmin:] @ part.decoder[:, columns].T
        if not isinstance(offset, torch.Tensor) or not isinstance(matrix, torch.Tensor):
            raise LikelihoodError("nothing to fold: no spectra were named")
        return offset, matrix

    def block_coefficients(self, name: str) -> torch.Tensor:
        """Polynomial coefficients of a block's components, shape (n_components, n_terms)."""
        return self.blocks[name].coefficients

    @property
    def component_coefficients(self) -> torch.Tensor:
        """Polynomial coefficients of the cmb block's components, shape (n_components, n_terms)."""
        return self.blocks["cmb"].coefficients
