"""Cubic splines of computed tables, evaluated in torch with gradients."""

from __future__ import annotations

import functools

import numpy as np
import torch
from scipy.interpolate import CubicSpline


class Spline:
    """A not-a-knot cubic spline y(x), linear beyond its ends.

    Parameters
    ----------
    x : numpy.ndarray, shape (n,)
        Increasing.
    y : numpy.ndarray, shape (n,)
    flat : bool
        Below x[0] constant instead of linear.
    """

    def __init__(self, x: np.ndarray, y: np.ndarray, *, flat: bool = False) -> None:
        spline = CubicSpline(x, y)
        self.x = torch.from_numpy(np.ascontiguousarray(x, dtype=float))
        self.coefficients = torch.from_numpy(np.ascontiguousarray(spline.c[::-1].T))  # shape: (n - 1, 4)
        self.ends = float(x[0]), float(x[-1])
        slope = spline(x[[0, -1]], 1)
        self.slopes = (0.0 if flat else float(slope[0]), float(slope[1]))

    @functools.lru_cache(maxsize=4)  # noqa: B019  a spline lives as long as the process
    def _on(self, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        """Knots and table on a device: no copy at each call."""
        return self.x.to(device), self.coefficients.to(device)

    def __call__(self, at: torch.Tensor) -> torch.Tensor:
        """Return y at `at`, elementwise."""
        knots, table = self._on(at.device)
        inside = at.clamp(*self.ends)
        i = (torch.searchsorted(knots, inside.detach().contiguous(), right=True) - 1).clamp(0, len(knots) - 2)
        c, s = table[i], inside - knots[i]
        y = ((c[..., 3] * s + c[..., 2]) * s + c[..., 1]) * s + c[..., 0]
        return y + self.slopes[0] * (at - inside).clamp_max(0) + self.slopes[1] * (at - inside).clamp_min(0)
