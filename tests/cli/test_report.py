"""``cmbfit report``: two finished runs side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import DataError
from cmbfit.inference.products import Samples, write_samples
from cmbfit.io import write_json

NAMES = ("ns", "tau", "H0")


def finished(folder: Path, run: str, mean: list[float], error: list[float], tt: int, **config: Any) -> Path:
    """A finished run as its products say it: normal draws, and a summary."""
    rng = np.random.default_rng(7)
    values = [rng.normal(mean, error, (4000, 3)) for _ in range(2)]
    samples = Samples(NAMES, values, [np.zeros(4000)] * 2, 2, {"ns": (0.8, 1.2), "tau": (0.0, 0.2)})
    write_samples(folder / "chains" / "lcdm.samples.h5", samples)
    rows = {p: {"mean": m, "std": s} for p, m, s in zip(NAMES, mean, error, strict=True)}
    fit = {
        "title": "LCDM <b>bold</b>",
        "parameters": rows,
        "chi2": {"planck": 600.0 + tt / 100, "total": 600.0 + tt / 100},
        "priors": {},
        "primordial": None,
        "data": [{"name": "planck", "title": "Planck", "sky": {"planck": {"tt": [30, tt]}}}],
    }
    settings = {
        "run": {"name": run, "seed": 1},
        "fits": {"lcdm": {"data": ["planck"], **config}},
        "device": "cpu",
    }
    record = {"settings": settings, "created": "2026-01-01", "cmbfit": "0", "packages": {"numpy": "2"}}
    write_json(folder / "summary.json", {"fits": {"lcdm": fit}, "provenance": record})
    return folder


def run(*words: object) -> Any:
    return CliRunner().invoke(app, ["report", *map(str, words)])


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return finished(tmp_path / "a", "whole", [0.965, 0.054, 67.3], [0.004, 0.007, 0.6], 2508)


@pytest.mark.filterwarnings("ignore:The format attribute was deprecated:DeprecationWarning")  # GetDist's
def test_a_cut_run_against_the_whole(tmp_path: Path, whole: Path) -> None:
    """tau is off by 0.01 and its errors are 0.007 and 0.0086: expected scatter 0.005, so 2 sigma."""
    cut = finished(tmp_path / "b", "cut", [0.965, 0.064, 67.0], [0.005, 0.0086, 0.8], 999, ensembles=4)
    out = tmp_path / "out"
    result = run(whole, cut, "-o", out)
    assert result.exit_code == 0, result.output
    assert "data of one are part of the other's" in result.output
    found = json.loads((out / "shifts.json").read_text(encoding="utf-8"))
    shift = found["shifts"]["cut"]
    assert shift["difference"]["tau"] / shift["expected"]["tau"] == pytest.approx(2.0, abs=0.15)
    assert {"data.planck.planck.tt", "fit.ensembles"} == {row["setting"] for row in found["differences"]}
    page = (out / "index.html").read_text(encoding="utf-8")
    assert "<b>bold</b>" not in page  # a title from a file is text
    assert page.count("data:image/png") == 2
    assert "https:" not in page
    assert "whole" in page
    assert "cut" in page
    assert {p.name for p in out.iterdir()} == {
        "index.html", "shifts.json",
        *(f"compared_{k}.{e}" for k in ("corner", "shifts") for e in ("png", "pdf", "csv")),
    }  # fmt: skip


def test_what_cannot_be_compared_is_refused_by_name(tmp_path: Path, whole: Path) -> None:
    for words, message in (
        ([whole], "give at least two"),
        ([whole, whole], "given twice"),
        ([whole, tmp_path], "no summary.json"),
        ([whole, finished(tmp_path / "c", "c", [1, 2, 3], [1, 1, 1], 900), "--show", "nss"], "did you mean"),
        ([whole, tmp_path / "c", "--fit", "lcmd"], "did you mean"),
    ):
        result = run(*words, "-o", tmp_path / "out")
        assert isinstance(result.exception, DataError)
        assert message in str(result.exception)
    assert not (tmp_path / "out").exists()
