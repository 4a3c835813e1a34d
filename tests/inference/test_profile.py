"""Profiles against closed forms, Minuit and the normal approximation; Feldman & Cousins's own bounded normal."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from cmbfit.errors import LikelihoodError, ParameterError
from cmbfit.figures.profile import plot_profile
from cmbfit.figures.style import save_figure
from cmbfit.fit import build_posterior, load_run, start_point
from cmbfit.inference.ascent import Function, maximise
from cmbfit.inference.feldman_cousins import ALPHA, Skies, feldman_cousins
from cmbfit.inference.profile import Profile, profile
from cmbfit.likelihood import Posterior
from tests.inference.test_model_table import SCALE, START, closed_form, problem

GAUSSIAN = ["planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "tau_lowe"]


def test_many_banana_shaped_maxima_at_once() -> None:
    """Rosenbrock's valley from 50 starts: the top at (1, 1), or on the wall x = 0.5 at (0.5, 0.25)."""
    rng = np.random.default_rng(1)

    def function(x: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        a, b = x.T
        slope = np.stack([2 * (1 - a) + 40 * a * (b - a * a), -20 * (b - a * a)], 1)
        return -((1 - a) ** 2) - 10 * (b - a * a) ** 2, slope

    start = rng.uniform([-2, -1], [0.5, 3], (50, 2))
    far = np.full(2, 10.0)
    free = maximise(function, start, (-far, far), np.eye(2), np.zeros(2, bool))
    np.testing.assert_allclose(free.points, 1.0, atol=0.02)
    assert free.done.all()
    walled = maximise(function, start, (-far, np.array([0.5, 10])), np.eye(2), np.zeros(2, bool))
    np.testing.assert_allclose(walled.points, [[0.5, 0.25]] * 50, atol=0.01)
    held = maximise(function, start, (-far, far), np.eye(2), np.array([True, False]))
    np.testing.assert_array_equal(held.points[:, 0], start[:, 0])
    np.testing.assert_allclose(held.points[:, 1], start[:, 0] ** 2, atol=1e-3)


def found(posterior: Posterior, parameter: str, **options: float) -> Profile:
    return profile(posterior, parameter, START, SCALE, np.random.default_rng(0), **options)  # type: ignore[arg-type]


def test_a_profile_of_a_line_is_a_parabola() -> None:
    """-2 Delta ln L = (x - mean)^2/var, with var of the marginal: in a normal problem they are one."""
    posterior = problem()
    mean, covariance, _, _ = closed_form(posterior)
    got = found(posterior, "b")
    sigma = math.sqrt(covariance[1, 1])
    np.testing.assert_allclose(got.delta_chi2, ((got.values - mean[1]) / sigma) ** 2, atol=2e-4)
    assert got.interval(1.0) == pytest.approx((mean[1] - sigma, mean[1] + sigma), abs=0.01 * sigma)
    # the others follow their regression on b
    slope = covariance[0, 1] / covariance[1, 1]
    np.testing.assert_allclose(got.points[:, 0], mean[0] + slope * (got.values - mean[1]), atol=0.02 * sigma)
    assert (got.agreed == got.starts).all()


def test_a_grid_that_prior_or_theory_forbid_is_refused() -> None:
    posterior = problem()
    with pytest.raises(ParameterError, match=r"profile of b: .*within \[-3, 3\].*found 41 from -4 to 1"):
        found(posterior, "b", low=-4.0, high=1.0)
    with pytest.raises(ParameterError, match="unknown parameter 'bb'; did you mean 'b'"):
        found(posterior, "bb")
    with pytest.raises(LikelihoodError, match="expected a folded posterior"):
        Skies(posterior)


def test_a_table_of_the_observed_sky_cannot_be_simulated(compiled: Posterior) -> None:
    with pytest.raises(LikelihoodError, match=r"planck2018_lowl_ee: a table of ln L.*tau_lowe"):
        Skies(compiled)


class Bounded:
    """x ~ N(m, 1) with m >= 0 (Feldman & Cousins 1998, section IV B), and a second, free number that is measured too."""

    def __init__(self, x: float) -> None:
        self.data = np.array([x, 0.3])

    def function(self, data: np.ndarray) -> Function:
        def call(theta: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            away = data[rows] - theta
            return -0.5 * np.square(away).sum(1), away

        return call

    def repeat(self, points: np.ndarray, rng: np.random.Generator) -> Function:
        return self.function(points + rng.standard_normal(points.shape))

    def profile(self, grid: np.ndarray) -> Profile:
        x, y = self.data
        best = np.array([max(x, 0.0), y])
        curve = np.square(grid - x) - (best[0] - x) ** 2
        points = np.column_stack([grid, np.full(len(grid), y)])
        return Profile("m", ("m", "y"), grid, curve, points, np.ones(len(grid), int), 1, best, np.eye(2), 0)


def critical(m: float, confidence: float) -> float:
    """c with P(t < c | m) = confidence: t = (x - m)^2, and m^2 - 2 x m for x < 0."""

    def coverage(c: float) -> float:
        low = m - math.sqrt(c)
        return float(norm.cdf(math.sqrt(c)) - norm.cdf((low if low >= 0 else (m * m - c) / (2 * m)) - m))

    return float(brentq(lambda c: coverage(c) - confidence, 1e-9, 20))


@pytest.mark.parametrize(("x", "upper"), [(0.0, 1.64), pytest.param(-1.0, 0.81, marks=pytest.mark.slow)])
def test_feldman_and_cousins_find_their_own_intervals(x: float, upper: float) -> None:
    """Their Table X gives 90% upper limits; here 68% and 95% by the same construction, and 90% from the p values."""
    experiment, grid = Bounded(x), np.linspace(0.02, 4, 41)
    walls = np.array([0.0, -np.inf]), np.array([np.inf, np.inf])
    got = feldman_cousins(
        experiment,
        experiment.profile(grid),
        walls,
        np.eye(2),
        np.random.default_rng(3),
        skies=1000,
        values=41,
    )
    assert got.failed == 0
    for level, alpha in ALPHA.items():
        expected = np.array([critical(m, 1 - alpha) for m in grid])
        # the error of a quantile of 1000 draws of chi2 of one degree: 4% at 68% and 5% at 95%
        np.testing.assert_allclose(got.critical[level], expected, rtol=0.25)
        assert np.mean(got.critical[level] / expected) == pytest.approx(1, abs=0.03)
    assert np.interp(-0.1, -got.p_values, grid) == pytest.approx(upper, abs=0.1)
    assert got.interval("95")[0] is None  # zero is allowed


def gaussian_planck() -> tuple[Posterior, Callable[..., Profile]]:
    run = load_run(overrides={"fits": {"lcdm_planck2018": {"data": GAUSSIAN}}})
    fit = run.fits["lcdm_planck2018"]
    posterior = build_posterior(fit)
    at = start_point(fit, posterior)
    return posterior, lambda name, **options: profile(
        posterior, name, *at, np.random.default_rng(1), **options
    )


@pytest.mark.slow
def test_planck_profiled_and_simulated(tmp_path: Path) -> None:
    """Far from walls both are Wilks's: thresholds within the scatter of 100 skies."""
    posterior, of = gaussian_planck()
    ns = of("ns", n=21)
    best = ns.best[posterior.parameters.index("ns")]
    low, high = ns.interval(1.0)
    assert low is not None
    assert high is not None
    # published (plik TTTEEE + lowl + lowE): 0.9649 +- 0.0044
    assert best == pytest.approx(0.9655, abs=0.002)
    assert (high - low) / 2 == pytest.approx(0.0044, rel=0.06)
    walls = np.array([posterior.support[p] for p in posterior.parameters]).T
    skies = feldman_cousins(
        Skies(posterior),
        ns,
        (walls[0], walls[1]),
        ns.covariance,
        np.random.default_rng(2),
        skies=100,
        values=7,
    )
    # quantiles of 100 draws of chi2: +-0.15 and +-0.7 each, of seven together less
    assert skies.critical["68"].mean() == pytest.approx(1.0, abs=0.2)
    assert skies.critical["95"].mean() == pytest.approx(3.84, abs=0.9)
    save_figure(
        plot_profile({**ns.record(), "confidence": skies.record()}), tmp_path / "x", {"ns": ns.values}
    )
    assert (tmp_path / "x.png").stat().st_size > 10_000


@pytest.mark.slow
def test_minuit_finds_the_same_profile() -> None:
    """MIGRAD with its own numerical derivatives, at five values of ns: another minimiser, the same ln P to 0.01."""
    iminuit = pytest.importorskip("iminuit", reason="iminuit is not installed")
    posterior, of = gaussian_planck()
    ns = of("ns", n=21)
    column = posterior.parameters.index("ns")
    peak = float(posterior.log_prob(ns.best[None]))
    for row in np.linspace(0, len(ns.values) - 1, 5).round().astype(int):
        start = ns.best.copy()
        start[column] = ns.values[row]

        def cost(theta: np.ndarray) -> float:
            return -2 * float(posterior.log_prob(torch.from_numpy(np.array(theta)[None])))

        minuit = iminuit.Minuit(cost, start, name=list(posterior.parameters))
        minuit.errors = np.sqrt(np.diag(ns.covariance))
        minuit.limits = [posterior.support[p] for p in posterior.parameters]
        minuit.fixed["ns"] = True
        minuit.migrad()
        assert minuit.fval + 2 * peak == pytest.approx(ns.delta_chi2[row], abs=0.01)
