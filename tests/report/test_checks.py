"""Checks, and the gate that judges them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from cmbfit.errors import DataError
from cmbfit.report.checks import Check, above, below, between, read_checks, write_checks
from pipeline.gate import gate

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("check", "passed"),
    [
        (below("x", 0.29, 0.3), True),
        (below("x", -0.29, 0.3), True),
        (below("x", -0.31, 0.3), False),  # a pull counts whatever its sign
        (below("x", 0.3, 0.3), False),
        (below("x", NAN, 0.3), False),
        (below("x", INF, 0.3), False),
        (above("x", 51, 50), True),
        (above("x", 50, 50), False),
        (above("x", NAN, 50), False),
        (between("x", 0.9, 0.9, 1.1), True),
        (between("x", 1.11, 0.9, 1.1), False),
        (between("x", NAN, 0.9, 1.1), False),
    ],
)
def test_a_value_passes_only_inside_its_tolerance(check: Check, passed: bool) -> None:
    assert check.passed is passed


def test_checks_are_written_as_strict_json_and_joined_by_source(tmp_path: Path) -> None:
    write_checks(tmp_path / "chains.json", [below("pull", 0.1, 0.3, "why"), below("bad", NAN, 1)])
    write_checks(tmp_path / "emulator.json", [between("ratio", 1, 0.9, 1.1)])

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "chains.json").read_text()
    rows = json.loads(text, parse_constant=refuse)["checks"]  # NaN is no JSON
    assert rows[0] == {"name": "pull", "value": 0.1, "tolerance": "< 0.3", "comment": "why", "pass": True}
    assert (rows[1]["value"], rows[1]["pass"]) == ("nan", False)
    joined = read_checks([tmp_path / "chains.json", tmp_path / "emulator.json"])
    assert [(r["source"], r["name"]) for r in joined] == [("chains", "pull"), ("chains", "bad"), ("emulator", "ratio")]  # fmt: skip


@pytest.mark.parametrize("text", ["{}", "[1]", '{"checks": [3]}', '{"checks": null}', "{", ""])
def test_a_file_that_holds_no_checks_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)
    with pytest.raises(DataError, match=r"broken\.json"):
        read_checks([path])
    with pytest.raises(DataError, match=r"absent\.json: no such file"):
        read_checks([tmp_path / "absent.json"])


def judge(tmp_path: Path, checks: list[Check]) -> Path:
    write_checks(tmp_path / "checks.json", checks)
    summary = tmp_path / "summary.json"
    summary.write_text(json.dumps({"checks": read_checks([tmp_path / "checks.json"])}))
    gate(summary=summary, output=tmp_path / "passed.txt")
    return tmp_path / "passed.txt"


def test_the_gate_opens_when_all_checks_pass(tmp_path: Path) -> None:
    output = judge(tmp_path, [below("a", 0, 1), above("b", 2, 1)])
    assert output.read_text() == "2 checks passed\n"


@pytest.mark.parametrize("bad", [[below("a", 0, 1), below("b", NAN, 1)], [below("b", 2, 1)], []])
def test_the_gate_stays_shut_for_a_failure_for_nan_and_for_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: list[Check]
) -> None:
    with pytest.raises(SystemExit, match=f"{min(len(bad), 1)} of {len(bad)} checks failed"):
        judge(tmp_path, bad)
    assert not (tmp_path / "passed.txt").exists()
    assert ("FAILED checks: b" in capsys.readouterr().out) == bool(bad)
