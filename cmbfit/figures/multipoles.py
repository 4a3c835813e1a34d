"""The axis of multipoles that figures of bandpowers share."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

_LOW = 30
"""Multipole below which figures are logarithmic."""


def set_multipole_scale(ax: Axes, last: float) -> None:
    """Make an axis logarithmic in l below 30, over a fifth of its width, and linear above; a thin line says where."""
    width = 0.25 * max(last - _LOW, _LOW)
    slope = width / np.log(_LOW / 2)

    def forward(ell: np.ndarray) -> np.ndarray:
        ell = np.maximum(np.asarray(ell, dtype=float), 1e-3)
        return np.where(ell < _LOW, _LOW + slope * np.log(ell / _LOW), ell)

    def back(x: np.ndarray) -> np.ndarray:
        x = np.asarray(x, dtype=float)
        return np.where(x < _LOW, _LOW * np.exp(np.minimum(x - _LOW, 0) / slope), x)

    ax.set_xscale("function", functions=(forward, back))
    step = next(s for s in (10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if last / s <= 6)
    ax.set_xticks([2, 10, _LOW, *range(step, int(last) + 1, step)] if step > _LOW else [2, 10, _LOW])
    ax.minorticks_off()
    ax.set_xlim(1.7, 1.02 * last)
    ax.axvline(_LOW, color="0.8", lw=0.8, zorder=0)
