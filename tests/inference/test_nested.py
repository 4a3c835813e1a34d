"""Evidence in closed form: a normal in a box; and prior transforms."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.stats
import torch

from cmbfit.errors import ConfigError
from cmbfit.inference.nested import PriorTransform, run_nested
from cmbfit.likelihood import Gaussian, Uniform
from cmbfit.likelihood.posterior import EvaluationCounts
from cmbfit.likelihood.priors import JointGaussian

JOINT = JointGaussian(("a", "b"), (1.0, -2.0), ((1.0, 0.6), (0.6, 2.0)))


def test_transform_of_uniform_points_follows_the_prior(rng: np.random.Generator) -> None:
    """20,000 points: Kolmogorov-Smirnov for each marginal, 5 standard errors for the correlation."""
    priors = {"a": JOINT.marginal("a"), "b": JOINT.marginal("b"), "u": Uniform(2, 5), "g": Gaussian(3, 0.5)}
    theta = PriorTransform(("u", "a", "g", "b"), priors, [JOINT])(rng.uniform(size=(20_000, 4)))
    expected = [
        scipy.stats.uniform(2, 3),
        scipy.stats.norm(1, 1),
        scipy.stats.norm(3, 0.5),
        scipy.stats.norm(-2, math.sqrt(2)),
    ]
    for column, distribution in zip(theta.T, expected, strict=True):
        assert scipy.stats.kstest(column, distribution.cdf).pvalue > 1e-3
    correlation = np.corrcoef(theta.T)
    assert correlation[1, 3] == pytest.approx(0.6 / math.sqrt(2), abs=5 / math.sqrt(20_000))
    assert abs(correlation[0, 1]) < 5 / math.sqrt(20_000)


def test_other_priors_are_refused() -> None:
    with pytest.raises(ConfigError, match="needs a uniform or Gaussian prior"):
        PriorTransform(("x",), {"x": SimpleNamespace(support=(0, 1))})  # type: ignore[dict-item]


class NormalInBox:
    """L = exp(-|theta|^2 / 2 sigma^2) under a uniform prior of width w in each of d parameters."""

    device = torch.device("cpu")
    joint_priors = ()

    def __init__(self, d: int, sigma: float, width: float) -> None:
        self.parameters = tuple(f"x{i}" for i in range(d))
        self.priors = {p: Uniform(-width / 2, width / 2) for p in self.parameters}
        self.theory = SimpleNamespace(parameters=self.parameters)
        self.counts = EvaluationCounts()
        self.sigma, self.width = sigma, width

    def log_prior(self, theta: torch.Tensor) -> torch.Tensor:
        return torch.full((len(theta),), -len(self.parameters) * math.log(self.width), dtype=torch.float64)

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        self.counts.evaluations += len(theta)
        return -0.5 * theta.square().sum(1) / self.sigma**2 + self.log_prior(theta)


@pytest.mark.parametrize(
    ("networks", "n_live", "n_effective"), [(0, 100, 500), pytest.param(4, 500, 4000, marks=pytest.mark.slow)]
)
def test_evidence_of_a_normal_in_a_box(networks: int, n_live: int, n_effective: int) -> None:
    """ln Z = d ln(sigma sqrt(2 pi) / w), the box being 20 sigma wide; and the samples are the normal."""
    pytest.importorskip("nautilus", reason="the optional dependency nautilus-sampler is not installed")
    d, sigma, width = 3, 0.5, 10.0
    toy = NormalInBox(d, sigma, width)
    got = run_nested(toy, 1, n_live=n_live, n_effective=n_effective, networks=networks)  # type: ignore[arg-type]
    expected = d * math.log(sigma * math.sqrt(2 * math.pi) / width)
    # the run's own error, five of them; 0.045 each at 500 effective points
    assert got.log_z == pytest.approx(expected, abs=5 * got.log_z_error)
    assert got.log_z_error < 0.05
    x = got.samples.joined
    n = len(x)
    assert n > 200
    np.testing.assert_allclose(x.mean(0), 0, atol=5 * sigma / math.sqrt(n))
    np.testing.assert_allclose(x.std(0), sigma, rtol=5 / math.sqrt(2 * n))
    prior = -d * math.log(width)
    np.testing.assert_allclose(got.samples.log_prob[0], prior - 0.5 * (x**2).sum(1) / sigma**2, rtol=1e-10)
    assert got.evaluations == toy.counts.evaluations > 1000
