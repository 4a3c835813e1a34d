"""Convergence measures on samples whose distribution is known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from cmbfit.errors import SamplerError
from cmbfit.inference.diagnostics import burn_in, effective_samples, gelman_rubin, kept_samples
from cmbfit.inference.ensemble import Chain


def chain(samples: np.ndarray, tau: float = 1.0) -> Chain:
    """A chain of (steps, walkers, n) samples with a given tau."""
    n = samples.shape[2]
    log_prob = -0.5 * (samples**2).sum(2)
    names = ("ombh2", "omch2", "ns", "tau")[:n]
    return Chain(
        names, samples, log_prob, np.full(n, tau), [(len(samples), [tau] * n)], 0.4, True, 1.0, 10, {}
    )


def test_r_minus_1_of_independent_normals_has_its_known_distribution(rng: np.random.Generator) -> None:
    """For m ensembles of n draws, n (R^2 - 1) + 1 = n B / W is chi2 with m - 1 degrees of freedom, over m - 1."""
    m, n = 4, 80 * 10  # a fifth of 100 steps is left out
    scaled = []
    for _ in range(200):
        r = gelman_rubin([chain(rng.standard_normal((100, 10, 2))) for _ in range(m)]) + 1
        scaled += list((n * (r**2 - 1) + 1) * (m - 1))
    assert scipy.stats.kstest(scaled, scipy.stats.chi2(m - 1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_r_minus_1_of_displaced_ensembles_is_large(rng: np.random.Generator, shift: float) -> None:
    first, second = (rng.standard_normal((500, 20, 2)) for _ in range(2))
    second[..., 1] += shift
    r = gelman_rubin([chain(first), chain(second)])
    assert abs(r[0]) < 0.01
    # variance of two means `shift` apart: shift^2 / 2, over within-variance 1; 8000 draws: 2%
    assert r[1] == pytest.approx(np.sqrt(1 + shift**2 / 2) - 1, rel=0.1)
    assert r[1] > 0.1


def test_r_minus_1_needs_two_ensembles(rng: np.random.Generator) -> None:
    with pytest.raises(SamplerError, match="at least two independent ensembles"):
        gelman_rubin([chain(rng.standard_normal((50, 4, 1)))])


def test_burn_in_is_a_fifth_or_five_tau() -> None:
    assert burn_in(chain(np.zeros((1000, 4, 1)), tau=10.0)) == 200
    assert burn_in(chain(np.zeros((100, 4, 1)), tau=10.3)) == 52


def test_kept_samples_are_thinned_rows_in_order_of_steps() -> None:
    samples = np.arange(100 * 3).reshape(100, 3, 1).astype(float)  # value = 3 step + walker
    x, log_prob = kept_samples(chain(samples, tau=8.0))  # burn-in 40, every fourth step
    expected = [3 * step + walker for step in range(40, 100, 4) for walker in range(3)]
    np.testing.assert_array_equal(x[:, 0], expected)
    np.testing.assert_array_equal(log_prob, -0.5 * x[:, 0] ** 2)
    with pytest.raises(SamplerError, match="nothing is left"):
        kept_samples(chain(samples, tau=25.0))


def test_effective_samples_are_draws_over_tau() -> None:
    np.testing.assert_allclose(effective_samples(chain(np.zeros((1000, 6, 2)), tau=20.0)), 800 * 6 / 20)
