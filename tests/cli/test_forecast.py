"""``cmbfit forecast`` from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import ConfigError, ParameterError


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["forecast", "forecast", *(str(w) for w in words)])


@pytest.mark.slow
def test_two_surveys_in_one_table(tmp_path: Path) -> None:
    """A satellite's tau is cosmic-variance limited (0.002); what is fixed is in no table; what was left out is said."""
    result = run("--fit", "planck_like", "--fit", "litebird_rotation", "--fix", "ns", "-o", tmp_path)
    assert result.exit_code == 0, result.output
    assert "beta" in result.output
    fits = json.loads((tmp_path / "forecast.json").read_text(encoding="utf-8"))["fits"]
    assert list(fits) == ["planck_like", "litebird_rotation"]
    rows = fits["litebird_rotation"]["parameters"]
    assert rows["tau"]["sigma"] == pytest.approx(0.002, rel=0.15)
    assert "ns" not in rows
    assert fits["litebird_rotation"]["fixed"] == ["ns"]
    assert "foreground" in fits["litebird_rotation"]["data"]["mock_litebird_eb"]["left_out"]
    assert fits["planck_like"]["normal_priors"] == {"tau": [0.0543, 0.0073]}
    with (tmp_path / "forecast.csv").open(encoding="utf-8") as f:
        table = list(csv.DictReader(f))
    assert [r["parameter"] for r in table if r["fit"] == "planck_like"] == [
        "ombh2",
        "omch2",
        "theta_mc",
        "tau",
        "logA",
    ]
    assert {p.name for p in tmp_path.glob("*.png")} == {
        "forecast.png", "spectra_mock_planck.png", "spectra_mock_litebird_eb.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--fix", "nss"], ConfigError, "did you mean 'ns'"),
        (["--set", "tau=0.2"], ParameterError, "no step of 0.004 within"),
        (["--set", "tau"], ParameterError, "NAME=NUMBER"),
        (["--fit", "plank"], ConfigError, "did you mean"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    tmp_path: Path, words: list[str], error: type[Exception], message: str
) -> None:
    fit = [] if "--fit" in words else ["--fit", "planck_like"]
    result = run(*fit, *words, "-o", tmp_path)
    assert isinstance(result.exception, error)
    assert message in str(result.exception)
    assert not list(tmp_path.iterdir())
