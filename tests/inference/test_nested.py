"""Evidence in closed form: a normal in a box; and prior transforms."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch

from cmbfit.errors import ConfigError
from cmbfit.fit import build_posterior, load_run, start_point
from cmbfit.inference.comparison import savage_dickey_samples
from cmbfit.inference.diagnostics import effective_samples, gelman_rubin, kept_samples
from cmbfit.inference.ensemble import EnsembleSettings, run_ensemble
from cmbfit.inference.evidence import EvidenceTask, JoinedRuns, check_evidence, join_runs, measure_evidence
from cmbfit.inference.importance import importance_sample
from cmbfit.inference.nested import NestedSettings, run_nested
from cmbfit.inference.prior_transform import PriorTransform
from cmbfit.inference.products import Samples
from cmbfit.inference.restrict import restrict
from cmbfit.inference.samplers import Start
from cmbfit.inference.starts import initial_walkers
from cmbfit.likelihood import Gaussian, Uniform
from cmbfit.likelihood.posterior import EvaluationCounts
from cmbfit.likelihood.prior_mass import PriorMass
from cmbfit.likelihood.priors import JointGaussian
from tests.inference.test_model_table import SCALE, START, problem

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
    prior_mass = PriorMass(0.0, 0.0)

    def __init__(self, d: int, sigma: float, width: float) -> None:
        self.parameters = tuple(f"x{i}" for i in range(d))
        self.priors = {p: Uniform(-width / 2, width / 2) for p in self.parameters}
        self.theory = SimpleNamespace(parameters=self.parameters, box={})
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
    settings = NestedSettings(n_live=n_live, n_effective=n_effective, networks=networks)
    got = run_nested(toy, settings, 1)  # type: ignore[arg-type]
    expected = d * math.log(sigma * math.sqrt(2 * math.pi) / width)
    assert got.log_z is not None
    assert got.log_z_error is not None
    # the run's own error, five of them; 0.045 each at 500 effective points
    assert got.log_z == pytest.approx(expected, abs=5 * got.log_z_error)
    assert got.log_z_error < 0.05
    x, log_prob = kept_samples(got)
    n = len(x)
    assert n == got.steps == effective_samples(got)[0] > 200
    np.testing.assert_allclose(x.mean(0), 0, atol=5 * sigma / math.sqrt(n))
    np.testing.assert_allclose(x.std(0), sigma, rtol=5 / math.sqrt(2 * n))
    prior = -d * math.log(width)
    np.testing.assert_allclose(log_prob, prior - 0.5 * (x**2).sum(1) / sigma**2, rtol=1e-10)
    assert got.evaluations == toy.counts.evaluations > 1000
    # draws come in no order: the halves of one run agree as two runs would, R - 1 scattering by 1/n
    assert gelman_rubin([got, got]).max() < 10 / n


def test_runs_that_disagree_widen_the_error() -> None:
    """Two runs five sigma apart: the joint error is that of their scatter; two that agree keep the stated one."""
    apart = join_runs([(-10.0, 0.02), (-10.1, 0.02)])
    assert apart.scatter == pytest.approx(0.05 * math.sqrt(2) / 0.02, rel=0.01)
    assert apart.log_z == pytest.approx(-10.05, abs=2e-3)
    # half the difference is the standard error of a mean of two
    assert apart.log_z_error == pytest.approx(0.05, rel=0.05)
    together = join_runs([(-10.0, 0.02), (-10.001, 0.02)])
    assert together.log_z_error == pytest.approx(0.02 / math.sqrt(2))
    assert join_runs([(-10.0, 0.02)]) == JoinedRuns(-10.0, pytest.approx(0.02), None)


def test_a_fit_sampled_by_nested_sampling_has_its_evidence_already() -> None:
    posterior = problem()
    samples = Samples(
        ("a",), [np.zeros((10, 1))] * 2, [np.zeros(10)] * 2, 1, {}, ((-7.0, 0.02), (-7.02, 0.02))
    )
    task = EvidenceTask(posterior, Start(START, SCALE), 1, samples)
    got = measure_evidence(task, {"method": "nested"}).record()
    assert got["log_z"] == pytest.approx(-7.01, abs=1e-3)
    assert [r["log_z"] for r in got["runs"]] == [-7.0, -7.02]
    assert posterior.counts.evaluations == 0


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({}, r"comparison\.evidence\.method: expected one of importance, chain, nested"),
        ({"method": "nestd"}, "unknown evidence method 'nestd'; did you mean 'nested'"),
        (
            {"method": "nested", "n_liv": 5},
            r"comparison\.evidence\.n_liv: unknown setting .* did you mean 'n_live'",
        ),
        (
            {"method": "importance", "n_live": 5},
            r"comparison\.evidence\.n_live: unknown setting of .* importance",
        ),
        ({"method": "nested", "runs": 1}, r"comparison\.evidence\.runs: expected at least 2, found 1"),
        ({"method": "nested", "n_live": 500.0}, r"comparison\.evidence\.n_live: expected a whole number"),
    ],
)
def test_settings_of_another_method_are_refused_by_their_place(section: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        check_evidence(section)


@pytest.fixture(scope="module")
def planck() -> tuple[Any, dict[str, float], dict[str, float]]:
    """The default fit, and how its evidence search starts."""
    fit = load_run().fits["lcdm_planck2018"]
    posterior = build_posterior(fit)
    return posterior, *start_point(fit, posterior)


@pytest.mark.slow
def test_evidence_of_planck_by_three_methods(
    planck: tuple[Any, dict[str, float], dict[str, float]], tmp_path: Path
) -> None:
    """nautilus, importance sampling and emcee on the default posterior: ln Z within errors, the same posterior."""
    pytest.importorskip("nautilus", reason="the optional dependency nautilus-sampler is not installed")
    posterior, centre, scale = planck
    got = measure_evidence(EvidenceTask(posterior, Start(centre, scale), 1), {"method": "nested"})
    importance = got.diagnosis["importance_sampling"]
    assert got.log_z_error is not None
    error = math.hypot(got.log_z_error, importance["log_z_error"])
    assert got.log_z == pytest.approx(importance["log_z"], abs=4 * error)
    assert error < 0.05
    rng = np.random.default_rng(2)
    walkers = initial_walkers(posterior, centre, scale, 64, rng)
    settings = EnsembleSettings(64, 20_000, 500, 50, 0.1, "differential_evolution")
    chain = run_ensemble(posterior, walkers, settings, 3, tmp_path, {}, progress=False)
    assert got.samples is not None
    x, y = kept_samples(chain)[0], got.samples.joined[:, : got.samples.n_sampled]
    # 5,000 points of equal weight and some thousand independent ones of the chain: 0.03 sigma, three of them
    np.testing.assert_allclose((y.mean(0) - x.mean(0)) / x.std(0), 0, atol=0.1)
    np.testing.assert_allclose(y.std(0) / x.std(0), 1, atol=0.08)


@pytest.mark.slow
def test_evidence_of_planck_by_dynesty(planck: tuple[Any, dict[str, float], dict[str, float]]) -> None:
    """Static nested sampling of another code, one point at a time: 4 of its errors, sqrt(H/n_live) = 0.26 (H = 17 nats)."""
    dynesty = pytest.importorskip("dynesty", reason="dynesty is not installed (the bench extra)")
    posterior, centre, scale = planck
    transform = PriorTransform(posterior.parameters, posterior.priors)

    def log_like(theta: np.ndarray) -> float:
        x = torch.from_numpy(theta[None])
        with torch.no_grad():
            value = posterior.log_prob(x) - posterior.log_prior(x)
        return float(value) if torch.isfinite(value) else -1e300

    sampler = dynesty.NestedSampler(
        log_like,
        transform,
        len(posterior.parameters),
        nlive=250,
        rstate=np.random.default_rng(1),
        sample="rwalk",
    )
    sampler.run_nested(dlogz=0.1, print_progress=False)
    error = float(sampler.results.logzerr[-1])
    assert error < 0.5
    exact = importance_sample(posterior, centre, scale, np.random.default_rng(1))
    assert float(sampler.results.logz[-1]) == pytest.approx(exact.log_z, abs=4 * error)


@pytest.mark.slow
def test_savage_dickey_of_planck_is_the_ratio_of_evidences(
    planck: tuple[Any, dict[str, float], dict[str, float]],
) -> None:
    """ln B of a fixed ns against a free one, from samples and from two evidences, where samples reach and at 2.5 sigma.

    Three standard errors and 0.02 of the kernel, at points 0, 1 and 2.5 sigma from the mean.
    """
    posterior, centre, scale = planck
    rng = np.random.default_rng(1)
    large = importance_sample(posterior, centre, scale, rng, n=200_000)
    column = posterior.parameters.index("ns")
    mean, covariance = large.moments()
    sigma = math.sqrt(covariance[column, column])
    rows = rng.choice(len(large.weights), size=100_000, p=large.weights)
    for distance in (0.0, 1.0, 2.5):
        value = float(mean[column] + distance * sigma)
        small = importance_sample(restrict(posterior, {"ns": value}), centre, scale, rng, n=50_000)
        got = savage_dickey_samples(
            large.points[rows, column], 0.88, 1.06, value, n_effective=0.8 * len(rows)
        )
        error = 3 * math.hypot(got.error, small.log_z_error, large.log_z_error)
        assert got.ln_b01 == pytest.approx(small.log_z - large.log_z, abs=error + 0.02), distance
