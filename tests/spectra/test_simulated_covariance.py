"""Simulation covariance against scipy's multivariate t and known Wishart moments."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.linalg import eigh

from cmbfit.errors import SpectrumError
from cmbfit.spectra.simulated_covariance import SimulatedCovariance

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


@pytest.mark.slow
def test_analytic_covariance_of_two_fields_passes(two_fields) -> None:
    """The whole data vector but l 2-4: 168 bandpowers, 600 skies.

    Variances scatter as sample variances must (chi2 with their covariance 2 rho_ij^2 / (n - 1)) and are off by
    less than a tenth beyond that; the eigenvalues of the whitened simulated matrix stay inside Marchenko and
    Pastur's edges (1 +- sqrt(p / n))^2, to a fifth.
    """
    n, p = len(two_fields.found), two_fields.theory.shape
    keep = np.flatnonzero(np.tile(np.arange(p[1]) > 0, p[0]))
    sim = SimulatedCovariance.of(two_fields.found.reshape(n, -1)[:, keep])
    analytic = two_fields.covariance[np.ix_(keep, keep)]
    sd = np.sqrt(np.diag(analytic))
    ratio = np.diag(sim.matrix) / sd**2 - 1
    scatter = 2 / (n - 1) * (analytic / np.outer(sd, sd)) ** 2
    assert 1e-3 < stats.chi2.sf(ratio @ np.linalg.solve(scatter, ratio), len(keep)) < 1 - 1e-3
    assert np.mean(ratio**2) - 2 / (n - 1) < 0.1**2
    values = eigh(sim.matrix, analytic, eigvals_only=True)
    edge = np.sqrt(len(keep) / n)
    assert (1 - edge) ** 2 / 1.2 < values[0] < values[-1] < 1.2 * (1 + edge) ** 2


def test_refusals(rng) -> None:
    with pytest.raises(SpectrumError, match="needs more than 10"):
        SimulatedCovariance.of(rng.standard_normal((10, 8)))
    with pytest.raises(SpectrumError, match="expected finite"):
        SimulatedCovariance.of(np.full((100, 2), np.nan))
