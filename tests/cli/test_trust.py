"""``cmbfit trust``: a file that was refused may run."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cmbfit.cli.app import app

trust = pytest.importorskip("cmbfit.trust", reason="the registry of users' code is not part of this version")


def test_a_trusted_file_may_run_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("CMBFIT_ALLOW_CODE", raising=False)
    code = tmp_path / "mine.py"
    code.write_text("x = 1\n")
    result = CliRunner().invoke(app, ["trust", str(code)], catch_exceptions=False)
    assert hashlib.sha256(b"x = 1\n").hexdigest() in result.stdout
    assert trust.require_allowed(code) == b"x = 1\n"
    code.write_text("x = 2\n")
    with pytest.raises(Exception, match="cmbfit trust"):
        trust.require_allowed(code)
