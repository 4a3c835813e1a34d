"""The commands of the early universe: their numbers, figures and errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import ParameterError

RUN = CliRunner()


def test_firas(tmp_path: Path) -> None:
    out = RUN.invoke(app, ["firas", "--json", "--figure", str(tmp_path / "firas")])
    assert out.exit_code == 0, out.output
    got = json.loads(out.stdout)
    # Fixsen & Mather 2002: 2.725 +- 0.001 K; Fixsen et al. 1996: mu = -1 +- 4 e-5, |mu| < 9e-5
    assert got["temperature"]["value"] == pytest.approx(2.725, abs=1e-5)
    assert got["temperature"]["error"] == pytest.approx(1e-3, rel=0.01)
    assert got["mu"]["limit_95"] == pytest.approx(8.6e-5, rel=0.01)
    assert abs(got["y"]["value"]) < got["y"]["error"] < 1.5e-5
    for suffix in ("png", "pdf", "csv"):
        assert (tmp_path / f"firas.{suffix}").stat().st_size > 1000
    text = RUN.invoke(app, ["firas"]).stdout
    assert "|mu| < 8.56e-05" in text
    assert "published: T: 2.72548" in text


def test_hawking(tmp_path: Path) -> None:
    out = RUN.invoke(app, ["hawking", "--mass-g", "1e15", "--json", "--figure", str(tmp_path / "hawking")])
    assert out.exit_code == 0, out.output
    got = json.loads(out.stdout)
    assert got["temperature_GeV"] == pytest.approx(1.05726e-2, rel=1e-4)
    assert got["lifetime_standard_model_yr"] == pytest.approx(115e9, rel=0.01)
    assert got["page"]["entropy_ratio"] == pytest.approx(1.4847, abs=1e-4)
    assert (tmp_path / "hawking.csv").exists()
    text = RUN.invoke(app, ["hawking", "--mass-g", "1e33"]).stdout
    assert "Standard Model" not in text
    assert "semiclassical" in text
    bad = RUN.invoke(app, ["hawking", "--mass-g", "-1"])
    assert isinstance(bad.exception, ParameterError)


def test_primordial(tmp_path: Path) -> None:
    text = RUN.invoke(app, ["primordial", "list"]).stdout
    assert "cutoff_kinetic" in text
    assert "logA ns ln_kc" in text
    rows = json.loads(RUN.invoke(app, ["primordial", "list", "--json"]).stdout)
    assert all(r["citations"] and r["parameters"][0]["prior"]["uniform"] for r in rows)
    stem = tmp_path / "spectra"
    out = RUN.invoke(app, ["primordial", "plot", "cutoff_kinetic", "kink", "-o", str(stem)])
    assert out.exit_code == 0, out.output
    header = stem.with_suffix(".csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "k_per_Mpc,cutoff_kinetic,kink"
    assert isinstance(
        RUN.invoke(app, ["primordial", "plot", "nothing", "-o", str(stem)]).exception, ParameterError
    )


def test_a_potential_of_ones_own() -> None:
    """m^2 phi^2 at 55 e-folds; the numbers are scipy's modes (tests/theory/primordial/test_modes.py), A in units of m^2."""
    words = ["primordial", "solve", "m**2 * phi**2 / 2", "--phi", "0.1", "30", "--set", "m=1e-3"]
    out = RUN.invoke(app, [*words, "--json"])
    assert out.exit_code == 0, out.output
    got = json.loads(out.stdout)
    assert got["amplitude"] == pytest.approx(50.98e-6, rel=2e-4)
    # second-order slow roll: n_s - 1 = -2/(N + 1/2), r = 8/(N + 1/2), to a percent
    assert got["ns"] - 1 == pytest.approx(-2 / 55.5, rel=0.02)
    assert got["r"] == pytest.approx(8 / 55.5, rel=0.02)
    assert "n_s = 0.96" in RUN.invoke(app, words).stdout
    wrong = RUN.invoke(app, [*words[:6], "--set", "n=1"])
    assert isinstance(wrong.exception, ParameterError)
    assert "expected values for ['m']" in str(wrong.exception)


def test_learned_spectra(tmp_path: Path) -> None:
    out = RUN.invoke(app, ["primordial", "learned", "tensor_attractor", "-o", str(tmp_path / "learned")])
    assert out.exit_code == 0, out.output
    assert "at 64 points that did not train" in out.stdout
    assert (tmp_path / "learned.csv").read_text(encoding="utf-8").startswith("panel,k_per_Mpc_or_n_train,")
    curve = json.loads(RUN.invoke(app, ["primordial", "learned", "--json"]).stdout)["curve"]
    assert curve[-1]["n_train"] == 512
    wrong = RUN.invoke(app, ["primordial", "learned", "kink"])
    assert "a network learned" in str(wrong.exception)
