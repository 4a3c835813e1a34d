"""Simulation covariance against scipy's multivariate t and known Wishart moments."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from cmbfit.errors import SpectrumError
from cmbfit.spectra.simulated_covariance import SimulatedCovariance, compare_covariances

P, N = 8, 40


def truth(rng: np.random.Generator, p: int = P) -> np.ndarray:
    a = rng.standard_normal((p, p))
    return a @ a.T + p * np.eye(p)


def test_sellentin_heavens_is_a_multivariate_t(rng) -> None:
    sim = SimulatedCovariance.of(rng.multivariate_normal(np.ones(P), truth(rng), N))
    residual = 3 * rng.standard_normal((2, 5, P))
    oracle = stats.multivariate_t(np.zeros(P), sim.matrix * (N - 1) / (N - P), df=N - P)
    np.testing.assert_allclose(sim.log_prob(residual), oracle.logpdf(residual), rtol=1e-12)
    assert sim.log_prob(residual[0, 0]).shape == ()


def test_sellentin_heavens_tends_to_the_gaussian(rng) -> None:
    matrix, residual = truth(rng), rng.standard_normal((4, P))
    many = SimulatedCovariance(np.zeros(P), matrix, 10**8)
    gauss = stats.multivariate_normal(np.zeros(P), matrix).logpdf(residual)
    np.testing.assert_allclose(many.log_prob(residual), gauss, atol=1e-5)


def test_hartlap_unbiases_the_inverse(rng) -> None:
    matrix = truth(rng)
    inverses, plain = [], []
    for _ in range(1500):
        sim = SimulatedCovariance.of(rng.multivariate_normal(np.zeros(P), matrix, N))
        inverses.append(np.trace(sim.inverse() @ matrix) / P)
        plain.append(inverses[-1] / sim.hartlap)
    error = np.std(inverses) / np.sqrt(1500)
    assert np.mean(inverses) == pytest.approx(1, abs=4 * error)
    assert np.mean(plain) > 1.2  # 39 / 30: what is being corrected


def test_its_probabilities_are_calibrated(rng) -> None:
    """True parameters fall inside 95 % regions 95 % of the time; without the correction less often."""
    matrix, inside, naive = truth(rng), 0, 0
    limit_t = P * stats.f.ppf(0.95, P, N - P) * (N - 1) / (N - P)
    for _ in range(1500):
        sim = SimulatedCovariance.of(rng.multivariate_normal(np.zeros(P), matrix, N))
        chi2 = sim.chi2(rng.multivariate_normal(np.zeros(P), matrix))
        inside += chi2 < limit_t
        naive += chi2 < stats.chi2(P).ppf(0.95)
    assert inside / 1500 == pytest.approx(0.95, abs=0.02)
    assert naive / 1500 < 0.9


def test_comparison_accepts_the_truth_and_sees_errors(rng) -> None:
    matrix = truth(rng, 30)
    sim = SimulatedCovariance.of(rng.multivariate_normal(np.zeros(30), matrix, 1000))
    good = compare_covariances(matrix, sim)
    assert all(check["pass"] for check in good), good
    json.dumps(good, allow_nan=False)
    inflated = matrix.copy()
    inflated[:10, :10] *= 1.4  # still positive definite: a block-diagonal addition
    bad = compare_covariances(inflated, sim)
    assert not any(check["pass"] for check in bad[:2]), bad
    d = np.sqrt(np.diag(matrix))
    uncorrelated = np.diag(d**2)
    kinds = compare_covariances(uncorrelated, sim)
    assert not kinds[2]["pass"]  # variances are right, only eigenvalues tell


def test_chi2_of_the_variances_follows_its_law(rng) -> None:
    matrix = truth(rng, 5)
    ptes = [
        compare_covariances(
            matrix, SimulatedCovariance.of(rng.multivariate_normal(np.zeros(5), matrix, 2000))
        )[0]["value"]
        for _ in range(300)
    ]
    assert stats.kstest(ptes, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_analytic_covariance_of_two_fields_passes(two_fields) -> None:
    """The whole data vector but l 2-4: 168 bandpowers, 600 skies."""
    n, p = len(two_fields.found), two_fields.theory.shape
    keep = np.flatnonzero(np.tile(np.arange(p[1]) > 0, p[0]))
    sim = SimulatedCovariance.of(two_fields.found.reshape(n, -1)[:, keep])
    checks = compare_covariances(two_fields.covariance[np.ix_(keep, keep)], sim)
    assert all(check["pass"] for check in checks), checks


def test_refusals(rng) -> None:
    with pytest.raises(SpectrumError, match="needs more than 10"):
        SimulatedCovariance.of(rng.standard_normal((10, 8)))
    with pytest.raises(SpectrumError, match="expected finite"):
        SimulatedCovariance.of(np.full((100, 2), np.nan))
    sim = SimulatedCovariance.of(rng.standard_normal((100, 2)))
    with pytest.raises(SpectrumError, match="analytic covariance of shape"):
        compare_covariances(np.eye(3), sim)
    with pytest.raises(SpectrumError, match="not positive definite"):
        compare_covariances(-np.eye(2), sim)
