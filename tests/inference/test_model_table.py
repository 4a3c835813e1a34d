"""Models of the same data in one table: Gaussian problems whose every number is known in closed form."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from cmbfit.errors import ComparisonError, ConfigError, ParameterError
from cmbfit.figures.models import plot_models
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit, Run
from cmbfit.inference.comparison import savage_dickey_joint
from cmbfit.inference.importance import importance_sample
from cmbfit.inference.intervals import marginal_constraint
from cmbfit.inference.maximum import find_maximum, laplace_factor, spread_out
from cmbfit.inference.model_config import Model, models_by_data
from cmbfit.inference.model_table import PRIORS, Candidate, compare, require_same_data
from cmbfit.inference.model_text import model_columns, model_rows, text_table
from cmbfit.inference.products import Samples
from cmbfit.inference.restrict import restrict
from cmbfit.likelihood import Gaussian, GaussianBandpowers, Posterior, Uniform
from cmbfit.likelihood.priors import Prior
from cmbfit.theory.primordial import MODELS, get_model
from cmbfit.theory.primordial.null_point import null_point
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import info

TRUTH = np.array([0.3, -0.2, 0.5])
N_DATA = 19


class Line:
    """tt_l = a + b x + c x^2 for x in [-1, 1]: linear in its parameters, so that posteriors are exactly Gaussian."""

    box: ClassVar[dict[str, tuple[float, float]]] = {}
    lmax = 20

    def __init__(self, parameters: tuple[str, ...] = ("a", "b", "c")) -> None:
        self.parameters = parameters
        self.settings = {"kind": "line"}
        x = torch.linspace(-1, 1, N_DATA, dtype=torch.float64)
        self.design = torch.zeros(len(parameters), 21, dtype=torch.float64)
        self.design[:, 2:] = torch.stack([x ** "abc".index(p) for p in parameters])

    def spectra(self, theta: torch.Tensor) -> Spectra:
        return Spectra({"tt": theta @ self.design})


def problem(
    parameters: tuple[str, ...] = ("a", "b", "c"), *, seed: int = 3, name: str = "toy", sigma: float = 0.3
) -> Posterior:
    """The line seen through unit windows and a calibration `cal` with a Gaussian prior; the data are of a, b, c."""
    rng = np.random.default_rng(seed)
    windows = np.zeros((N_DATA, 21))
    windows[np.arange(N_DATA), np.arange(2, 21)] = 1.0
    data = TRUTH @ Line().design.numpy()[:, 2:] + sigma * rng.standard_normal(N_DATA)
    likelihood = GaussianBandpowers(
        info(name, pairs={"tt": (2, 20)}), {"tt": windows}, data, sigma**2 * np.eye(N_DATA)
    )
    priors: dict[str, Prior] = {p: Uniform(-3.0, 3.0) for p in parameters}
    return Posterior(Line(parameters), [likelihood], priors)


def closed_form(posterior: Posterior) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Mean, covariance, least chi2 and ln Z of a line under flat priors that do not cut."""
    design = posterior.theory.design.numpy()[:, 2:]  # type: ignore[attr-defined]
    like = posterior.likelihoods[0]
    data, sigma = like.data.numpy(), like.sigma.numpy()[0]  # type: ignore[attr-defined]
    covariance = sigma**2 * np.linalg.inv(design @ design.T)
    mean = covariance @ design @ data / sigma**2
    chi2 = float((((data - mean @ design) / sigma) ** 2).sum())
    d = len(mean)
    log_z = (
        -chi2 / 2 + 0.5 * (d * math.log(2 * math.pi) + np.linalg.slogdet(covariance)[1]) - d * math.log(6.0)
    )
    return mean, covariance, chi2, float(log_z)


def drawn(posterior: Posterior, n: int = 40_000) -> Samples:
    mean, covariance, _, _ = closed_form(posterior)
    x = np.random.default_rng(1).multivariate_normal(mean, covariance, n)
    with torch.no_grad():
        log_prob = posterior.log_prob(torch.from_numpy(x)).numpy()
    return Samples(
        posterior.parameters, [x], [log_prob], x.shape[1], dict.fromkeys(posterior.parameters, (-3.0, 3.0))
    )


