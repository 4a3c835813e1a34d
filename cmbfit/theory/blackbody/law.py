"""Planck's law and what follows from it, in MJy/sr and SI."""

from __future__ import annotations

import math

import numpy as np
from scipy import constants, special

from cmbfit.units import T_CMB

T0 = T_CMB
"""Temperature [K] that cmbfit's theory uses: Fixsen (2009), ApJ 707, 916, 2.72548 +- 0.00057, rounded."""

_MJY = 1e20
"""MJy/sr for each W m^-2 Hz^-1 sr^-1."""


def wavenumber_to_hz(wavenumber: np.ndarray) -> np.ndarray:
    """Return the frequency [Hz] of wavenumbers [1/cm]: nu = 100 c sigma."""
    return 100 * constants.c * np.asarray(wavenumber, dtype=float)


def reduced_frequency(nu: np.ndarray, temperature: float = T0) -> np.ndarray:
    """Return x = h nu / k T for frequencies [Hz] and a temperature [K]."""
    return constants.h / constants.k * np.asarray(nu, dtype=float) / temperature


def planck(nu: np.ndarray, temperature: float = T0) -> np.ndarray:
    """Return B_nu = 2 h nu^3/c^2 / (e^x - 1) in MJy/sr, for frequencies [Hz].

    Examples
    --------
    >>> float(np.round(planck(150e9, 2.72548), 3))
    381.871
    """
    nu = np.asarray(nu, dtype=float)
    return _MJY * 2 * constants.h * nu**3 / constants.c**2 / np.expm1(reduced_frequency(nu, temperature))


def energy_density(temperature: float = T0) -> float:
    """Return u = 4 sigma T^4/c in J/m^3."""
    return 4 * constants.sigma / constants.c * temperature**4


def photon_density(temperature: float = T0) -> float:
    """Return n = 16 pi zeta(3) (kT/hc)^3 in 1/m^3."""
    return float(
        16 * math.pi * special.zeta(3) * (constants.k * temperature / (constants.h * constants.c)) ** 3
    )
