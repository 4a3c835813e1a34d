"""A correction to a base emulator: more features, and what they add to its components.

With a network this carries what the polynomials miss; with the parameters of an extension it reaches
models beyond the base. Features of an extension are differences,

    g(theta, e) = phi(theta, e) - phi(theta, e_0),

so that at e = e_0 the corrected emulator is the base emulator, whatever phi has learned. (e_0 is a number,
or for helium a function of the baryon density.)

What they feed is added to the base's components; blocks that an extension scales (lensing potential, B modes) have their
change relative to the base's own spectrum instead, which hardly depends on the base's parameters.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import BundleError, OutsideBoxError
from cmbfit.theory.base import check_box, checked_before
from cmbfit.theory.emulator.arrays import Block, EmulatorArrays
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import hidden_features
from cmbfit.theory.emulator.polynomial import LegendreFeatures
from cmbfit.theory.spectra import Spectra


@dataclass(frozen=True)
class HalfSpace:
    """A limit besides the box: sum_p a_p p <= below.

    Attributes
    ----------
    sum : mapping of str to float
        The a_p by parameter.
    below : float
    """

    sum: Mapping[str, float]
    below: float

    def __str__(self) -> str:
        return " + ".join(p if a == 1 else f"{a:g} {p}" for p, a in self.sum.items())

    def value(self, theta: torch.Tensor, names: Sequence[str]) -> torch.Tensor:  # shape: (batch,)
        """Return the sum at points of shape (batch, n_parameters)."""
        return torch.stack([a * theta[:, names.index(p)] for p, a in self.sum.items()]).sum(0)


@dataclass(frozen=True)
class Correction:
    """All numbers of a correction.

    Attributes
    ----------
    box : mapping of str to (float, float)
        The six parameters of LCDM, then the extension's: where the corrected emulator may be asked.
    base_values : mapping of str to tuple of float
        Value of each of the extension's parameters in the base model, as the coefficients of a polynomial
        of ombh2 from the constant up: one number for most, nucleosynthesis' relation for helium. Empty
        without an extension.
    layers : tuple of (weight, bias)
        Hidden layers of a network of the scaled parameters; empty for polynomials.
    degrees : numpy.ndarray of int, shape (n_terms, n_parameters)
        Terms of polynomials, without those that do not change with the extension; empty for a network.
    heads : mapping of str to numpy.ndarray, shape (n_features, n_components)
        By block, and ``lowl_ee`` and ``derived``: what is added to the base's components. Without an
        extension there is a last feature, the constant 1.
    basis : mapping of str to numpy.ndarray, shape (n_more, n), float16 or float32
        By block: components beyond the base's own, which the last columns of its head feed; of a block of `relative` they are
        all there are.
    relative : tuple of str
        Blocks with D = D_base (1 + sqrt(2 / (2l + 1)) x), x the components' sum: a relative change in units of cosmic variance.
    half_spaces : tuple of HalfSpace
        Further limits of the region in which the corrected emulator may be asked.
    """

    box: Mapping[str, tuple[float, float]]
    base_values: Mapping[str, tuple[float, ...]]
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    degrees: np.ndarray
    heads: Mapping[str, np.ndarray]
    basis: Mapping[str, np.ndarray] = field(default_factory=dict)
    relative: tuple[str, ...] = ()
    half_spaces: tuple[HalfSpace, ...] = ()


def widened(base: EmulatorArrays, basis: Mapping[str, np.ndarray]) -> EmulatorArrays:
    """Return the base with more components, which its own polynomials leave at 0."""

    def wide(name: str, block: Block) -> Block:
        if name not in basis:
            return block
        zeros = np.zeros((len(base.degrees), len(basis[name])))
        return replace(
            block,
            basis=np.concatenate([block.basis, basis[name]]),
            coefficients=np.concatenate([block.coefficients, zeros], axis=1),
        )

    blocks = {name: wide(name, block) for name, block in base.blocks.items()}
    return replace(base, cmb=blocks.pop("cmb"), lensing=blocks.pop("lensing"), more=blocks)


def cut(base: EmulatorArrays, lmax: int) -> EmulatorArrays:
    """Return the base up to a smaller lmax; its spectra below are the same."""
    if lmax >= base.lmax:
        return base

    def short(block: Block) -> Block:
        keep = np.concatenate(
            [
                np.arange(s.start, s.start + lmax + 1 - low)
                for s, low in zip(block.slices(base.lmax).values(), block.lmin, strict=True)
            ]
        )
        return replace(block, mean=block.mean[keep], scale=block.scale[keep], basis=block.basis[:, keep])

    blocks = {name: short(block) for name, block in base.blocks.items()}
    return replace(base, lmax=lmax, cmb=blocks.pop("cmb"), lensing=blocks.pop("lensing"), more=blocks)


def in_base_model(
    theta: torch.Tensor,  # shape: (batch, n_parameters)
    names: Sequence[str],
    base_values: Mapping[str, Sequence[float]],
) -> torch.Tensor:  # shape: (batch, n_parameters)
    """Return the points with the extension's parameters at their values in the base model."""
    ombh2 = theta[:, names.index("ombh2")]
    columns = list(theta.unbind(1))
    for name, coefficients in base_values.items():
        value = torch.zeros_like(ombh2)
        for c in reversed(coefficients):
            value = value * ombh2 + c
        columns[names.index(name)] = value
    return torch.stack(columns, dim=1)


