"""How fast evaporating holes of one mass give their energy to the gas: to the end, with the particles of every temperature.

M(t) follows dM/dt = -5.34e25 f(M)/M^2 g/s (:mod:`~cmbfit.theory.hawking.lifetime`) down to nothing. Of what is lost photons,
charged leptons and hadrons act on the gas: 55% of free quarks' and gluons' era, all but the six neutrinos' 0.882/f before
(Stoecker et al. 2018, arXiv:1801.01871), each weighed by the activation of QCD *at the mass that the hole then has*. CLASS 3.4.1
ends a hole at half its mass, and evaluates that activation once, at the mass where its loop ends.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.integrate import cumulative_simpson

from cmbfit.theory.hawking.lifetime import MASS_LOSS, NEUTRINOS, degrees_of_freedom, free_quarks
from cmbfit.theory.hawking.lifetime import MASS_RANGE as COUNTED

_FREE_SHARE = 0.55
"""Of the energy of free quarks, gluons and what they turn into, with the rest of that era's particles."""

_EFOLDS, _STEPS = 9.0, 6000
"""Of the mass: the last 1e-4 of it is given off at once."""

_NODES = 96
"""Of the mean over a neighbourhood of z."""


def electromagnetic_share(mass_g: np.ndarray | float) -> np.ndarray:
    """Return which part of the energy of a hole of that mass [g] can heat or ionise the gas."""
    free, f = free_quarks(mass_g), degrees_of_freedom(mass_g)
    return _FREE_SHARE * free + (1 - free) * (f - NEUTRINOS) / f


def released_energy(mass_g: float) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function of time since formation [s] that gives the energy released so far over M c^2, without neutrinos."""
    u = np.linspace(0.0, _EFOLDS, _STEPS + 1)
    mass = np.maximum(mass_g * np.exp(-u), COUNTED[0] * 1e-5)
    time = cumulative_simpson(mass**3 / (MASS_LOSS * degrees_of_freedom(mass)), x=u, initial=0.0)
    share = electromagnetic_share(mass)
    energy = cumulative_simpson(share * np.exp(-u), x=u, initial=0.0)
    last = energy[-1] + share[-1] * np.exp(-u[-1])
    # it ends at once: the last hundredth of a per mille lives 1e-12 of the whole
    return lambda t: np.interp(t, np.append(time, time[-1] * (1 + 1e-9)), np.append(energy, last))


def injection_rate(
    mass_g: float,
    z: np.ndarray,  # shape: (n,)
    time_at: Callable[[np.ndarray], np.ndarray],
) -> np.ndarray:  # shape: (n,)
    """Return d(energy)/dt at redshifts, over the holes' initial rest energy [1/s].

    The energy is spread over a neighbourhood of 1 + z/50 in z (full width), so that the last burst, shorter than any step of a
    Boltzmann code, is in a table with all its energy; there that is 2% of a Hubble time.

    Parameters
    ----------
    mass_g : float
        At formation.
    z : numpy.ndarray, shape (n,)
    time_at : callable
        Redshift to time [s].
    """
    energy = released_energy(mass_g)
    low, high = np.maximum(z - 1e-3 * (1 + z), 0.0), z + 1e-3 * (1 + z)
    speed = (high - low) / (time_at(low) - time_at(high))  # |dz/dt|
    # a bump (1 + cos pi s)/2 of width h on both sides: the mean of E' is that of E times the bump's slope
    half = 0.5 + 0.01 * z
    s, weight = np.polynomial.legendre.leggauss(_NODES)
    at = np.abs(z[:, None] + half[:, None] * s)
    slope = np.pi / 2 * np.sin(np.pi * s) * weight
    # E falls with z; at z < 0 the holes go on as at -z, which keeps the mean at z = 0 of order one half
    return -(energy(time_at(at)) @ slope) / half * speed