START = {"a": 0.0, "b": 0.0, "c": 0.0}
SCALE = dict.fromkeys("abc", 0.2)


def candidates() -> list[Candidate]:
    small, large = problem(("a", "b")), problem()
    flat = restrict(small, {"b": 0.0})
    evidence = [
        {"method": "closed form", "log_z": closed_form(p)[3], "log_z_error": 0.0} for p in (small, large)
    ]
    return [
        Candidate("line", "a line", small, START, SCALE, drawn(small), evidence=evidence[0]),
        Candidate(
            "parabola", "a parabola", large, START, SCALE, drawn(large), null={"c": 0.0}, evidence=evidence[1]
        ),
        Candidate(
            "constant",
            "a constant",
            flat,
            START,
            SCALE,
            drawn(small),
            fixed={"b": 0.0},
            remarks=("too simple",),
        ),
    ]


@pytest.fixture(scope="module")
def table() -> dict[str, Any]:
    return compare(candidates(), np.random.default_rng(0))


def test_differences_are_those_of_least_squares(table: dict[str, Any]) -> None:
    line, parabola, constant = table["models"]
    chi2 = [closed_form(problem(p))[2] for p in (("a", "b"), ("a", "b", "c"), ("a",))]
    assert table["n_data"] == 5  # what the toy's description says
    for row, expected in zip((line, parabola, constant), chi2, strict=True):
        assert row["chi2"]["toy"] == pytest.approx(expected, abs=1e-6)
        assert row["delta_chi2"]["total"] == pytest.approx(expected - chi2[0], abs=1e-6)
        assert row["chi2"][PRIORS] == 0
    assert [r["kind"] for r in table["models"]] == ["reference", "extension", "restriction"]
    assert parabola["delta_aic"] == pytest.approx(chi2[1] - chi2[0] + 2, abs=1e-6)
    assert constant["delta_bic"] == pytest.approx(chi2[2] - chi2[0] - math.log(5), abs=1e-6)
    assert (
        parabola["best_fit"]["agreed"] == parabola["best_fit"]["starts"] >= 2
    )  # points of the chain that lie apart
    assert parabola["theory_difference"] == pytest.approx(0, abs=1e-9)


def test_savage_dickey_is_the_ratio_of_evidences(table: dict[str, Any]) -> None:
    """Dickey 1971; 3 of the estimate's own errors and 0.02 for the kernel, as in test_comparison."""
    _, parabola, constant = table["models"]
    log_z = {p: closed_form(problem(p))[3] for p in (("a",), ("a", "b"), ("a", "b", "c"))}
    for row, expected in (
        (parabola, log_z["a", "b", "c"] - log_z["a", "b"]),
        (constant, log_z["a",] - log_z["a", "b"]),
    ):
        got = row["savage_dickey"]
        assert got["ln_b"] == pytest.approx(expected, abs=3 * got["error"] + 0.02), row["name"]
        assert got["error"] < 0.2
    assert parabola["evidence"]["ln_b"] == pytest.approx(log_z["a", "b", "c"] - log_z["a", "b"])


def test_the_table_reads_as_it_should(table: dict[str, Any]) -> None:
    rows = model_rows(table)
    assert rows[0]["delta_chi2"] == "0 (reference)"
    assert rows[1]["constraint"].startswith("c = 0.")
    assert rows[1]["prior"] == "c in [-3, 3]"
    assert rows[2]["constraint"] == "b = 0 (fixed)"
    assert "too simple" in rows[2]["remarks"]
    columns = model_columns([table])
    assert list(columns["reference"]) == ["line"] * 3
    assert "a parabola" in text_table(table)
    fig = plot_models([table])
    left, right = fig.axes
    assert [t.get_text() for t in left.get_yticklabels()] == ["a parabola", "a constant"]
    assert right.get_legend() is not None


