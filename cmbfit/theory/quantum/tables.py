"""Number, entropy and spectrum of squeezed pairs: what the Gaussian simulator says of the universe and of horizons.

A classical simulation of small states; the numbers for primordial and Hawking modes come from the mode
solvers (Mukhanov-Sasaki, greybody factors), their states from the covariance matrices.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from cmbfit.theory.hawking.rates import FIELDS, emission
from cmbfit.theory.primordial.inflation import solve_inflation
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.quantum.fock import mean_quanta, reduced_entropy, squeeze_fock
from cmbfit.theory.quantum.gaussian import two_mode_squeezed
from cmbfit.theory.quantum.hawking_state import hawking_pair, primordial_squeezing

_INFLATION = ("phi**2/2", (0.1, 30.0), 55.0)
"""Potential, range of the field and e-folds of the solved modes: |beta|^2 depends on it by slow roll only."""


def squeezing_rows(largest: float, levels: int, n: int = 9) -> dict[str, list[float]]:
    """Return quanta and entropy of one mode of a pair by squeezing r: Gaussian, and truncated Fock space.

    Parameters
    ----------
    largest : float
        Largest r; Fock space needs tanh(r)^(2 levels) << 1.
    levels : int
        States kept for each mode.
    n : int
    """
    r = np.linspace(0, largest, n)
    gaussian = [two_mode_squeezed(x) for x in r]
    fock = [squeeze_fock(x, levels) for x in r]
    return {
        "r": r.tolist(),
        "quanta": [float(s.quanta()[0]) for s in gaussian],
        "entropy": [s.reduced([0]).entropy() for s in gaussian],
        "log_negativity": [s.log_negativity() for s in gaussian],
        "quanta_fock": [mean_quanta(a) for a in fock],
        "entropy_fock": [reduced_entropy(a) for a in fock],
        "lost_fock": [float(1 - (a**2).sum()) for a in fock],
    }


def primordial_rows() -> dict[str, list[float]]:
    """Return quanta and entropy of a pair k, -k at some k/aH: solved modes, and de Sitter's 1/(4 x^2)."""
    formula, limits, efolds = _INFLATION
    k = torch.tensor([0.05], dtype=torch.float64)
    modes = solve_inflation(Potential(formula, {}, limits), k, efolds).modes
    quanta = modes.quanta[:, 0, 0].tolist()
    x = modes.ratio[:, 0, 0].tolist()
    states = [two_mode_squeezed(primordial_squeezing(n)) for n in quanta]
    return {
        "k_over_ah": x,
        "quanta": quanta,
        "entropy": [s.reduced([0]).entropy() for s in states],
        "quanta_de_sitter": [1 / (4 * v**2) for v in x],
        "unitarity": [modes.unitarity] * len(x),
    }


def hawking_rows(field: str = "photon") -> dict[str, list[float]]:
    """Return quanta and entropy of the lowest mode of a field by M w, outside a Schwarzschild black hole.

    Semiclassical: the pair is squeezed by the horizon, its outer half filtered by the barrier.
    """
    result = emission(field)
    spin, helicities = FIELDS[field].spin, FIELDS[field].helicities
    modes = helicities * (2 * spin + 1) / (2 * math.pi)
    w = result.frequency
    occupation = result.number_rate[:, 0] / modes
    gamma = occupation * np.expm1(8 * math.pi * w)
    states = [hawking_pair(f, min(float(g), 1.0)) for f, g in zip(w, gamma, strict=True)]
    return {
        "Mw": w.tolist(),
        "transmission": gamma.tolist(),
        "quanta": [float(s.quanta()[0]) for s in states],
        "quanta_at_horizon": [float(s.quanta()[1]) for s in states],
        "entropy": [s.reduced([0]).entropy() for s in states],
        "entropy_rate": (result.entropy_rate[:, 0] / modes).tolist(),
    }


def state_tables(largest: float, levels: int) -> dict[str, Any]:
    """Return all three tables; JSON-able."""
    return {
        "label": "classical simulation of Gaussian states",
        "squeezing": squeezing_rows(largest, levels),
        "primordial": primordial_rows(),
        "hawking": hawking_rows(),
    }
