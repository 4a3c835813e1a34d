"""No text of a figure lies over another or is cut off: of the finder itself, and of figures that plain numbers make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.errors import DataError
from cmbfit.figures.hawking import plot_emission
from cmbfit.figures.look_elsewhere import plot_look_elsewhere
from cmbfit.figures.maps import plot_maps, plot_masks
from cmbfit.figures.models import plot_models
from cmbfit.figures.nulls import plot_nulls
from cmbfit.figures.power import plot_power, power_table
from cmbfit.figures.reweight import plot_reweighting
from cmbfit.figures.style import new_figure, read_table, save_figure, style
from cmbfit.figures.tension import plot_tensions
from cmbfit.figures.together import COLUMNS, join_tables, plot_together
from cmbfit.inference.products import Samples
from cmbfit.sky.maps import Mask, StokesMap

from .overlaps import text_overlaps
from .test_models_section import TABLE, TENSION, model


def test_the_finder_finds() -> None:
    with style():
        fig = new_figure(4, 3)
        ax = fig.subplots()
        ax.text(0.5, 0.5, "one over")
        ax.text(0.5, 0.51, "another")
        fig.text(0.99, 0.5, "beyond the edge")
    found = text_overlaps(fig)
    assert "'one over' and 'another' overlap" in found
    assert "'beyond the edge' is cut by the edge" in found
    assert len(found) == 2


def _evidence(ln_b: float) -> dict[str, Any]:
    return {"log_z": -500.0, "log_z_error": 0.02, "method": "x", "ln_b": ln_b, "error": 0.03}


@pytest.mark.parametrize("worst", [3.0, 63.0, 8000.0])
def test_models(worst: float) -> None:
    long = "Power spectrum with a cut-off below a scale that is marginalised over, with running"
    others = [
        model(f"m{i}", long[: 20 + 9 * i], delta_chi2={"total": x}, delta_aic=x + 2, delta_bic=x + 6, evidence=_evidence(-x / 2))
        for i, x in enumerate((-3.0, 0.4, worst))
    ]  # fmt: skip
    tables = [{**TABLE, "models": [TABLE["models"][0], *others]}]
    assert text_overlaps(plot_models(tables)) == []


def test_reweighting(rng: np.random.Generator) -> None:
    names = ["ombh2", "omch2", "theta_mc", "tau", "logA", "ns", "A_planck", "H0", "sigma8"]
    shift = {"mean": 0.01, "mean_error": 0.002, "width": 1.01, "width_error": 0.004}
    record = {
        "shifts": dict.fromkeys(names, shift),
        "log_weights": rng.normal(0, 0.006, 32).tolist(),
        "n_points": 32,
        "ess_fraction": 0.9999,
    }
    assert text_overlaps(plot_reweighting(record, 0.05)) == []


def test_maps_and_masks(rng: np.random.Generator) -> None:
    n = 12 * 16**2
    mask = Mask(np.repeat([0.0, 1.0], n // 2), "G")
    maps = [StokesMap(*rng.normal(0, 70, (3, n)), "G", name) for name in ("V", "W")]
    assert text_overlaps(plot_maps(maps, mask)) == []
    assert text_overlaps(plot_masks([("temperature", mask), ("polarisation", mask), ("both", mask)])) == []


@pytest.mark.parametrize("n", [1, 6, 40])
def test_nulls(n: int, rng: np.random.Generator) -> None:
    checks = [
        {
            "name": f"V1 x V2 - W1 x W2, spectrum {i}",
            "value": float(p),
            "pass": True,
            "comment": "chi2 = 10.0 for 9",
        }
        for i, p in enumerate(rng.uniform(size=n))
    ]
    assert text_overlaps(plot_nulls(checks)) == []


def test_tensions() -> None:
    of = {"a": [0.1201, 0.0014], "b": [0.1210, 0.002], "both": [0.1204, 0.001]}
    names = ("ombh2", "omch2", "theta_mc", "ns", "H0")
    record = {**TENSION, "parameters": dict.fromkeys(names, of)}
    assert text_overlaps(plot_tensions({"x": record, "y": record})) == []


def test_look_elsewhere() -> None:
    omega = np.linspace(1, 60, 50)
    entry = {
        "best": {"omega": 22.1, "amplitude": 0.021, "improvement": 9.1},
        "largest_by_chance": {"median": 9.6, "p95": 15.2},
        "global": {"p_value": 0.42, "sigma": 0.2, "low": 0.4, "high": 0.5},
    }
    curve = {
        "omega": omega,
        "improvement": 5 + 4 * np.sin(omega),
        "maxima": {"count": [1, 5, 9, 4, 1], "edges": [4, 8, 12, 16, 20, 24]},
    }
    names = ("oscillation_log", "oscillation_linear")
    record = {"models": dict.fromkeys(names, entry)}
    assert text_overlaps(plot_look_elsewhere(record, dict.fromkeys(names, curve))) == []


def test_hawking() -> None:
    assert text_overlaps(plot_emission()) == []


def test_all_data_together(tmp_path: Path, rng: np.random.Generator) -> None:
    """Two fits that share a data set; tables as they lie beside figures."""

    def table(name: str, pairs: tuple[str, ...], last: int) -> dict[str, np.ndarray]:
        ell = np.linspace(30, last, 40)
        n = len(pairs) * len(ell)
        columns = {
            "ell": np.tile(ell, len(pairs)),
            "dl": 1000 + rng.normal(size=n),
            "sigma": np.ones(n),
            "model": np.full(n, 1e3),
        }
        return {"data_set": np.full(n, name), "pair": np.repeat(pairs, len(ell)), **columns}

    first, second = table("planck", ("tt", "te", "ee"), 2000), table("ground", ("te", "ee"), 4000)
    joined = {key: np.concatenate([first[key], second[key]]) for key in first}
    for name, columns in (("a", first), ("b", joined)):
        with style():
            save_figure(new_figure(1, 1), tmp_path / name, columns)
    found = join_tables([read_table(tmp_path / "a.csv"), read_table(tmp_path / "b.csv")])
    for key in COLUMNS:  # the shared one once, exactly as it was
        np.testing.assert_array_equal(found[key], joined[key])
    fig = plot_together(found, "LCDM, Planck 2018 plik-lite + 2-bin low-l TT + low-l EE")
    assert len(fig.axes) == 3
    assert text_overlaps(fig) == []
    with pytest.raises(DataError, match="none of the fits has Gaussian bandpowers"):
        join_tables([{key: np.array([]) for key in COLUMNS}])


def test_power_is_the_power_law_of_its_parameters(rng: np.random.Generator) -> None:
    """At the pivot A_s alone, and a decade below, where n_s - 1 lifts it; running is the known second-order term."""
    log_a, ns, nrun = 3.044, 0.965, 0.01
    values = np.tile([log_a, ns], (50, 1))
    samples = Samples(("logA", "ns"), [values], [np.zeros(50)], 2, {})
    table = power_table(samples, points=501)
    k, middle = table["k_per_mpc"], table["q50"]
    np.testing.assert_allclose(middle, np.exp(log_a) * 1e-10 * (k / 0.05) ** (ns - 1), rtol=1e-12)
    running = Samples(
        ("logA", "ns", "nrun"), [np.column_stack([values, np.full(50, nrun)])], [np.zeros(50)], 3, {}
    )
    ratio = power_table(running, points=501)["q97.5"] / middle
    np.testing.assert_allclose(ratio, np.exp(0.5 * nrun * np.log(k / 0.05) ** 2), rtol=1e-12)
    data = [
        {"title": "Planck 2018 plik-lite TT, TE, EE (l >= 30)", "sky": {"planck": {"tt": [30, 2508]}}},
        {"title": "Planck 2018 low-l TT", "sky": {"planck": {"tt": [2, 29]}}},
        {"title": "a prior", "sky": {}},
    ]
    assert text_overlaps(plot_power(table, data, "LCDM")) == []
