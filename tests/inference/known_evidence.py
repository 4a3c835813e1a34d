"""Posteriors of any dimension whose ln Z is known: by a closed form, or by a one-dimensional integral."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.stats
import torch
from scipy.special import erf

from cmbfit.likelihood import Uniform
from cmbfit.likelihood.posterior import EvaluationCounts

Function = Callable[[np.ndarray], np.ndarray]


class Known:
    """ln L of points under flat priors on a box, and ln Z."""

    device = torch.device("cpu")
    joint_priors = ()

    def __init__(self, low: Any, high: Any, log_like: Function, log_z: float, log_mass: float = 0.0) -> None:
        self.low, self.high = np.broadcast_arrays(np.array(low, dtype=float), high)
        self.parameters = tuple(f"x{i}" for i in range(len(self.low)))
        walls = zip(self.parameters, self.low, self.high, strict=True)
        self.priors = {p: Uniform(float(a), float(b)) for p, a, b in walls}
        self.support = {p: prior.support for p, prior in self.priors.items()}
        self.theory = SimpleNamespace(parameters=self.parameters, box={})
        self.counts = EvaluationCounts()
        self.density = -float(np.log(self.high - self.low).sum()) - log_mass
        self.log_like, self.log_z = log_like, log_z

    def log_prior(self, theta: torch.Tensor) -> torch.Tensor:
        x = theta.numpy()
        inside = ((x >= self.low) & (x <= self.high)).all(1)
        return torch.from_numpy(np.where(inside, self.density, -np.inf))

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        self.counts.evaluations += len(theta)
        return self.log_prior(theta) + torch.from_numpy(self.log_like(theta.numpy()))


def _log_normal(x: np.ndarray) -> np.ndarray:
    return -0.5 * np.square(x).sum(1) - 0.5 * x.shape[1] * math.log(2 * math.pi)


def normal(d: int) -> Known:
    """Correlated, widths from 0.1 to 1, ten times narrower than the walls are apart at least."""
    widths = np.logspace(-1, 0, d)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((d, d)))
    whiten = rotation / widths
    norm = -float(np.log(widths).sum())
    return Known([-10.0] * d, 10.0, lambda x: norm + _log_normal(x @ whiten), -d * math.log(20))


def at_walls() -> Known:
    """Normals in eight parameters: four have their mean on a wall, near it or behind it."""
    mean, width = np.array([-10, -10.5, 10, 9.8, 0, 0, 0, 0]), np.linspace(0.3, 1, 8)
    low, high = (scipy.stats.norm.cdf((x - mean) / width) for x in (-10, 10))
    norm = -float(np.log(width).sum())
    return Known(
        [-10.0] * 8,
        10.0,
        lambda x: norm + _log_normal((x - mean) / width),
        float(np.log((high - low) / 20).sum()),
    )


def unconstrained() -> Known:
    """Five parameters of which the data say nothing, and three with a normal."""
    return Known([-10.0] * 8, 10.0, lambda x: _log_normal(x[:, 5:]), -3 * math.log(20))


def two_modes() -> Known:
    """Ten parameters, modes of width 0.55 and 0.7 and weight 0.3 and 0.7, ten apart."""
    d, widths, weights = 10, np.array([0.55, 0.7]), np.array([0.3, 0.7])
    means = np.zeros((2, d))
    means[:, 0], means[1, 1] = (-5, 5), 2

    def log_like(x: np.ndarray) -> np.ndarray:
        each = [
            math.log(w) + _log_normal((x - m) / s) - d * math.log(s)
            for m, s, w in zip(means, widths, weights, strict=True)
        ]
        return np.logaddexp(*each)

    return Known([-10.0] * d, 10.0, log_like, -d * math.log(20))


def bananas(n: int, extra: int) -> Known:
    """exp(-((1 - x)^2 + 10 (y - x^2)^2)/2) in n pairs (Rosenbrock 1960), normals in the rest; y is integrated in closed form."""
    x, a = np.linspace(-3, 3, 6001), math.sqrt(5)
    over_y = math.sqrt(math.pi) / (2 * a) * (erf(a * (9 - x**2)) - erf(a * (-1 - x**2)))
    one = math.log(np.trapezoid(np.exp(-0.5 * (1 - x) ** 2) * over_y, x) / 60)

    def log_like(t: np.ndarray) -> np.ndarray:
        u, v = t[:, 0 : 2 * n : 2], t[:, 1 : 2 * n : 2]
        return -0.5 * (np.square(1 - u) + 10 * np.square(v - u**2)).sum(1) + _log_normal(t[:, 2 * n :])

    return Known(
        [-3, -1] * n + [-10] * extra, [3, 9] * n + [10] * extra, log_like, n * one - extra * math.log(20)
    )


def cut_prior() -> Known:
    """A normal in five parameters under a prior that a bound halves: x0 > x1, a symmetric half of the likelihood too."""
    whole = normal(5)
    return Known(
        [-10.0] * 5,
        10.0,
        lambda x: np.where(x[:, 0] > x[:, 1], whole.log_like(x), -np.inf),
        whole.log_z,
        log_mass=-math.log(2),
    )


PROBLEMS: dict[str, Callable[[], Known]] = {
    "normal in 7": lambda: normal(7),
    "normal in 15": lambda: normal(15),
    "normal in 30": lambda: normal(30),
    "at walls": at_walls,
    "unconstrained": unconstrained,
    "two modes": two_modes,
    "a banana": lambda: bananas(1, 3),
    "cut prior": cut_prior,
}
