"""Convergence measures on samples whose distribution is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.stats

from cmbfit.errors import SamplerError
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import burn_in, effective_samples, gelman_rubin, kept_samples


def chain(samples: np.ndarray, tau: float = 1.0) -> Chain:
    """A chain of (steps, walkers, n) samples with a given tau."""
    n = samples.shape[2]
    log_prob = -0.5 * (samples**2).sum(2)
    names = ("ombh2", "omch2", "ns", "tau")[:n]
    return Chain(
        names, samples, log_prob, np.full(n, tau), [(len(samples), [tau] * n)], 0.4, True, 1.0, 10, {}
    )


def test_r_minus_1_of_independent_normals_has_its_known_distribution(rng: np.random.Generator) -> None:
    """For 2m half-ensembles of n draws, n (R^2 - 1) + 1 = n B / W is chi2 with 2m - 1 degrees of freedom, over 2m - 1."""
    m, n = 4, 40 * 10  # a fifth of 100 steps is left out, then halves
    scaled = []
    for _ in range(200):
        r = gelman_rubin([chain(rng.standard_normal((100, 10, 2))) for _ in range(m)]) + 1
        scaled += list((n * (r**2 - 1) + 1) * (2 * m - 1))
    assert scipy.stats.kstest(scaled, scipy.stats.chi2(2 * m - 1).cdf).pvalue > 1e-3


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_r_minus_1_of_displaced_ensembles_is_large(rng: np.random.Generator, shift: float) -> None:
    first, second = (rng.standard_normal((500, 20, 2)) for _ in range(2))
    second[..., 1] += shift
    r = gelman_rubin([chain(first), chain(second)])
    assert abs(r[0]) < 0.01
    # variance of two pairs of means `shift` apart: shift^2 / 3, over within-variance 1; 4000 draws: 2%
    assert r[1] == pytest.approx(np.sqrt(1 + shift**2 / 3) - 1, rel=0.1)
    assert r[1] > 0.1


def test_a_common_drift_shows_in_r_minus_1(rng: np.random.Generator) -> None:
    """All ensembles move by 2 sigma between their halves: unsplit, their means agree."""
    drift = np.linspace(-2, 2, 500)[:, None, None]
    drifting = [chain(rng.standard_normal((500, 20, 1)) + drift) for _ in range(2)]
    assert gelman_rubin(drifting)[0] > 0.1


def test_r_minus_1_needs_two_ensembles(rng: np.random.Generator) -> None:
    with pytest.raises(SamplerError, match="at least two independent ensembles"):
        gelman_rubin([chain(rng.standard_normal((50, 4, 1)))])


def test_burn_in_is_a_fifth_or_five_tau() -> None:
    assert burn_in(chain(np.zeros((1000, 4, 1)), tau=10.0)) == 200
    assert burn_in(chain(np.zeros((100, 4, 1)), tau=10.3)) == 52


def test_kept_samples_are_thinned_rows_walker_by_walker() -> None:
    samples = np.arange(100 * 3).reshape(100, 3, 1).astype(float)  # value = 3 step + walker
    x, log_prob = kept_samples(chain(samples, tau=8.0))  # burn-in 40, every fourth step
    expected = [3 * step + walker for walker in range(3) for step in range(40, 100, 4)]
    np.testing.assert_array_equal(x[:, 0], expected)
    np.testing.assert_array_equal(log_prob, -0.5 * x[:, 0] ** 2)
    with pytest.raises(SamplerError, match="nothing is left"):
        kept_samples(chain(samples, tau=25.0))


def test_effective_samples_are_draws_over_tau() -> None:
    np.testing.assert_allclose(effective_samples(chain(np.zeros((1000, 6, 2)), tau=20.0)), 800 * 6 / 20)


def test_a_thinned_chain_counts_its_steps_and_keeps_the_same_rows() -> None:
    samples = np.arange(1, 1001).reshape(1000, 1, 1) * np.ones((1, 4, 1))
    whole = chain(samples, tau=32.0)
    thinned = replace(whole, samples=samples[7::8], log_prob=whole.log_prob[7::8], thin=8)
    assert thinned.steps == 1000
    assert burn_in(thinned) == burn_in(whole) == 200
    np.testing.assert_allclose(effective_samples(thinned), effective_samples(whole))
    x = kept_samples(thinned)[0]
    assert x[0] == 208  # the first kept step after burn-in
    assert x[1] - x[0] == 16  # every half tau