def _relative_basis(block: Block, basis: np.ndarray) -> torch.Tensor:  # shape: (n_components, lmax + 1)
    """Return components of a relative change from l = 0, in units of the spectrum."""
    return torch.from_numpy(np.pad(basis.astype("f8") * relative_unit(block), ((0, 0), (block.lmin[0], 0))))


def relative_unit(block: Block) -> np.ndarray:  # shape: (n,)
    """Return the relative cosmic variance of an auto-spectrum's multipoles, a block of one pair: sqrt(2 / (2l + 1))."""
    ell = block.lmin[0] + np.arange(len(block.mean))
    return np.sqrt(2 / (2 * ell + 1))


class Features(OnDevice):
    """The features of a correction: a network's hidden layer or polynomials, as differences or with a 1."""

    def __init__(self, correction: Correction) -> None:
        low, high = torch.tensor(list(correction.box.values()), dtype=torch.float64).T
        self._centre, self._half = (low + high) / 2, (high - low) / 2
        self._names, self._base_values = list(correction.box), correction.base_values
        self._layers = [tuple(torch.from_numpy(a) for a in layer) for layer in correction.layers]
        self._polynomial = None
        if not self._layers:
            self._polynomial = LegendreFeatures([(-1.0, 1.0)] * len(self._names), closed(correction.degrees))
            order = {tuple(d): i for i, d in enumerate(self._polynomial.degrees.tolist())}
            self._rows = torch.tensor([order[tuple(d)] for d in correction.degrees.tolist()])

    def _phi(self, theta: torch.Tensor) -> torch.Tensor:
        x = (theta - self._centre) / self._half
        if self._polynomial is not None:
            return self._polynomial(x)[self._rows]
        return hidden_features(x, self._layers).T  # type: ignore[arg-type]

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (n_features, batch)
        """Return the features, float64."""
        phi = self._phi(theta)
        if not self._base_values:
            return torch.cat([phi, torch.ones_like(phi[:1])])
        return phi - self._phi(in_base_model(theta, self._names, self._base_values))


def closed(degrees: np.ndarray) -> np.ndarray:
    """Return terms with all their parts, as the evaluation of Legendre products needs them."""
    terms = set()
    for d in degrees.tolist():
        involved = [i for i, x in enumerate(d) if x]
        for n in range(len(involved) + 1):
            terms.add(tuple(x if i in involved[:n] else 0 for i, x in enumerate(d)))
    return np.array(sorted(terms, key=lambda d: (sum(x > 0 for x in d), d)), dtype=np.int64)


