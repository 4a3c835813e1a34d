"""The numbers of a linear-decoder emulator, apart from how they are trained, stored or evaluated.

Lensed spectra are divided by the amplitude exp(logA - 2 tau) and by cosmic variance, expanded in
principal components (a linear step), whose coefficients are sparse polynomials of the parameters.
Low-l EE, which the reionisation bump changes by a factor of 50, is a polynomial of its own in ln D_l.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from cmbfit.theory.parameters import DERIVED

LOWL_EE_MAX = 29
"""Largest multipole at which EE comes from its own log emulator."""

LOGA_PIVOT, TAU_PIVOT = 3.05, 0.055


@dataclass(frozen=True)
class Block:
    """Spectra that share one set of principal components.

    Attributes
    ----------
    pairs : tuple of str
    lmin : tuple of int
        First multipole of each pair in the block; all end at the emulator's lmax.
    mean : numpy.ndarray, shape (n,)
        In units of `scale`; n is the number of multipoles of all pairs together.
    scale : numpy.ndarray, shape (n,)
        D_l [uK^2] (or pp) per unit.
    basis : numpy.ndarray, shape (n_components, n), float32
        Principal components.
    coefficients : numpy.ndarray, shape (n_terms, n_components)
    """

    pairs: tuple[str, ...]
    lmin: tuple[int, ...]
    mean: np.ndarray
    scale: np.ndarray
    basis: np.ndarray
    coefficients: np.ndarray

    def slices(self, lmax: int) -> dict[str, slice]:
        """Return where each pair's multipoles lie in the block."""
        out, start = {}, 0
        for pair, lmin in zip(self.pairs, self.lmin, strict=True):
            out[pair] = slice(start, start + lmax + 1 - lmin)
            start = out[pair].stop
        return out


@dataclass(frozen=True)
class EmulatorArrays:
    """All numbers of an emulator.

    Attributes
    ----------
    box : mapping of str to (float, float)
        Ordered; the parameters are its keys.
    lmax : int
    degrees : numpy.ndarray of int, shape (n_terms, n_parameters)
        The terms of all polynomials together; a polynomial that does not use a term holds 0 there.
    cmb : Block
        tt, te and ee; multiplied by the amplitude exp(logA - LOGA_PIVOT - 2 (tau - TAU_PIVOT)).
    lensing : Block
        pp; multiplied by exp(logA - LOGA_PIVOT).
    lowl_ee : numpy.ndarray, shape (n_terms, LOWL_EE_MAX - 1)
        ln(D_l^EE / uK^2) - (logA - LOGA_PIVOT) at l = 2 ... LOWL_EE_MAX.
    derived : numpy.ndarray, shape (n_terms, len(DERIVED))
        Logarithms of the derived parameters.
    coordinates : str
        What the polynomials' variables are, see :class:`~cmbfit.theory.emulator.coordinates.Coordinates`.
    more : mapping of str to Block
        ``bb``: lensed bb, multiplied by the amplitude times exp(logA - LOGA_PIVOT) (E modes times
        potential). ``unlensed``: unlensed tt, te and ee, multiplied by the amplitude.
    """

    box: Mapping[str, tuple[float, float]]
    lmax: int
    degrees: np.ndarray
    cmb: Block
    lensing: Block
    lowl_ee: np.ndarray
    derived: np.ndarray
    coordinates: str = "tau"
    more: Mapping[str, Block] = field(default_factory=dict)

    @property
    def blocks(self) -> dict[str, Block]:
        """All linear blocks by name."""
        return {"cmb": self.cmb, "lensing": self.lensing, **self.more}

    @property
    def derived_names(self) -> tuple[str, ...]:
        """Columns of `derived`."""
        return DERIVED


def amplitude(theta: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Return exp(logA - LOGA_PIVOT - 2 (tau - TAU_PIVOT)), shape (n,), for theta of shape (n, n_parameters)."""
    logA, tau = theta[:, names.index("logA")], theta[:, names.index("tau")]
    return np.exp(logA - LOGA_PIVOT - 2 * (tau - TAU_PIVOT))
