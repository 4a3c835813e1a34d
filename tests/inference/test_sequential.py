"""A check by few exact points must say what all of them would: held against populations whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from cmbfit.inference.sequential import (
    bounds,
    edge_mark,
    edges,
    in_order,
    record,
    tolerance_factor,
)

MARKS = {"ess_fraction": 0.9, "shift": 0.05, "delta_chi2_95": 0.3, "posterior_95": 0.3}
NAMES = [f"p{i}" for i in range(7)]


def decide(slope: float, scatter: float, n: int, rng: np.random.Generator) -> bool:
    """Look at n points of a normal posterior where ln w = slope p0 + noise: the mean of p0 shifts by `slope` sigma."""
    x = rng.standard_normal((n, 7))
    log_weights = slope * x[:, 0] + scatter * rng.standard_normal(n)
    errors = {"tt": rng.uniform(0.01, 0.03, n)}
    return record(bounds(NAMES, x, log_weights, {"d": -2 * log_weights}, errors, MARKS), n, 200, 7)["decided"]


def test_what_is_far_inside_its_marks_is_decided_at_once(rng: np.random.Generator) -> None:
    # as the shipped emulator on Planck: ln w scatters by 0.006
    assert all(decide(0.003, 0.005, 32, rng) for _ in range(20))


@pytest.mark.parametrize(("slope", "scatter"), [(0.06, 0.01), (-0.06, 0.0), (0.0, 0.09)])
def test_what_lies_beyond_a_mark_is_never_decided(
    slope: float, scatter: float, rng: np.random.Generator
) -> None:
    """A shift of 0.06 sigma where 0.05 is allowed; a scatter whose 95% of |delta chi2| is 0.35 where 0.3 is.

    At five sigma one look in 3 million may err.
    """
    for _ in range(40):
        assert not any(decide(slope, scatter, n, rng) for n in (32, 64))


def test_points_too_few_for_linear_weights_decide_nothing(rng: np.random.Generator) -> None:
    x = rng.standard_normal((32, 20))
    still = np.zeros(32) + 1e-9 * rng.standard_normal(32)
    found = bounds([f"p{i}" for i in range(20)], x, still, {}, {}, MARKS)
    assert all(b.inside for b in found)
    assert record(found, 32, 200, 7)["decided"]
    assert not record(found, 32, 200, 20)["decided"]


def test_tolerance_factor_is_that_of_the_tables() -> None:
    """At five sigma no table exists; the definition is checked by its probability, for 95% by the noncentral t itself."""
    for n in (16, 32, 200):
        k = tolerance_factor(n)
        # P(mean + k s > z95) with mean, s of n unit normals: integrate over s
        s = np.linspace(1e-3, 4, 40001)
        density = stats.chi.pdf(s * np.sqrt(n - 1), n - 1) * np.sqrt(n - 1)
        missed = np.trapezoid(density * stats.norm.cdf((stats.norm.ppf(0.95) - k * s) * np.sqrt(n)), s)
        assert missed == pytest.approx(stats.norm.sf(5), rel=1e-3)


def test_parts_are_put_back_in_the_chosen_order() -> None:
    chosen = np.arange(100, 133)
    joined = np.concatenate([chosen[i::4] for i in range(4)])
    np.testing.assert_array_equal(joined, chosen[in_order(33, 4)])
    np.testing.assert_array_equal(joined[np.argsort(in_order(33, 4))], chosen)


def test_edges_are_the_farthest_by_the_chains_own_covariance(rng: np.random.Generator) -> None:
    covariance = np.array([[1.0, 0.95], [0.95, 1.0]])
    x = rng.multivariate_normal([0, 0], covariance, 5000)
    x[[7, 9]] = [3.0, -3.0]  # near in each parameter, far across the degeneracy
    x[11] = [4.5, 4.5]
    chosen = edges(x, 2)
    assert len(set(map(tuple, x[chosen]))) == 2  # a walker that stayed is one point
    assert set(map(tuple, x[chosen])) == {(3.0, -3.0), (4.5, 4.5)}


def test_edge_mark_is_three_deviations_of_the_widest_weights_allowed() -> None:
    # normal ln w of deviation s has an effective fraction exp(-s^2)
    assert edge_mark(np.exp(-0.04)) == pytest.approx(0.6)