def test_the_csv_has_numbers_in_columns_of_numbers(table: dict[str, Any], tmp_path: Path) -> None:
    """Read by pandas: what was text there ("+62.96", "-28.31 ± 0.004", "0 (reference)") could not be plotted."""
    pandas = pytest.importorskip("pandas")
    save_figure(plot_models([table]), tmp_path / "models", model_columns([table]))
    read = pandas.read_csv(tmp_path / "models.csv")
    chi2 = [closed_form(problem(p))[2] for p in (("a", "b"), ("a", "b", "c"), ("a",))]
    assert read["delta_chi2"].tolist() == pytest.approx([x - chi2[0] for x in chi2], abs=1e-6)
    assert read["parameters"].tolist() == [2, 3, 1]
    numbers = [
        "parameters",
        "delta_chi2",
        "delta_aic",
        "delta_bic",
        "ln_b",
        "ln_b_error",
        "ln_b_savage_dickey",
    ]
    numbers += ["ln_b_savage_dickey_error", "look_elsewhere", "look_elsewhere_sigma"]
    assert [c for c in numbers if read[c].dtype.kind not in "if"] == []
    log_z = [closed_form(problem(p))[3] for p in (("a", "b"), ("a", "b", "c"))]
    assert read["ln_b"].tolist()[:2] == pytest.approx([0, log_z[1] - log_z[0]], abs=1e-9)
    assert read["ln_b_savage_dickey"].isna().tolist() == [True, False, False]
    assert read["look_elsewhere"].isna().all()


def test_fits_of_other_data_are_refused() -> None:
    same = problem()
    with pytest.raises(ComparisonError, match="are in one of them only"):
        require_same_data([("one", same), ("two", problem(name="other"))])
    require_same_data([("one", same), ("two", problem(("a", "b")))])
    with pytest.raises(ComparisonError, match="different names"):
        compare([candidates()[0]] * 2, np.random.default_rng(0))


def test_a_model_with_fixed_parameters_is_a_slice_of_the_larger_one(compiled: Posterior) -> None:
    small = restrict(compiled, {"ns": 0.97, "A_planck": 1.001})
    theta = torch.tensor(
        [[0.0224, 0.12, 1.041, 0.055, 3.045], [0.0223, 0.121, 1.0408, 0.05, 3.04]], dtype=torch.float64
    )
    whole = small.expand(theta)
    assert whole.shape == (2, 7)
    lnl = torch.stack(list(compiled.log_likelihoods(whole).values())).sum(0)
    # through full spectra; the compiled posterior neglects 1e-5 of ln L here
    torch.testing.assert_close(small.log_prob(theta), lnl + small.log_prior(theta), rtol=0, atol=1e-4)
    # the priors of what is fixed are gone: 1/(1.06 - 0.88) and the calibration's normal
    gone = compiled.log_prior(whole) - small.log_prior(theta)
    expected = -math.log(0.18) - 0.5 * (0.001 / 0.0025) ** 2 - math.log(0.0025 * math.sqrt(2 * math.pi))
    torch.testing.assert_close(gone, torch.full((2,), expected, dtype=torch.float64), rtol=1e-9, atol=1e-9)
    assert small.theory.derived(theta)["H0"].shape == (2,)
    outside = theta.clone()
    outside[0, 0] = 0.5
    assert torch.isneginf(small.log_prob(outside)).tolist() == [True, False]
    for bad, message in (({"ns": 2.0}, "within"), ({"n": 1.0}, "unknown"), ({}, "not none")):
        with pytest.raises(ParameterError, match=message):
            restrict(compiled, bad)


def test_importance_sampling_finds_the_evidence_in_closed_form() -> None:
    posterior = problem()
    mean, covariance, chi2, log_z = closed_form(posterior)
    got = importance_sample(posterior, START, SCALE, np.random.default_rng(2), n=4000)
    assert got.log_z == pytest.approx(log_z, abs=4 * got.log_z_error)
    assert got.log_z_error < 0.01
    assert got.ess_fraction > 0.7
    best = find_maximum(posterior, START, SCALE)
    widths = np.abs(np.diag(laplace_factor(posterior, best.point, SCALE)))
    normal = best.log_prob + 0.5 * len(widths) * math.log(2 * math.pi) + np.log(widths).sum()
    assert normal == pytest.approx(log_z, abs=1e-4)
    m, c = got.moments()
    np.testing.assert_allclose((m - mean) / np.sqrt(np.diag(covariance)), 0, atol=5 / math.sqrt(3000))
    np.testing.assert_allclose(np.diag(c), np.diag(covariance), rtol=0.15)
    evidence = got.evidence()
    assert evidence.dimensionality == pytest.approx(3, abs=0.5)  # d of a Gaussian is its number of parameters
    assert evidence.divergence == pytest.approx(-chi2 / 2 - 1.5 - log_z, abs=0.1)


