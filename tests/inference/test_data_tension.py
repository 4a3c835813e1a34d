"""Data sets against each other: lines with known answers, and Planck, ACT DR6 and SPT-3G 2018."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit.errors import ComparisonError, ConfigError
from cmbfit.figures.tension import plot_tensions, tension_table
from cmbfit.fit import load_run
from cmbfit.inference.data_tension import evidence_with_calibrations, measure_tension, shifted_moments
from cmbfit.inference.importance import WeightedSamples, importance_sample
from cmbfit.inference.maximum import BestFit
from cmbfit.inference.tension import suspiciousness
from cmbfit.inference.tension_request import AMPLITUDE, TensionRequest, tension_requests
from cmbfit.likelihood import Gaussian, GaussianBandpowers, Posterior, Uniform
from tests.inference.test_model_table import Line
from tests.likelihood.helpers import info

PAIRS = ("planck_act", "planck_spt", "act_spt")


def survey(name: str, shift: float, rng: np.random.Generator) -> GaussianBandpowers:
    """Nineteen bandpowers of a line, with a calibration of its own that is 1 +- 0.01."""
    windows = np.zeros((19, 21))
    windows[np.arange(19), np.arange(2, 21)] = 1.0
    truth = np.array([1.0 + shift, -0.2, 0.5]) @ Line().design.numpy()[:, 2:]
    return GaussianBandpowers(
        info(name, pairs={"tt": (2, 20)}, survey=name, nuisance={f"cal_{name}": Gaussian(1.0, 0.01)}),
        {"tt": windows},
        truth + 0.1 * rng.standard_normal(19),
        0.01 * np.eye(19),
        {f"cal_{name}": {"tt": 1}},
    )


def test_calibrations_with_their_priors_do_not_change_what_is_shared(rng: np.random.Generator) -> None:
    """d = 4 for each survey (three parameters and its calibration), 5 for both: three shared; chi2 is that of the shift."""
    a, b = survey("a", 0.0, rng), survey("b", 0.25, rng)
    priors = {p: Uniform(-5.0, 5.0) for p in "abc"}
    samples, evidence = {}, {}
    for key, likelihoods in (("a", [a]), ("b", [b]), ("both", [a, b])):
        posterior = Posterior(Line(), likelihoods, priors)
        start = {p: 1.0 if p.startswith("cal") else 0.1 for p in posterior.parameters}
        scale = {p: 0.01 if p.startswith("cal") else 0.05 for p in posterior.parameters}
        samples[key] = importance_sample(posterior, start, scale, rng, n=20_000)
        evidence[key] = evidence_with_calibrations(posterior, samples[key])
    # 2 var(ln L) of 15,000 effective points: 2%
    for key, d in (("a", 4), ("b", 4), ("both", 5)):
        assert evidence[key].dimensionality == pytest.approx(d, rel=0.08), key
    got = suspiciousness(evidence["a"], evidence["b"], evidence["both"])
    moments = {k: shifted_moments(s, ("a", "b", "c")) for k, s in samples.items()}
    from cmbfit.inference.tension import parameter_shift

    shift = parameter_shift(*moments["a"], *moments["b"])
    assert shift.chi2 > 20  # 0.25 against about 0.05
    assert got.tension.chi2 == pytest.approx(shift.chi2, rel=0.05)
    assert got.tension.verdict == shift.verdict == "tension"


def test_amplitude_is_log_a_minus_two_tau(rng: np.random.Generator) -> None:
    x = rng.multivariate_normal([3.04, 0.055], [[2e-4, 1e-4], [1e-4, 6e-5]], 50_000)
    n = len(x)
    samples = WeightedSamples(
        ("logA", "tau"), x, np.zeros(n), np.full(n, 1 / n), 0.0, 0.0, BestFit({}, 0.0, {}, 0), n
    )
    mean, covariance = shifted_moments(samples, (AMPLITUDE,))
    assert mean[0] == pytest.approx((x[:, 0] - 2 * x[:, 1]).mean())
    assert covariance[0, 0] == pytest.approx((x[:, 0] - 2 * x[:, 1]).var(), rel=1e-6)


def request_of(name: str, **change: Any) -> TensionRequest:
    return replace(tension_requests(load_run(["ground"]))[name], **change)


@pytest.mark.slow
def test_planck_act_and_spt() -> None:
    """In the linear regime, where these are, shift and suspiciousness are the same chi2; Planck and SPT agree within one sigma.

    "Consistent with Planck within 1 sigma": Balkenhol et al. 2023 of H0 and S8. Dimensionalities are 5 shared
    parameters, to the 2% of the weighted estimate of each of three numbers near 7.
    """
    found = {name: measure_tension(request_of(name), 1) for name in PAIRS}
    for name, record in found.items():
        s, shift = record["suspiciousness"], record["shift"]
        assert s["dof"] == pytest.approx(5, abs=0.35), name
        assert s["chi2"] == pytest.approx(shift["chi2"], rel=0.1, abs=0.2), name
        assert min(e["ess_fraction"] for e in record["evidence"].values()) > 0.5
    assert found["planck_spt"]["shift"]["sigma"] < 1
    assert all(abs(x["shift_sigma"]) < 1 for x in found["planck_spt"]["parameters"].values())
    # a chain's and the paper's omch2 of ACT: 0.1238 +- 0.0021 (Louis et al. 2025)
    assert found["planck_act"]["parameters"]["omch2"]["b"][0] == pytest.approx(0.1238, abs=0.5 * 0.0021)
    assert found["planck_act"]["parameters"]["omch2"]["b"][1] == pytest.approx(0.0021, rel=0.12)
    assert len(plot_tensions(found).axes) == 3
    assert len(tension_table(found)["pair"]) == 15


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"b": ["spt3g_2018_lite"], "a": ["spt3g_2018_lite"]}, ComparisonError, "calibration Ecal, Tcal"),
        ({"a": ["tau_lowe"], "b": ["tau_lowe"], "fixed": {}}, ComparisonError, "tau_lowe is in both"),
        ({"shifted": ["ns", "H0"]}, ConfigError, "unknown parameter 'H0'"),
    ],
)
def test_requests_that_mean_nothing_are_refused(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        measure_tension(request_of("act_spt", **change), 1)


def test_a_request_is_the_same_after_json() -> None:
    request = request_of("planck_spt")
    again = TensionRequest.from_json(json.loads(json.dumps(request.describe())))
    assert (again.fit, list(again.b), again.fixed) == (request.fit, request.b, request.fixed)


def test_a_figure_of_one_pair() -> None:
    record = {
        "titles": {"a": "A", "b": "B", "both": "A + B"},
        "parameters": {
            "ns": {"a": [0.96, 0.01], "b": [0.97, 0.02], "both": [0.962, 0.009], "shift_sigma": 0.4}
        },
        "shift": {"chi2": 0.2, "dof": 1, "p_value": 0.65, "sigma": 0.4, "verdict": "agreement"},
        "suspiciousness": {
            "ln_s": 0.4,
            "chi2": 0.2,
            "dof": 1.0,
            "p_value": 0.65,
            "sigma": 0.4,
            "ln_r": 1.0,
            "ln_i": 0.6,
        },
    }
    fig = plot_tensions({"x": record})
    assert "0.4σ" in fig.axes[0].get_title(loc="left")
    table = tension_table({"x": record})
    assert table["shift_sigma"][0] == 0.4
    assert torch.get_default_dtype() is torch.float32
