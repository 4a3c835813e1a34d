"""How long a black hole lives: massless fields only, and with the particles of the Standard Model.

MacGibbon (1991), PRD 44, 376: dM/dt = -5.34e25 f(M)/M^2 g/s (M in g), where every particle of mass m
adds to f its share at M -> 0 times exp(-M/M_m); quarks and gluons below the QCD scale give way to pions
(Stoecker et al. 2018, arXiv:1801.01871, eq. 4.6). Particle masses are those of the PDG.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import integrate, optimize

from cmbfit.errors import ParameterError
from cmbfit.theory.hawking.black_hole import YEAR, evaporation_time_unit
from cmbfit.theory.hawking.rates import emission

MASS_LOSS = 5.34e25
"""g^3/s."""
_SHARE = {0.0: 0.267, 0.5: 0.142, 1.0: 0.060}
"""f of one degree of freedom by spin; neutral fermions 0.147 (MacGibbon 1991, table)."""
_PEAK = {0.0: 2.66, 0.5: 4.53, 1.0: 6.04}
"""Energy at the peak of the emission in units of T."""
_GEV_G = 1.06e13
"""k_B T M in GeV g."""

_LEPTONS_BOSONS = (  # mass [GeV], degrees of freedom, spin
    (0.0, 2, 1.0),  # photon
    (0.51100e-3, 4, 0.5),
    (0.105658, 4, 0.5),
    (1.77686, 4, 0.5),
    (80.38, 6, 1.0),
    (91.19, 3, 1.0),
    (125.2, 1, 0.0),
)
_QUARKS_GLUONS = (
    (2.16e-3, 12, 0.5),
    (4.67e-3, 12, 0.5),
    (93.4e-3, 12, 0.5),
    (1.27, 12, 0.5),
    (4.18, 12, 0.5),
    (172.7, 12, 0.5),
    (0.6, 16, 1.0),  # gluons, effective mass of Stoecker et al.
)
_PIONS = ((0.13498, 1, 0.0), (0.13957, 2, 0.0))
MASS_RANGE = (1e9, 1e20)
"""Masses [g] for which the counting of particles makes sense."""


def _sum(particles: tuple[tuple[float, int, float], ...], mass: np.ndarray) -> np.ndarray:
    total = np.zeros_like(mass)
    for energy, dof, spin in particles:
        total += dof * _SHARE[spin] * np.exp(-mass * energy / (_PEAK[spin] * _GEV_G))
    return total


NEUTRINOS = 6 * 0.147
"""f of the six neutrinos."""


def free_quarks(mass_g: np.ndarray | float) -> np.ndarray:
    """Return how far quarks and gluons are free, 0 to 1, at the temperature of a hole of that mass [g]."""
    temperature = _GEV_G / np.asarray(mass_g, dtype=float)
    return 1 / (1 + np.exp(-np.log10(temperature / 0.3) / 0.1))


def degrees_of_freedom(mass_g: np.ndarray | float) -> np.ndarray:
    """Return f(M), normalised to photons and three neutrinos at 1.0."""
    mass = np.asarray(mass_g, dtype=float)
    if not np.all((mass >= MASS_RANGE[0] * 1e-6) & (mass <= MASS_RANGE[1])):
        raise ParameterError(
            f"f(M): expected masses up to {MASS_RANGE[1]:g} g, found {mass.min():g} to {mass.max():g}"
        )
    free = free_quarks(mass)
    return (
        NEUTRINOS
        + _sum(_LEPTONS_BOSONS, mass)
        + free * _sum(_QUARKS_GLUONS, mass)
        + (1 - free) * _sum(_PIONS, mass)
    )


def lifetime_standard_model(mass_g: float) -> float:
    """Return the lifetime in years, with the thresholds of the Standard Model.

    Raises
    ------
    ParameterError
        Outside 1e9 to 1e20 g.
    """
    if not MASS_RANGE[0] <= mass_g <= MASS_RANGE[1]:
        raise ParameterError(
            f"lifetime: expected a mass in {MASS_RANGE[0]:g}..{MASS_RANGE[1]:g} g, found {mass_g:g}"
        )

    def integrand(log_mass: float) -> float:
        mass = math.exp(log_mass)
        return mass**3 / (MASS_LOSS * float(degrees_of_freedom(mass)))

    # the last four e-folds of mass contribute exp(-12)
    low, high = math.log(mass_g) - 4, math.log(mass_g)
    value = integrate.quad(integrand, low, high, epsrel=1e-9, limit=200)[0]
    rest = math.exp(3 * low) / (3 * MASS_LOSS * float(degrees_of_freedom(math.exp(low))))
    return (value + rest) / YEAR


def lifetime_massless(mass_g: float) -> float:
    """Return the lifetime in years if only photons, gravitons and three neutrino species are emitted.

    tau = G^2 M^3/(3 alpha hbar c^4) with alpha from the solved greybody factors.
    """
    alpha = (
        6 * emission("neutrino").luminosity + emission("photon").luminosity + emission("graviton").luminosity
    )
    return evaporation_time_unit(mass_g) / (3 * alpha) / YEAR


def relevant_mass(age_years: float = 13.8e9) -> float:
    """Return the mass [g] whose lifetime is `age_years`: about 5e14 g for the age of the universe."""
    log_mass = optimize.brentq(
        lambda x: math.log(lifetime_standard_model(math.exp(x)) / age_years), math.log(1e12), math.log(1e17)
    )
    return math.exp(log_mass)
