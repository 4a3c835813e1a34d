"""Shapes of small spectral distortions in MJy/sr, and the energy releases that make them.

With G(x) = T dB/dT, x = h nu/kT, each shape multiplies its amplitude:

- temperature: dI = (dT/T) G;
- y (Zeldovich & Sunyaev 1969, Ap&SS 4, 301): dI = y G [x coth(x/2) - 4];
- mu at fixed energy (Chluba 2013, arXiv:1304.6120): dI = mu G [1/2.1923 - 1/x];
- mu at fixed temperature (Fixsen et al. 1996, ApJ 473, 576): dI = -mu G / x.

The two mu shapes differ by a temperature shift mu/2.1923, so a joint fit of T and mu gives the same mu.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import constants, integrate, special

from cmbfit.theory.blackbody.law import T0, reduced_frequency

MU_NULL = float(3 * special.zeta(3) / special.zeta(2))
"""x at which the energy-normalised mu distortion vanishes: 2.1923."""


def temperature_shape(nu: np.ndarray, temperature: float = T0) -> np.ndarray:
    """Return G = T dB/dT [MJy/sr] at frequencies [Hz]."""
    x = reduced_frequency(nu, temperature)
    scale = 2 * (constants.k * temperature) ** 3 / (constants.h * constants.c) ** 2
    # e^x/(e^x-1)^2 = 1/(4 sinh^2(x/2))
    return 1e20 * scale * x**4 / (4 * np.sinh(x / 2) ** 2)


def y_shape(nu: np.ndarray, temperature: float = T0) -> np.ndarray:
    """Return the y distortion [MJy/sr] for y = 1."""
    x = reduced_frequency(nu, temperature)
    return temperature_shape(nu, temperature) * (x / np.tanh(x / 2) - 4)


def mu_shape(nu: np.ndarray, temperature: float = T0) -> np.ndarray:
    """Return the mu distortion at fixed energy [MJy/sr] for mu = 1."""
    return temperature_shape(nu, temperature) * (1 / MU_NULL - 1 / reduced_frequency(nu, temperature))


def mu_shape_fixed_temperature(nu: np.ndarray, temperature: float = T0) -> np.ndarray:
    """Return the mu distortion at fixed temperature [MJy/sr] for mu = 1."""
    return -temperature_shape(nu, temperature) / reduced_frequency(nu, temperature)


def visibility(z: np.ndarray) -> np.ndarray:
    """Return J_bb: the share of energy released at z that is not thermalised (Chluba 2013, eq. 5)."""
    return np.exp(-((np.asarray(z, dtype=float) / 1.98e6) ** 2.5))


def mu_visibility(z: np.ndarray) -> np.ndarray:
    """Return J_mu: the share that becomes mu (Chluba 2013)."""
    return -np.expm1(-(((1 + np.asarray(z, dtype=float)) / 5.8e4) ** 1.88))


def y_visibility(z: np.ndarray) -> np.ndarray:
    """Return J_y: the share that becomes y (Chluba 2013)."""
    return 1 / (1 + ((1 + np.asarray(z, dtype=float)) / 6.0e4) ** 2.58)


def from_single_release(z: float, energy: float) -> tuple[float, float]:
    """Return (mu, y) of a release of the fraction `energy` of the photons' energy at redshift z.

    mu = 1.401 J_bb J_mu dQ/rho, y = J_bb J_y dQ/rho / 4; fits to the Green's function, good to some
    10% between 1e3 and 1e7.
    """
    kept = float(visibility(np.array(z))) * energy
    return 1.401 * kept * float(mu_visibility(np.array(z))), kept * float(y_visibility(np.array(z))) / 4


def from_history(
    rate: Callable[[float], float], z_low: float = 1e3, z_high: float = 1e7
) -> tuple[float, float]:
    """Return (mu, y) of a history d(Q/rho)/d ln(1+z) = rate(z) >= 0, by integration over ln(1+z)."""

    def integral(component: int) -> float:
        def integrand(log: float) -> float:
            z = float(np.expm1(log))
            return from_single_release(z, rate(z))[component]

        return integrate.quad(integrand, np.log1p(z_low), np.log1p(z_high), epsrel=1e-8, limit=400)[0]

    return integral(0), integral(1)
