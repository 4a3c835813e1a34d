"""``cmbfit profile`` from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import CmbfitError


def test_the_tilt_of_the_default_fit(tmp_path: Path) -> None:
    """Planck 2018 VI, table 2: n_s = 0.9649 +- 0.0044; a profile of a normal posterior is its marginal."""
    result = CliRunner().invoke(
        app, ["profile", "ns", "--points", "11", "--starts", "2", "-o", str(tmp_path)]
    )
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "profile_ns.json").read_text(encoding="utf-8"))
    low, high = record["intervals"]["68"]
    assert (low + high) / 2 == pytest.approx(0.9649, abs=0.0015)
    assert (high - low) / 2 == pytest.approx(0.0044, rel=0.1)
    assert {p.suffix for p in tmp_path.glob("profile_ns.*")} == {".json", ".csv", ".png", ".pdf"}


def test_a_parameter_that_the_fit_does_not_have_is_refused_by_name(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["profile", "nss", "-o", str(tmp_path)])
    assert isinstance(result.exception, CmbfitError)
    assert "ns" in str(result.exception)
