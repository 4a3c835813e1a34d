"""HMC on distributions whose moments are known, walls included; against emcee on Planck's data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit.errors import ResumeError, SamplerError
from cmbfit.fit import Fit, build_posterior, load_run
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import effective_samples, gelman_rubin, kept_samples
from cmbfit.inference.hmc import HmcSettings, run_hmc
from cmbfit.inference.sampling import sample
from cmbfit.likelihood import Posterior, Uniform
from cmbfit.likelihood.base import Likelihood
from tests.inference.toy import COVARIANCE, MEAN, SIGMA, GaussianToy, start
from tests.likelihood.helpers import LineTheory, info

SETTINGS = HmcSettings(walkers=64, max_steps=1000, block_steps=50, tau_multiple=50, tau_rtol=0.2)
IDENTITY = {"posterior": {"data": "toy"}}


def run(
    folder: Path, toy: Any = None, *, seed: int = 3, factor: np.ndarray | None = None, **change: Any
) -> Chain:
    settings = replace(SETTINGS, **change)
    factor = np.diag(SIGMA) if factor is None else factor
    return run_hmc(
        toy or GaussianToy(),
        start(settings.walkers),
        factor,
        settings,
        seed,
        folder,
        IDENTITY,
        progress=False,
    )


def test_mean_and_covariance_are_recovered_from_a_poor_mass_matrix(tmp_path: Path) -> None:
    """The first mass matrix lacks the correlations (0.8) and is 3 times too wide: the warm-up mends it."""
    chain = run(tmp_path, factor=3 * np.diag(SIGMA))
    x = kept_samples(chain)[0]
    n = effective_samples(chain).min()
    assert n > 2000
    # statistical errors of mean, width and correlation, five of them (as for emcee)
    assert (np.abs(x.mean(0) - MEAN) / SIGMA).max() < 5 / np.sqrt(n)
    assert np.abs(x.std(0) / SIGMA - 1).max() < 5 / np.sqrt(2 * n)
    assert np.abs(np.corrcoef(x.T) - COVARIANCE / np.outer(SIGMA, SIGMA)).max() < 5 / np.sqrt(n)
    assert chain.kind == "hmc"
    # trajectories of a quarter period in whitened coordinates: draws hardly depend on each other
    assert chain.tau.max() < 3
    assert 0.8 < chain.acceptance < 1


class Corner:
    """ln L = a . theta: an exponential in the corner of a box, steep at two walls of it."""

    slope = torch.tensor([4.0, -2.0], dtype=torch.float64)
    info = info("corner")
    pairs = ("tt",)
    lmax = 20

    def log_prob(self, spectra: Any, nuisance: Any) -> torch.Tensor:  # noqa: ARG002
        return spectra.parameters["theta"] @ self.slope

    def settings(self) -> dict[str, Any]:
        return {"slope": self.slope.tolist()}

    def to(self, device: Any) -> Likelihood:  # noqa: ARG002
        return self


class PlainTheory(LineTheory):
    """Hands theta on."""

    def spectra(self, theta: torch.Tensor) -> Any:
        spectra = super().spectra(theta)
        spectra.parameters["theta"] = theta
        return spectra


def test_walls_are_exact(tmp_path: Path, rng: np.random.Generator) -> None:
    """Mean and variance of truncated exponentials, with most of the probability next to the walls."""
    posterior = Posterior(PlainTheory(rng), [Corner()], {"ombh2": Uniform(-1, 1), "ns": Uniform(0, 2)})
    settings = replace(SETTINGS, walkers=128, tau_multiple=40)
    first = np.array([0.5, 0.5]) + 0.1 * rng.standard_normal((128, 2))
    chain = run_hmc(posterior, first, 0.3 * np.eye(2), settings, 1, tmp_path, IDENTITY, progress=False)
    x = kept_samples(chain)[0]
    n = effective_samples(chain).min()
    u = np.linspace(0, 2, 200_001)  # distance from the wall
    for column, rate in ((1 - x[:, 0], 4.0), (x[:, 1], 2.0)):
        weight = np.exp(-rate * u)
        mean = np.average(u, weights=weight)
        variance = np.average((u - mean) ** 2, weights=weight)
        assert column.min() >= 0
        assert column.max() <= 2
        # kurtosis of an exponential is 9: standard error of the variance is sqrt(8/n) of it
        assert column.mean() == pytest.approx(mean, abs=5 * np.sqrt(variance / n))
        assert column.var() == pytest.approx(variance, rel=5 * np.sqrt(8 / n))
    # reflected, not refused: no trajectory is lost outside
    assert chain.counts["outside_prior"] < 1e-4 * chain.evaluations
    assert chain.tau.max() < 20


def test_the_seed_makes_the_chain_and_a_resume_goes_on_with_it(tmp_path: Path) -> None:
    whole = run(tmp_path / "a")
    other = run(tmp_path / "b", seed=4)
    assert not np.array_equal(whole.samples[0], other.samples[0])
    with pytest.raises(SamplerError, match="not converged after 50 steps"):
        run(tmp_path / "c", max_steps=50)
    resumed = run(tmp_path / "c")
    np.testing.assert_array_equal(resumed.samples, whole.samples)
    np.testing.assert_array_equal(resumed.log_prob, whole.log_prob)
    assert resumed.acceptance == whole.acceptance
    with pytest.raises(ResumeError, match=r"sampler\.leapfrog"):
        run(tmp_path / "c", leapfrog=4)


def test_an_interrupted_warm_up_starts_again_to_the_same_chain(tmp_path: Path) -> None:
    whole = run(tmp_path / "a")
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", GaussianToy(fail_after=20))
    np.testing.assert_array_equal(run(tmp_path / "b").samples, whole.samples)


def fit_chains(posterior: Posterior, fit: Fit, sampler: dict[str, Any], folder: Path) -> list[Chain]:
    fit = replace(fit, sampler=sampler)
    return [sample(posterior, fit, [1, i], folder / str(i), "test", progress=False)[0] for i in range(2)]


@pytest.mark.slow
def test_hmc_and_emcee_agree_on_planck(tmp_path: Path) -> None:
    fit = load_run().fits["lcdm_planck2018"]
    compiled = build_posterior(fit)
    emcee = fit_chains(compiled, fit, {**fit.sampler, "walkers": 128}, tmp_path / "emcee")
    hmc = fit_chains(compiled, fit, {"kind": "hmc", "walkers": 256}, tmp_path / "hmc")
    assert max(gelman_rubin(emcee).max(), gelman_rubin(hmc).max()) < 0.003
    a, b = (np.concatenate([kept_samples(c)[0] for c in chains]) for chains in (emcee, hmc))
    n_a, n_b = (sum(effective_samples(c) for c in chains) for chains in (emcee, hmc))
    assert n_b.min() > 10_000
    sigma = b.std(0)
    # five standard errors of a difference of means and of widths
    error = np.sqrt(1 / n_a + 1 / n_b)
    assert (np.abs(a.mean(0) - b.mean(0)) / sigma < 5 * error).all()
    assert (np.abs(a.std(0) / sigma - 1) < 5 * error / np.sqrt(2)).all()
    # the tails too: tau is bounded at 0.02
    column = compiled.parameters.index("tau")
    q_a, q_b = (np.quantile(x[:, column], [0.02, 0.98]) for x in (a, b))
    np.testing.assert_allclose(q_a, q_b, atol=0.1 * sigma[column])
