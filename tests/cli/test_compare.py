"""``cmbfit compare`` from the command line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import CmbfitError, ComparisonError, ConfigError, DataError
from tests.conftest import ROOT

DEFAULT = ROOT / "pipeline" / "config" / "default.yaml"


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(w) for w in words])


def test_harrison_zeldovich_against_lcdm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """n_s = 1 is excluded by Planck 2018 at 8 sigma of n_s = 0.9649 +- 0.0042: delta chi2 near 64, of a normal posterior.

    ln B follows from it: -delta chi2/2 + ln(width of the prior / sqrt(2 pi) sigma) = -31.5 + 2.8, and one for what is not normal.
    """
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)  # no results/default/chains here
    result = run("compare", DEFAULT, "-o", out)
    assert result.exit_code == 0, result.output
    assert "Harrison-Zel'dovich" in result.output
    (table,) = json.loads((out / "models.json").read_text(encoding="utf-8"))["tables"]
    small = table["models"][1]
    assert (table["n_data"], small["kind"], small["n_parameters"]) == (615, "restriction", 6)
    assert small["delta_chi2"]["total"] == pytest.approx(64, abs=6)
    assert small["delta_aic"] == pytest.approx(small["delta_chi2"]["total"] - 2)
    assert small["evidence"]["ln_b"] == pytest.approx(-small["delta_chi2"]["total"] / 2 + 2.8, abs=1)
    assert small["savage_dickey"]["why_not"] == "no chain of lcdm_planck2018"
    assert (out / "models.png").read_bytes().startswith(b"\x89PNG")
    with (out / "models.csv").open(encoding="utf-8") as f:
        assert len(list(csv.DictReader(f))) == 2


def with_another_fit(tmp_path: Path, data: list[str]) -> Path:
    fit = yaml.safe_load(DEFAULT.read_text(encoding="utf-8"))["fits"]["lcdm_planck2018"]
    path = tmp_path / "mine.yaml"
    change = {"run": {"fits": ["lcdm_planck2018", "mine"]}, "fits": {"mine": {**fit, "data": data}}}
    path.write_text(yaml.safe_dump(change), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (
            ("--model", "lcdm_planck2018", "--model", "mine"),
            ComparisonError,
            "planck2018_lowl_tt_2bin is in one of them only",
        ),
        (("--model", "lcdm_planck2018"), ConfigError, "nothing to compare"),
        (("--model", "lcdm"), ConfigError, "unknown model 'lcdm'"),
        (("--evidence", "guess"), ConfigError, "unknown evidence method 'guess'"),
    ],
)
def test_mistakes_are_typed_errors(
    tmp_path: Path, words: tuple[str, ...], error: type[CmbfitError], message: str
) -> None:
    config = with_another_fit(tmp_path, ["planck2018_plik_lite_ttteee", "planck2018_lowl_ee"])
    extra = () if "--evidence" in words else ("--evidence", "none")
    result = run("compare", config, *words, *extra, "-o", tmp_path / "out")
    assert isinstance(result.exception, error), result.output
    assert message in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_a_folder_without_chains_is_named(tmp_path: Path) -> None:
    for folder, message in ((tmp_path / "absent", "no such folder"), (tmp_path, "holds no NAME.samples.h5")):
        result = run("compare", DEFAULT, "--chains", folder)
        assert isinstance(result.exception, DataError)
        assert str(folder) in str(result.exception)
        assert message in str(result.exception)