@pytest.mark.parametrize(
    ("draw", "kind"),
    [
        (lambda r: 0.5 + 0.05 * r.standard_normal(20_000), "interval"),
        (lambda r: np.abs(0.1 * r.standard_normal(20_000)), "upper"),
        (lambda r: 1 - np.abs(0.1 * r.standard_normal(20_000)), "lower"),
        (lambda r: r.uniform(0, 1, 20_000), "unconstrained"),
    ],
)
def test_bounds_are_quoted_as_bounds(draw: Any, kind: str, rng: np.random.Generator) -> None:
    samples = Samples(("x",), [draw(rng)[:, None]], [np.zeros(20_000)], 1, {"x": (0.0, 1.0)})
    got = marginal_constraint(samples, "x")
    assert got.kind == kind
    if kind == "upper":  # |N(0, 0.1)|: 95% below 0.196
        assert got.high == pytest.approx(0.196, rel=0.03)
        assert got.text.startswith("< 0.19") or got.text.startswith("< 0.2")
    if kind == "lower":
        assert got.low == pytest.approx(1 - 0.196, rel=0.03)
    if kind == "interval":
        assert got.text == "0.500 ± 0.050"
    if kind == "unconstrained":
        assert got.text == "unconstrained in [0, 1]"


def test_several_extra_parameters_together(rng: np.random.Generator) -> None:
    """A correlated normal in two dimensions, at the point 1.5 sigma off: the density is known."""
    covariance = np.array([[0.04, 0.03], [0.03, 0.09]])
    x = rng.multivariate_normal([0.3, -0.2], covariance, 40_000)
    limits = [(-3.0, 3.0), (-4.0, 4.0)]
    d = np.array([-0.3, 0.2])
    ln_density = -0.5 * d @ np.linalg.solve(covariance, d) - math.log(
        2 * math.pi * math.sqrt(np.linalg.det(covariance))
    )
    got = savage_dickey_joint(x, limits, [0.0, 0.0])
    assert got.ln_b01 == pytest.approx(ln_density + math.log(6 * 8), abs=4 * got.error + 0.01)
    with pytest.raises(ParameterError, match="edge"):
        savage_dickey_joint(x, limits, [-2.95, 0.0])
    with pytest.raises(ParameterError, match="not measured"):
        savage_dickey_joint(x, limits, [-1.5, 1.5])


def test_starts_lie_apart(rng: np.random.Generator) -> None:
    """Two modes, one of them small: both are started from."""
    x = np.concatenate([rng.standard_normal((5000, 2)), rng.normal([12.0, 0.0], 1.0, (50, 2))])
    log_prob = np.concatenate([-0.5 * (x[:5000] ** 2).sum(1), -2 - 0.5 * ((x[5000:] - [12, 0]) ** 2).sum(1)])
    got = spread_out(x, log_prob, 3)
    assert np.hypot(*got[0]) < 0.2
    assert any(abs(p[0] - 12) < 2 for p in got)


def test_null_points_are_the_power_law() -> None:
    """At its null point each registered model is the power law: within 0.3% from l = 2 to 2500, or it is no null point.

    Without a bounce inflation of a potential is left: its spectrum runs (Starobinsky's by -5e-4: 1% at the largest scales).
    """
    k = torch.logspace(math.log10(1.5e-4), math.log10(0.2), 400, dtype=torch.float64)
    law = get_model("power_law")
    expected = law.power(k, law.defaults())
    nested = [model for model in MODELS.values() if model.null]
    assert len(nested) == 17
    for model in nested:
        name = model.name
        priors: dict[str, Prior] = {p.name: Uniform(p.prior.low, p.prior.high) for p in model.parameters}
        point = null_point(name, priors)
        assert point, name
        got = model.power(k, model.point(point))
        assert float((got / expected - 1).abs().max()) < (0.012 if name.startswith("lqc") else 3e-3), name
    with pytest.raises(ConfigError, match="low or high"):
        null_point(None, {"x": Uniform(0, 1)}, {"x": "middle"})
    with pytest.raises(ConfigError, match="unknown parameter"):
        null_point(None, {"x": Uniform(0, 1)}, {"y": 0.0})