class CorrectedEmulator(OnDevice):
    """A base emulator with a correction, as a Theory.

    Parameters
    ----------
    base : EmulatorArrays
    correction : Correction
    settings : dict
        What both were trained on.

    Raises
    ------
    BundleError
        If the correction's box leaves the base's, or they do not fit together.
    """

    def __init__(
        self,
        base: EmulatorArrays,
        correction: Correction,
        settings: dict[str, Any],
    ) -> None:
        names = tuple(correction.box)
        if names[: len(base.box)] != tuple(base.box) or set(names[len(base.box) :]) != set(
            correction.base_values
        ):
            raise BundleError(
                f"correction of {', '.join(names)} does not fit a base of {', '.join(base.box)}"
            )
        for name, (low, high) in base.box.items():
            if correction.box[name][0] < low or correction.box[name][1] > high:
                raise BundleError(
                    f"correction: {name} in {correction.box[name]} leaves the base's [{low}, {high}]"
                )
        self.base_arrays, self.correction, self.settings = base, correction, settings
        self.parameters, self.box, self.lmax = names, dict(correction.box), base.lmax
        added = {n: b for n, b in correction.basis.items() if n not in correction.relative}
        self._base = LinearEmulator(widened(base, added), settings)
        self._n_base = len(base.box)
        self._features = Features(correction)
        self._heads = {n: torch.from_numpy(h.T.astype("f8")) for n, h in correction.heads.items()}
        self._relative = {
            n: _relative_basis(base.blocks[n], correction.basis[n]) for n in correction.relative
        }

    def _check(self, theta: torch.Tensor) -> None:
        check_box(theta, self.parameters, self.box)

    def _components(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return the base's components, changed, and those of the blocks that change relative to it."""
        self._check(theta)
        components = self._base.components(theta[:, : self._n_base])
        g = self._features(theta)
        change = {n: head @ g for n, head in self._heads.items()}
        out = {
            n: x if n in self._relative or n not in change else x + change[n] for n, x in components.items()
        }
        return out | {f"relative.{n}": change[n] for n in self._relative}

    def spectra(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> Spectra:
        """Return lensed spectra up to lmax and derived parameters.

        Raises
        ------
        OutsideBoxError
            If a point lies outside the correction's box or its further limits.
        """
        components = self._components(theta)
        got = self._base.decode(theta[:, : self._n_base], components)
        dl = dict(got.dl)
        for name, basis in self._relative.items():
            (pair,) = self._base.blocks[name].slices
            dl[pair] = dl[pair] * (1 + components[f"relative.{name}"].T @ basis)
        more = {p: theta[:, i] for i, p in enumerate(self.parameters)}
        return Spectra(dl, {**got.parameters, **more})

    def derived(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return sampled and derived parameters without decoding spectra."""
        table = {p: theta[:, i] for i, p in enumerate(self.parameters)}
        return table | self._base.derived_table(self._components(theta))


class BoundedEmulator(CorrectedEmulator):
    """A corrected emulator whose region has further limits than a box: `allowed` says which points lie within them."""

    def allowed(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch,), bool
        """Return which points of the box lie within the further limits."""
        good = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
        for half in self.correction.half_spaces:
            good = good & (half.value(theta, self.parameters) <= half.below)
        return good

    def _check(self, theta: torch.Tensor) -> None:
        super()._check(theta)
        if checked_before():
            return
        for half in self.correction.half_spaces:
            value = half.value(theta, self.parameters)
            if bad := (value > half.below).nonzero().flatten().tolist():
                raise OutsideBoxError(
                    f"{half} = {value[bad[0]].item():.6g} (row {bad[0]}) lies above {half.below:g}, where this emulator was "
                    "not trained; use a Boltzmann code there"
                )


def corrected(base: EmulatorArrays, correction: Correction, settings: dict[str, Any]) -> CorrectedEmulator:
    """Return a base emulator with a correction; arguments as of :class:`CorrectedEmulator`."""
    made = BoundedEmulator if correction.half_spaces else CorrectedEmulator
    return made(base, correction, settings)
