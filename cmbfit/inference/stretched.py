"""Coordinates in which a posterior that leans on walls has tails: logit where points reach a wall, theta elsewhere.

Near a wall a flat or falling density ends abruptly, and no normal or t fits it; in logit((theta - low) / (high - low)) it falls
off exponentially on both sides. A peak that is far from its walls is nearest to a normal in theta itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

_NEAR = 4.0
"""Standard deviations from the mean to a wall within which a parameter is stretched."""

_EDGE = 1e-14
"""Of the range: points closer to a wall count as that far from it."""


@dataclass(frozen=True)
class Stretched:
    """A map of theta to coordinates that are free of the walls that matter.

    Attributes
    ----------
    low, width : numpy.ndarray, shape (d,)
    bent : numpy.ndarray of bool, shape (d,)
    """

    low: np.ndarray
    width: np.ndarray
    bent: np.ndarray

    @classmethod
    def around(
        cls,
        theta: np.ndarray,  # shape: (n, d)
        low: np.ndarray,  # shape: (d,)
        high: np.ndarray,  # shape: (d,)
    ) -> Stretched:
        """Return the map that suits a cloud of points within the walls, which may be infinite."""
        mean, reach = theta.mean(0), _NEAR * theta.std(0)
        finite = np.isfinite(low) & np.isfinite(high)
        near = (mean - low < reach) | (high - mean < reach)
        return cls(np.where(finite, low, 0.0), np.where(finite, high - low, 1.0), finite & near)

    def into(
        self,
        theta: np.ndarray,  # shape: (n, d)
    ) -> np.ndarray:  # shape: (n, d)
        """Return the coordinates."""
        y, b = theta.copy(), self.bent
        y[:, b] = logit(((theta[:, b] - self.low[b]) / self.width[b]).clip(_EDGE, 1 - _EDGE))
        return y

    def back(
        self,
        y: np.ndarray,  # shape: (n, d)
    ) -> tuple[np.ndarray, np.ndarray]:  # shapes: (n, d), (n,)
        """Return theta and ln |d theta / d y|."""
        theta, b = y.copy(), self.bent
        u = expit(y[:, b])
        theta[:, b] = self.low[b] + self.width[b] * u
        # ln u (1 - u) without loss of either where the other is nearly 1
        slope = -np.abs(y[:, b]) - 2 * np.log1p(np.exp(-np.abs(y[:, b]))) + np.log(self.width[b])
        return theta, slope.sum(1)
