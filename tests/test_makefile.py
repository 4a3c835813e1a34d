"""What is given to `make NAME=VALUE` reaches a command as one word, and no shell runs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

_STUB = """#!{python}
import json, os, sys
with open("{said}", "a") as f:
    f.write(json.dumps([sys.argv[1:], dict(os.environ)]) + "\\n")
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
@pytest.mark.parametrize(("target", "name", "where"), [
    ("fuzz", "N", "CMBFIT_FUZZ"),
    ("faults", "N", "CMBFIT_FAULTS"),
    ("faults", "FIRST", "CMBFIT_FAULTS_FIRST"),
    ("run", "CORES", "--cores"),
])  # fmt: skip
def test_what_a_user_gives_is_no_code(tmp_path: Path, target: str, name: str, where: str) -> None:
    said = tmp_path / "said"
    for command in ("python", "snakemake"):
        (tmp_path / command).write_text(_STUB.format(python=sys.executable, said=said))
        (tmp_path / command).chmod(0o755)
    value = "2\"; touch marker; '`touch marker`' a b"
    run = subprocess.run(
        ["make", "-f", ROOT / "Makefile", "-o", "env", "-o", "env-run", target, f"BIN={tmp_path}", f"{name}={value}"],
        cwd=tmp_path, capture_output=True, text=True, check=False, env={**os.environ, "MAKEFLAGS": ""},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert not (tmp_path / "marker").exists()
    words, environment = json.loads(said.read_text().splitlines()[0])
    found = words[words.index(where) + 1] if where.startswith("--") else environment[where]
    assert found == value


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make here")
def test_a_run_installs_what_running_needs_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()

    def said(target: str) -> str:
        words = ["make", "-n", "-f", ROOT / "Makefile", target]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True).stdout

    assert '-e ".[workflow]"' in said("run")
    assert ".[dev]" not in said("run")
    assert '-e ".[dev]"' in said("test")
