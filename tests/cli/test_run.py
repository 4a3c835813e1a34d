"""``cmbfit run``: the words and the environment that snakemake gets, and a dry run away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from cmbfit.cli import run as command
from cmbfit.cli.app import app
from cmbfit.errors import ConfigError, MissingCodeError

RUN = CliRunner()


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Snakemake's words and environment in place of snakemake."""
    made: list[tuple[list[str], dict[str, str]]] = []

    def remember(words: list[str], env: dict[str, str], check: bool) -> subprocess.CompletedProcess[str]:
        made.append((words, env))
        return subprocess.CompletedProcess(words, 3 if "--fail" in words else 0)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command.subprocess, "run", remember)
    return made


def test_snakemake_gets_our_files_and_the_users_words(calls: list[Any], tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("run: {name: mine}\n")
    words = ["run", "tiny", "mine.yaml", "--cores", "3", "--until", "gate", "-n", "--", "--keep-going", "all"]
    assert RUN.invoke(app, words, catch_exceptions=False).exit_code == 0
    ((got, environment),) = calls
    assert got[:4] == [sys.executable, "-m", "snakemake", "--snakefile"]
    root = Path(got[4]).parent
    assert got[5:] == [
        *(
            "--cores",
            "3",
            "--configfile",
            str(root / "pipeline/config/tiny.yaml"),
            str(tmp_path / "mine.yaml"),
        ),
        *("--until", "gate", "--dry-run", "--keep-going", "all"),
    ]
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(root)
    assert "CMBFIT_ALLOW_CODE" not in environment


def test_overrides_travel_as_a_file_with_their_types(calls: list[Any], tmp_path: Path) -> None:
    words = ["run", "--config", "run.name=other", "--config", "run.seed=7", "--allow-code"]
    assert RUN.invoke(app, words, catch_exceptions=False).exit_code == 0
    ((got, environment),) = calls
    path = tmp_path / "results/other/overrides.yaml"
    assert got[-2:] == ["--configfile", str(path)]
    assert yaml.safe_load(path.read_text()) == {"run": {"name": "other", "seed": 7}}
    assert environment["CMBFIT_ALLOW_CODE"] == "1"


def test_the_exit_code_is_snakemakes(calls: list[Any]) -> None:
    assert RUN.invoke(app, ["run", "--", "--fail"]).exit_code == 3


def test_mistakes_stop_before_snakemake_starts(calls: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = RUN.invoke(app, ["run", "tinny"]).exception
    assert isinstance(unknown, ConfigError)
    assert "did you mean 'tiny'" in str(unknown)
    misspelt = RUN.invoke(app, ["run", "--config", "likelyhood=3"]).exception
    assert "did you mean 'likelihood'" in str(misspelt)
    monkeypatch.setattr(command, "find_spec", lambda _: None)
    missing = RUN.invoke(app, ["run"]).exception
    assert isinstance(missing, MissingCodeError)
    assert "pip install 'cmbfit[workflow]'" in str(missing)
    assert not calls
