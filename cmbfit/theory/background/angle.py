"""theta_MC from the Hubble constant: CosmoMC's approximate angle of the sound horizon, without a Boltzmann code.

The sound horizon at Hu & Sugiyama's fit of the redshift of last scattering (1996, astro-ph/9510117, appendix E) over the distance
to it, with 3 rho_b / 4 rho_gamma = 3e4 a omega_b as CosmoMC has it (Lewis & Bridle 2002, astro-ph/0205436). CAMB's
`cosmomc_theta` agrees to 1e-7 of itself in every extension of the background.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from cmbfit.errors import ParameterError
from cmbfit.theory.background.densities import Densities, default_of

_N_NODES = 200
_FIRST = 1e-8
"""Scale factor from which sound travels, as in CAMB."""

_H0 = (20.0, 150.0)


def theta_mc_from_h0(H0: float, ombh2: float, omch2: float, **extended: float) -> float:
    """Return 100 theta_MC of a model with Hubble constant `H0` [km/s/Mpc]; flat LCDM unless `extended` says else.

    Parameters
    ----------
    **extended : float
        Any of :data:`~cmbfit.theory.extensions.BACKGROUND_EXTENSIONS`; helium acts on nothing here.

    Raises
    ------
    ParameterError
        For an `H0` outside [20, 150], or densities that make no universe: H is not real on the way to last scattering.

    Examples
    --------
    >>> round(theta_mc_from_h0(67.32, 0.022383, 0.12011), 4)
    1.0409
    """
    if not _H0[0] <= H0 <= _H0[1]:
        raise ParameterError(f"H0: expected km/s/Mpc between {_H0[0]:g} and {_H0[1]:g}, found {H0:g}")
    if not (ombh2 > 0 and omch2 >= 0):
        raise ParameterError(f"ombh2 = {ombh2:g}, omch2 = {omch2:g}: expected positive densities")
    given = {"H0": H0, "ombh2": ombh2, "omch2": omch2, **extended}
    point = {p: torch.tensor([float(x)], dtype=torch.float64) for p, x in given.items() if p != "YHe"}
    massive = extended.get("mnu", default_of("mnu")) > 0
    neutrinos = Densities(np.zeros(1)).neutrinos_today(point).item() if massive else 0.0
    last = 1 / (1 + _last_scattering(ombh2, ombh2 + omch2 + neutrinos))

    def conformal_time(first: float, end: float, weight: Callable[[np.ndarray], np.ndarray]) -> float:
        """Return the integral of weight(a) da / (a^2 H) in units of 1 / (100 km/s/Mpc)."""
        x, w = np.polynomial.legendre.leggauss(_N_NODES)
        half = math.log(end / first) / 2
        a = first * np.exp(half * (x + 1))
        h = Densities(1 / a - 1)(point)[:, 0].sqrt().numpy()
        return float(half * (w * weight(a) / (a * h)).sum())

    horizon = conformal_time(_FIRST, last, lambda a: (3 * (1 + 3e4 * a * ombh2)) ** -0.5)
    distance = conformal_time(last, 1.0, np.ones_like)
    curvature = extended.get("omk", 0.0) * (H0 / 100) ** 2
    if curvature:
        root = math.sqrt(abs(curvature))
        distance = (math.sinh if curvature > 0 else math.sin)(root * distance) / root
    if not (math.isfinite(horizon) and distance > 0):
        raise ParameterError(
            f"{given}: no universe has these densities: H is not real on the way to last scattering"
        )
    return 100 * horizon / distance


def _last_scattering(ombh2: float, matter: float) -> float:
    """Return Hu & Sugiyama's z_*."""
    g1 = 0.0783 * ombh2**-0.238 / (1 + 39.5 * ombh2**0.763)
    g2 = 0.560 / (1 + 21.1 * ombh2**1.81)
    return float(1048 * (1 + 0.00124 * ombh2**-0.738) * (1 + g1 * matter**g2))
