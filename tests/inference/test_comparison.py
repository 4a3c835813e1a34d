"""Model comparison against closed forms, and the FIRAS fits as a worked case."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from cmbfit.errors import ParameterError
from cmbfit.inference.comparison import (
    aic,
    bic,
    gaussian_equivalent,
    improvement,
    look_elsewhere,
    savage_dickey_gaussian,
    savage_dickey_samples,
    strength,
)
from cmbfit.theory.blackbody import fit_firas, load_firas


def test_firas_with_and_without_mu() -> None:
    data = load_firas()
    small, large = fit_firas(data, ("dT", "galaxy")), fit_firas(data, ("dT", "mu", "galaxy"))
    got = improvement(small.chi2, large.chi2, 2, 3, 43)
    assert got.delta_chi2 == pytest.approx(-0.1258, abs=1e-4)
    assert (got.delta_aic, got.delta_bic) == (pytest.approx(1.874, abs=1e-3), pytest.approx(3.635, abs=1e-3))
    ratio = savage_dickey_gaussian(float(large.values[1]), float(large.errors[1]), -1e-3, 1e-3)
    assert ratio.ln_b01 == pytest.approx(3.0091, abs=1e-3)
    y = fit_firas(data, ("dT", "y", "galaxy"))
    ratio = savage_dickey_gaussian(float(y.values[1]), float(y.errors[1]), -1e-3, 1e-3)
    assert ratio.ln_b01 == pytest.approx(5.3204, abs=1e-3)
    assert strength(ratio.ln_b01) == "strong"
    assert strength(-0.9) == "inconclusive"
    assert strength(-3) == "moderate"


def test_criteria() -> None:
    assert aic(10.0, 3) == 16
    assert aic(10.0, 3, 20) == pytest.approx(16 + 24 / 16)
    assert bic(10.0, 3, 20) == pytest.approx(10 + 3 * math.log(20))
    with pytest.raises(ParameterError, match="more data than parameters"):
        bic(10.0, 3, 4)


def test_gaussian_ratio_is_the_ratio_of_evidences() -> None:
    mean, sigma = 0.7, 0.5

    def likelihood(x: float) -> float:
        return math.exp(-0.5 * ((x - mean) / sigma) ** 2)

    for low, high in ((-3.0, 5.0), (0.0, 2.0)):  # the second: an amplitude at its boundary
        z1 = integrate.quad(likelihood, low, high)[0] / (high - low)
        got = savage_dickey_gaussian(mean, sigma, low, high)
        assert got.ln_b01 == pytest.approx(math.log(likelihood(0) / z1), rel=1e-9)
    wide = (
        savage_dickey_gaussian(0.0, 0.01, -2.0, 2.0).ln_b01
        - savage_dickey_gaussian(0.0, 0.01, -1.0, 1.0).ln_b01
    )
    assert wide == pytest.approx(math.log(2))
    with pytest.raises(ParameterError, match="low <= point <= high"):
        savage_dickey_gaussian(0.0, 1.0, 1.0, 2.0)


@pytest.mark.parametrize(("low", "high"), [(-4.0, 4.0), (0.0, 4.0)])
def test_ratio_from_samples(low: float, high: float, rng: np.random.Generator) -> None:
    mean, sigma = 0.4, 0.5
    cut = stats.truncnorm((low - mean) / sigma, (high - mean) / sigma, mean, sigma)
    got = [savage_dickey_samples(cut.rvs(20_000, random_state=rng), low, high) for _ in range(20)]
    want = savage_dickey_gaussian(mean, sigma, low, high).ln_b01
    values = np.array([g.ln_b01 for g in got])
    # kernel bias: h^2 f''/2f is 0.5% here, 1% at the edge
    assert values.mean() == pytest.approx(want, abs=0.02)
    assert values.std() == pytest.approx(np.mean([g.error for g in got]), rel=0.6)  # 20 draws: 16%


def test_samples_that_say_nothing_are_refused(rng: np.random.Generator) -> None:
    with pytest.raises(ParameterError, match="the density there is not measured"):
        savage_dickey_samples(5 + 0.1 * rng.standard_normal(1000), -10, 10)
    with pytest.raises(ParameterError, match="within the prior"):
        savage_dickey_samples(rng.standard_normal(1000), 0, 10)


def test_sigma_is_two_sided() -> None:
    """As tables of the normal distribution have it."""
    for sigma, p in ((1.0, 0.317311), (2.0, 0.0455003), (3.0, 0.00269980)):
        assert gaussian_equivalent(p) == pytest.approx(sigma, abs=1e-5)


def test_look_elsewhere(rng: np.random.Generator) -> None:
    # the largest of 100 independent chi2(2): P(max > x) = 1 - (1 - exp(-x/2))^100
    draws = rng.chisquare(2, (2000, 100)).max(1)
    got = look_elsewhere(14.0, draws)
    exact = 1 - (1 - math.exp(-7.0)) ** 100
    assert abs(got.p_value - exact) < 3.5 * math.sqrt(exact * (1 - exact) / 2000)
    assert got.low < got.p_value < got.high
    assert math.erfc(got.sigma / math.sqrt(2)) == pytest.approx(got.p_value)
    none = look_elsewhere(1e3, draws)
    assert none.exceeding == 0
    assert none.p_value == pytest.approx(1 / 2001)
    assert none.low == 0
    with pytest.raises(ParameterError, match="at least 20"):
        look_elsewhere(3.0, draws[:5])
