"""What every step of a data model is: four sorts, told apart by what they do to D_l.

A user's own step is a class of one of these sorts, see :mod:`cmbfit.likelihood.steps.registry`. It is made once, with
the :class:`Setting` of its data set and the options of its entry, and then asked for numbers of a batch of nuisance
parameters. What it returns is differentiable.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError, unknown_name

Nuisance = Mapping[str, torch.Tensor]
"""Parameter to its values, each of shape (batch,)."""


@dataclass(frozen=True)
class Measured:
    """One measured spectrum.

    Attributes
    ----------
    name : str
        As the data set calls it, "TE 90x150".
    pair : str
        Spectrum of the CMB in it.
    maps : tuple of str
        Names of the two maps, ("90", "150"); empty if the name has none.
    """

    name: str
    pair: str
    maps: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What a step may know of its data set.

    Attributes
    ----------
    spectra : tuple of Measured
        In the order of the data vector, those that are left after cuts.
    names : tuple of str
        All spectra that the data set has, cut or not: a step may name them.
    ell : numpy.ndarray, shape (n_ell,)
        Multipoles of the windows, from 2 in steps of one.
    kept : numpy.ndarray of int
        Rows of the uncut data vector that are left.
    n_uncut : int
        Length of the uncut data vector.
    windows : tuple of numpy.ndarray, shape (n_bins of the spectrum, n_ell)
        On D_l as the data set means it (of kk where it says so).
    table : callable
        Reads a file of the data set, by the name in its definition.
    frequencies : mapping
        Sort of source to map to its effective frequency [GHz].
    bandpasses : mapping
        Map to its bandpass: frequency [GHz] and response in the columns of an array.
    before : sequence of Step
        The steps that come earlier.
    """

    spectra: tuple[Measured, ...]
    names: tuple[str, ...]
    ell: np.ndarray
    kept: np.ndarray
    n_uncut: int
    windows: tuple[np.ndarray, ...]
    table: Callable[[str], np.ndarray]
    frequencies: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    bandpasses: Mapping[str, np.ndarray] = field(default_factory=dict)
    before: Sequence[Step] = ()

    def affected(self, names: Collection[str], option: str = "affected_specs") -> torch.Tensor:
        """Return 1 for spectra that are named and 0 for others, shape (n_spectra,).

        Raises
        ------
        LikelihoodError
            If a name is none of the data set's spectra.
        """
        if isinstance(names, str) or (unknown := [n for n in names if n not in self.names]):
            wrong = names if isinstance(names, str) else unknown[0]
            raise LikelihoodError(f"{option}: {unknown_name('spectrum', str(wrong), self.names)}")
        return torch.tensor([float(s.name in names) for s in self.spectra], dtype=torch.float64)

    def effective(self, source: str) -> list[tuple[float, float]]:
        """Return the effective frequencies [GHz] of each spectrum's maps, for a sort of source.

        Raises
        ------
        LikelihoodError
            If they are not given.
        """
        if source not in self.frequencies:
            raise LikelihoodError(
                f"effective_frequencies: {unknown_name('source', str(source), list(self.frequencies))}"
            )
        return [
            self._of_maps(s, self.frequencies[source], f"effective_frequencies: {source}")
            for s in self.spectra
        ]

    def bands(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the bandpasses of each spectrum's maps."""
        return [self._of_maps(s, self.bandpasses, "bandpasses") for s in self.spectra]

    @staticmethod
    def _of_maps(spectrum: Measured, values: Mapping[str, Any], what: str) -> tuple[Any, Any]:
        if lacking := [m for m in spectrum.maps if m not in values]:
            raise LikelihoodError(
                f"{what}: nothing for the map {lacking[0]!r} of {spectrum.name}; there is {', '.join(values)}"
            )
        first, second = spectrum.maps
        return values[first], values[second]


class Step(OnDevice):
    """Something that changes D_l between the sky and the bandpowers.

    Attributes
    ----------
    parameters : tuple of str
        Nuisance parameters.
    """

    parameters: tuple[str, ...] = ()


class Rescale(Step):
    """D_l -> factor D_l, a factor for each spectrum (a calibration)."""

    def factors(self, nuisance: Nuisance) -> torch.Tensor:  # shape: (batch, n_spectra)
        """Return the factors."""
        raise NotImplementedError

    def powers(self) -> list[dict[str, float]] | None:
        """Return, spectrum by spectrum, parameters and powers whose product the factor is; None if it is another function.

        Data sets that have nothing but such factors fold into fewer groups.
        """
        return None


class Derivative(Step):
    """D_l -> p D_l + q l(l+1)/2pi l dC_l/dl, the same for all spectra."""

    def coefficients(self, nuisance: Nuisance) -> tuple[torch.Tensor | float, torch.Tensor | float]:
        """Return p and q, each of shape (batch,) or a number."""
        raise NotImplementedError


class Add(Step):
    """D_l -> D_l + amplitude shape_l, an amplitude for each spectrum and one shape (a foreground).

    Attributes
    ----------
    template : torch.Tensor or None, shape (n_ell,)
        The shape, if no parameter changes it; else :meth:`shape` is asked.
    affected : torch.Tensor, shape (n_spectra,)
        0 for spectra without this foreground.
    """

    template: torch.Tensor | None = None
    affected: torch.Tensor

    def amplitudes(self, nuisance: Nuisance) -> torch.Tensor:  # shape: (batch, n_spectra)
        """Return the amplitudes [uK^2]."""
        raise NotImplementedError

    def shape(self, nuisance: Nuisance) -> torch.Tensor:  # shape: (batch, n_ell) or (batch, n_spectra, n_ell)
        """Return the shape where there is no template."""
        raise NotImplementedError


class AddPowerLaw(Add):
    """A foreground of the shape (l / ell_ref)^exponent.

    Attributes
    ----------
    log_ell : torch.Tensor, shape (n_ell,)
        ln(l / ell_ref).
    """

    log_ell: torch.Tensor

    def exponent(self, nuisance: Nuisance) -> torch.Tensor:  # shape: (batch,)
        """Return the exponent."""
        raise NotImplementedError

    def shape(self, nuisance: Nuisance) -> torch.Tensor:
        """Return the power law, shape (batch, n_ell)."""
        return torch.exp(self.exponent(nuisance)[:, None] * self.log_ell)


class AddBinned(Step):
    """Add to bandpowers what is binned already: responses to spectra, a constant, a parameter times a template.

    Attributes
    ----------
    responses : dict of str to torch.Tensor, shape (n_bins, lmax + 1)
        Pair to windows on its D_l [uK^2], l from 0.
    constant : torch.Tensor or None, shape (n_bins,)
    template : torch.Tensor or None, shape (n_bins,)
        Times the step's only parameter.
    """

    responses: dict[str, torch.Tensor]
    constant: torch.Tensor | None = None
    template: torch.Tensor | None = None


def power_law(ell: np.ndarray, ell_ref: float, exponent: float) -> torch.Tensor:  # shape: (n_ell,)
    """Return (l / ell_ref)^exponent."""
    return torch.from_numpy((ell / float(ell_ref)) ** float(exponent))