def test_models_of_a_configuration_are_grouped_by_their_data() -> None:
    fit = Fit("one", "t", ("x",), {"ns": {"uniform": [0.9, 1.1]}}, {"ns": (1.0, 0.01)}, {}, {"kind": "emcee"})
    fits = {"one": fit, "two": replace(fit, name="two"), "other": replace(fit, name="other", data=("y",))}
    comparison: dict[str, Any] = {
        "fixed": {
            "hz": {"fit": "one", "values": {"ns": 1.0}},
            "skipped": {"fit": "unused", "values": {"ns": 1.0}},
            "out": None,
        },
        "nests": {"two": {"nrun": 0.0}},
    }
    config = {"fits": dict.fromkeys([*fits, "unused"]), "comparison": comparison}
    groups = models_by_data(Run(config, fits))
    assert [[m.name for m in g] for g in groups] == [["one", "two", "hz"], ["other"]]
    assert groups[0][2].title == "t, ns = 1"
    assert groups[0][1].nests == {"nrun": 0.0}
    assert [m.name for m in models_by_data(Run(config, fits), ["hz", "other"])[0]] == ["hz", "other"]
    for model in groups[0]:
        assert Model.from_json(json.loads(json.dumps(model.describe()))) == model
    for change, message in (
        ({"fixed": {"hz": {"fit": "onn", "values": {"ns": 1.0}}}}, "unknown fit"),
        ({"fixed": {"hz": {"fit": "one", "values": {"ns": 2.0}}}}, "outside the fit's prior"),
        ({"fixed": {"two": {"fit": "one", "values": {"ns": 1.0}}}}, "already"),
        ({"nests": {"three": {"a": 0.0}}}, "unknown fit"),
    ):
        with pytest.raises(ConfigError, match=message):
            models_by_data(Run({**config, "comparison": change}, fits))


def test_gaussian_priors_count_in_chi2(posterior: Posterior) -> None:
    """A calibration two sigma off its prior adds 4."""
    from cmbfit.inference.maximum import BestFit
    from cmbfit.inference.model_table import _chi2

    point = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.041, "tau": 0.055, "logA": 3.045, "ns": 0.965}
    assert isinstance(posterior.priors["A_planck"], Gaussian)
    best = BestFit({**point, "A_planck": 1.005}, 0.0, {"x": 10.0}, 1)
    got = _chi2(posterior, best)
    assert got[PRIORS] == pytest.approx(4.0, abs=1e-9)
    assert got["total"] == pytest.approx(14.0, abs=1e-9)


def test_parameters_are_held_one_after_the_other_as_together(compiled: Posterior) -> None:
    """Of theory and data, folded: the larger model is the same, and each data set's ln L is that at the full point."""
    step = restrict(restrict(compiled, {"ns": 0.97}), {"A_planck": 1.001})
    both = restrict(compiled, {"ns": 0.97, "A_planck": 1.001})
    assert step.whole is both.whole is compiled
    assert step.fixed == both.fixed
    assert step.parameters == both.parameters == compiled.parameters[:5]
    theta = torch.tensor([[0.0224, 0.12, 1.041, 0.055, 3.045]], dtype=torch.float64)
    whole = torch.cat([theta, torch.tensor([[0.97, 1.001]], dtype=torch.float64)], 1)
    assert torch.equal(step.expand(theta), whole)
    assert torch.equal(step.log_prob(theta), both.log_prob(theta))
    assert step.log_likelihoods(theta) == compiled.log_likelihoods(whole)
    assert step.fold_difference == compiled.fold_difference
    with pytest.raises(ParameterError, match="unknown parameter to fix"):
        restrict(step, {"ns": 0.97})
