"""A correlated Gaussian with the attributes that the sampler and the optimiser ask for."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import numpy as np
import torch

from cmbfit.likelihood import Uniform
from cmbfit.likelihood.posterior import EvaluationCounts

MEAN = np.array([0.0224, 1.04, 0.96])
_FACTOR = np.array([[1.5e-4, 0, 0], [2e-4, 2.3e-4, 0], [3e-3, -1e-3, 2.5e-3]])
COVARIANCE = _FACTOR @ _FACTOR.T
SIGMA = np.sqrt(np.diag(COVARIANCE))


class GaussianToy:
    """ln P = -(x - MEAN) COVARIANCE^-1 (x - MEAN) / 2.

    `fail_after` raises at that evaluation call; `kill_after` sends the process a SIGKILL.
    """

    parameters = ("ombh2", "theta_mc", "ns")
    device = torch.device("cpu")

    def __init__(self, fail_after: int | None = None, kill_after: int | None = None) -> None:
        self.counts = EvaluationCounts()
        self.priors = {p: Uniform(-10.0, 10.0) for p in self.parameters}
        self.theory = SimpleNamespace(box={})
        self.precision = torch.from_numpy(np.linalg.inv(COVARIANCE))
        self.calls, self.fail_after, self.kill_after = 0, fail_after, kill_after

    @property
    def support(self) -> dict[str, tuple[float, float]]:
        return {p: prior.support for p, prior in self.priors.items()}

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        if self.calls == self.fail_after:
            raise KeyboardInterrupt
        if self.calls == self.kill_after:
            os.kill(os.getpid(), signal.SIGKILL)
        self.counts.evaluations += len(theta)
        x = theta - torch.from_numpy(MEAN)
        return -0.5 * ((x @ self.precision) * x).sum(1)

    def log_likelihoods(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"toy": self.log_prob(theta)}


def start(walkers: int, seed: int = 1) -> np.ndarray:
    return MEAN + 0.3 * SIGMA * np.random.default_rng(seed).standard_normal((walkers, 3))
