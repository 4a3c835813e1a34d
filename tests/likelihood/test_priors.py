"""Prior densities against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from cmbfit.errors import ConfigError
from cmbfit.likelihood import Gaussian, Uniform, prior_from_config
from cmbfit.likelihood.priors import Prior

CASES = [
    pytest.param(Uniform(-1.5, 4.0), scipy.stats.uniform(-1.5, 5.5), id="uniform"),
    pytest.param(Gaussian(1.0, 0.0025), scipy.stats.norm(1.0, 0.0025), id="gaussian"),
]


@pytest.mark.parametrize(("prior", "scipys"), CASES)
def test_density_equals_scipy(
    prior: Prior, scipys: scipy.stats.rv_continuous, rng: np.random.Generator
) -> None:
    x = scipys.mean() + 3 * scipys.std() * rng.uniform(-1, 1, 200)
    np.testing.assert_allclose(prior.log_prob(torch.from_numpy(x)).numpy(), scipys.logpdf(x), rtol=1e-12)


@pytest.mark.parametrize(("prior", "scipys"), CASES)
def test_density_integrates_to_one(prior: Prior, scipys: scipy.stats.rv_continuous) -> None:
    def density(x: float) -> float:
        return torch.exp(prior.log_prob(torch.tensor([x], dtype=torch.float64))).item()

    low = max(prior.support[0], scipys.mean() - 12 * scipys.std())
    high = min(prior.support[1], scipys.mean() + 12 * scipys.std())
    assert scipy.integrate.quad(density, low, high)[0] == pytest.approx(1.0, abs=1e-8)


@pytest.mark.parametrize(("prior", "scipys"), CASES)
def test_draws_follow_the_density(
    prior: Prior, scipys: scipy.stats.rv_continuous, rng: np.random.Generator
) -> None:
    assert scipy.stats.kstest(prior.sample(rng, 2000), scipys.cdf).pvalue > 1e-3


def test_uniform_is_zero_outside_its_closed_interval() -> None:
    x = torch.tensor([1.0, 2.0, 3.0, 3.0000001, 0.9999999, torch.nan], dtype=torch.float64)
    got = Uniform(1, 3).log_prob(x)
    assert torch.isfinite(got[:3]).all()
    assert torch.isneginf(got[3:]).all()


@pytest.mark.parametrize("prior", [Uniform(0.5, 2.0), Gaussian(1.0, 0.3)])
def test_a_description_builds_the_same_prior(prior: Prior) -> None:
    assert prior_from_config("tau", prior.describe()) == prior


@pytest.mark.parametrize(
    "spec",
    [
        {"uniform": [2, 1]},
        {"uniform": [0, float("inf")]},
        {"uniform": [1]},
        {"gaussian": [1, 0]},
        {"gaussian": [1, -2]},
        {"gaussian": ["a", 2]},
        {"gaussian": [float("nan"), 2]},
        {"flat": [0, 1]},
        {"uniform": [0, 1], "gaussian": [0, 1]},
        0.5,
        None,
    ],
)
def test_a_malformed_prior_is_refused_by_name(spec: object) -> None:
    with pytest.raises(ConfigError, match="prior of tau"):
        prior_from_config("tau", spec)  # type: ignore[arg-type]
