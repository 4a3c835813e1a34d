"""Mass, temperature and size of a Schwarzschild black hole in usual units (Hawking 1975)."""

from __future__ import annotations

import math

from scipy import constants

from cmbfit.errors import ParameterError

YEAR = 365.25 * 86400.0
"""Julian year [s]."""


def _kilograms(mass_g: float) -> float:
    if not (math.isfinite(mass_g) and mass_g > 0):
        raise ParameterError(f"black-hole mass: expected a positive number of grams, found {mass_g}")
    return mass_g * 1e-3


def temperature_kelvin(mass_g: float) -> float:
    """Return T = hbar c^3/(8 pi G M k_B) in K for a mass in grams."""
    m = _kilograms(mass_g)
    return constants.hbar * constants.c**3 / (8 * math.pi * constants.G * m * constants.k)


def temperature_gev(mass_g: float) -> float:
    """Return k_B T in GeV for a mass in grams; 1.057e13 g / M."""
    return temperature_kelvin(mass_g) * constants.k / constants.e * 1e-9


def horizon_radius_m(mass_g: float) -> float:
    """Return r_s = 2GM/c^2 in metres."""
    return 2 * constants.G * _kilograms(mass_g) / constants.c**2


def entropy(mass_g: float) -> float:
    """Return the Bekenstein-Hawking entropy 4 pi G M^2/(hbar c), in units of k_B."""
    return 4 * math.pi * constants.G * _kilograms(mass_g) ** 2 / (constants.hbar * constants.c)


def evaporation_time_unit(mass_g: float) -> float:
    """Return G^2 M^3/(hbar c^4) in seconds: M^3 in natural units."""
    return constants.G**2 * _kilograms(mass_g) ** 3 / (constants.hbar * constants.c**4)
