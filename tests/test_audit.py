"""`make audit` is green only when the advisory service was asked and knows nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

ANSWERS = {
    "clean": ("No known vulnerabilities found", 0, None),
    "vulnerable": ("Found 2 known vulnerabilities in 1 package", 1, "NOT GREEN: known vulnerabilities"),
    "unreachable": ("requests.exceptions.ConnectionError: ...", 1, "NOT GREEN: the advisory service"),
    # a mirror of the index without advisories
    "unknown": ("ERROR: torch: Dependency not found on PyPI and could not be audited", 1, "NOT GREEN: the advisory"),
    "skipped": ("torch  Dependency not found on PyPI and could not be audited", 0, "NOT GREEN: the advisory service"),
}  # fmt: skip


@pytest.mark.skipif(shutil.which("make") is None, reason="no make")
@pytest.mark.parametrize("answer", ANSWERS)
def test_what_is_not_known_is_not_green(answer: str, tmp_path: Path) -> None:
    said, code, expected = ANSWERS[answer]
    for name, script in {"python": "", "zizmor": "", "pip-audit": f"echo '{said}'; exit {code}"}.items():
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
    words = ["make", "-o", "env", "audit", f"BIN={tmp_path}"]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said in run.stdout
    if expected is None:
        assert run.returncode == 0, run.stderr
        assert "NOT GREEN" not in run.stdout.partition(said)[2]
    else:
        assert run.returncode != 0
        assert expected in run.stdout
