"""The Page curve: entropy between a black hole and its radiation, if evaporation is unitary.

Semiclassical (Page 2013, arXiv:1301.4995): the radiation gains S_rad = b (S_0 - S_BH) with the entropy
ratio b of the solved emission, and unitarity is *assumed* by taking min(S_rad, S_BH). Nothing here
derives it, and no measurement tests it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmbfit.theory.hawking.rates import combined_entropy_ratio


@dataclass(frozen=True)
class PageCurve:
    """Entropies over the life of a black hole, in units of its initial entropy.

    Attributes
    ----------
    time : numpy.ndarray, shape (n,)
        t / lifetime.
    black_hole, radiation, entanglement : numpy.ndarray, shape (n,)
        S_BH, coarse-grained S_rad, and the smaller of the two.
    ratio : float
        b = dS_rad / (-dS_BH).
    page_time, page_entropy : float
        Where S_rad = S_BH: t/lifetime and S_BH/S_0.
    """

    time: np.ndarray
    black_hole: np.ndarray
    radiation: np.ndarray
    entanglement: np.ndarray
    ratio: float
    page_time: float
    page_entropy: float


def page_curve(fields: tuple[str, ...] = ("photon", "graviton"), n: int = 401) -> PageCurve:
    """Return the curve for a hole that emits `fields` (massless), M^3 falling linearly in time."""
    ratio = combined_entropy_ratio(*fields)
    time = np.linspace(0.0, 1.0, n)
    hole = (1 - time) ** (2 / 3)
    radiation = ratio * (1 - hole)
    turn = ratio / (1 + ratio)
    return PageCurve(time, hole, radiation, np.minimum(radiation, hole), ratio, 1 - turn**1.5, turn)
