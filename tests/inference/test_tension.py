"""Tension measures: a published pair of measurements, and Gaussian cases in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cmbfit.errors import ParameterError
from cmbfit.inference.tension import Evidence, parameter_shift, suspiciousness


def gaussian_pair(
    a: tuple[float, float], b: tuple[float, float], volume: float
) -> tuple[Evidence, Evidence, Evidence]:
    joint_variance = 1 / (a[1] ** -2 + b[1] ** -2)
    peak = -0.5 * (a[0] - b[0]) ** 2 / (a[1] ** 2 + b[1] ** 2)
    variances = [np.array([[x]]) for x in (a[1] ** 2, b[1] ** 2, joint_variance)]
    peaks = (0.0, 0.0, peak)
    one, two, both = (Evidence.gaussian(v, p, volume) for v, p in zip(variances, peaks, strict=True))
    return one, two, both


def test_two_measurements_of_birefringence() -> None:
    shift = parameter_shift(
        np.array([0.342]), np.array([[0.0925**2]]), np.array([0.215]), np.array([[0.074**2]])
    )
    assert shift.chi2 == pytest.approx(1.149, abs=1e-3)
    assert shift.p_value == pytest.approx(0.284, abs=1e-3)
    assert shift.verdict == "agreement"
    assert shift.sigma == pytest.approx(1.07, abs=0.01)
    # suspiciousness says the same, whatever the prior's width
    for volume in (10.0, 1e4):
        got = suspiciousness(*gaussian_pair((0.342, 0.0925), (0.215, 0.074), volume))
        assert got.ln_s == pytest.approx(-0.075, abs=1e-3)
        assert got.tension.chi2 == pytest.approx(shift.chi2, rel=1e-9)
        assert got.ln_r - got.ln_i == pytest.approx(got.ln_s)


def test_evidence_from_samples(rng: np.random.Generator) -> None:
    # a three-dimensional Gaussian in a box: ln Z = d ln(sigma sqrt(2 pi)/w), D = -d/2 - ln Z, dimensionality 3
    x = rng.standard_normal((200_000, 3))
    ln_z = 3 * math.log(math.sqrt(2 * math.pi) / 20)
    got = Evidence.from_samples(ln_z, -0.5 * (x**2).sum(1))
    want = Evidence.gaussian(np.eye(3), 0.0, 20.0**3)
    assert want.log_z == pytest.approx(ln_z, rel=1e-12)
    assert (got.divergence, got.dimensionality) == (
        pytest.approx(want.divergence, abs=0.01),
        pytest.approx(3, abs=0.06),
    )


def test_calibration_on_many_pairs(rng: np.random.Generator) -> None:
    p = []
    for a, b in rng.standard_normal((400, 2)) * (1.0, 2.0):
        p.append(suspiciousness(*gaussian_pair((a, 1.0), (b, 2.0), 1e3)).tension.p_value)
    # uniform if calibrated: mean 0.5 +- 0.014, 5% below 0.05 (+- 1.1%)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.035)


def test_shift_in_several_dimensions_and_verdicts() -> None:
    c = np.array([[2.0, 0.6], [0.6, 1.0]])
    d = np.linalg.cholesky(c) @ np.array([3.0, 4.0])
    got = parameter_shift(d, c / 2, np.zeros(2), c / 2)
    assert got.chi2 == pytest.approx(25)
    assert got.verdict == "tension"
    assert parameter_shift(2.2, 0.5, 0.0, 0.5).verdict == "mild"  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="positive definite"):
        parameter_shift(np.zeros(2), np.zeros((2, 2)), np.zeros(2), np.zeros((2, 2)))
    same = Evidence(0.0, 1.0, 1.0)
    with pytest.raises(ParameterError, match="shared dimensions"):
        suspiciousness(same, same, Evidence(0.0, 2.0, 2.0))
    with pytest.raises(ParameterError, match="at least two samples"):
        Evidence.from_samples(0.0, np.array([1.0]))
