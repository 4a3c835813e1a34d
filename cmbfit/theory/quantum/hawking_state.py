"""Hawking pairs and primordial pairs as two-mode squeezed states."""

from __future__ import annotations

import math

from cmbfit.theory.quantum.gaussian import GaussianState, two_mode_squeezed


def hawking_squeezing(frequency: float) -> float:
    """Return r_w of a bosonic Hawking mode, tanh r = exp(-4 pi M w)."""
    return math.atanh(math.exp(-4 * math.pi * frequency))


def hawking_pair(frequency: float, transmission: float = 1.0) -> GaussianState:
    """Return the state of (outside, inside) for a mode of frequency M w behind a greybody barrier.

    Semiclassical: the geometry is fixed. The pair is pure; the outside alone is thermal at the Hawking
    temperature, with n Gamma quanta after the barrier.

    Examples
    --------
    >>> state = hawking_pair(0.1, 0.5)
    >>> round(float(state.quanta()[0]) * (math.exp(0.8 * math.pi) - 1), 6)
    0.5
    """
    return two_mode_squeezed(hawking_squeezing(frequency)).lossy(0, transmission)


def primordial_squeezing(quanta: float) -> float:
    """Return r_k of a pair k, -k with |beta|^2 = sinh^2 r quanta."""
    return math.asinh(math.sqrt(quanta))
