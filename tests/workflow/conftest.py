"""Copies of the repository in which Snakemake runs, so that tests may edit code and kill processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from filelock import FileLock

ROOT = Path(__file__).resolve().parents[2]
_PARTS = (
    "Snakefile",
    "environment.yml",
    "pyproject.toml",
    "pipeline",
    "cmbfit",
    "data/registry.yaml",
    "data/embedded",
)


@dataclass
class Checkout:
    """A copy of the workflow's files."""

    root: Path

    @property
    def results(self) -> Path:
        """Where the tiny configuration's products lie."""
        return self.root / "results" / "tiny"

    def snakemake(
        self, *words: str, config: str | None = "pipeline/config/tiny.yaml", timeout: float = 580
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*words, config=config),
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
        )

    def command(self, *words: str, config: str | None) -> list[str]:
        chosen = ["--configfile", config] if config else []
        return [sys.executable, "-m", "snakemake", "--cores", "2", "--show-failed-logs", *words, *chosen]

    def environment(self) -> dict[str, str]:
        # the copy's own cmbfit, not the installed one; compiled once and not for each of a hundred jobs
        kept = {k: x for k, x in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, "PYTHONPATH": str(self.root), "PYTHONWARNINGS": "default"}


def copy_checkout(target: Path) -> Checkout:
    for part in _PARTS:
        source, place = ROOT / part, target / part
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    return Checkout(target)


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return copy_checkout(tmp_path / "checkout")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The checkout in which the tiny configuration has run to its end (training included): for reading only.

    One for all processes of a session: the first to come runs it, with both cores, and the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "tiny_run"
    folder.mkdir(exist_ok=True)
    said = folder / "failure.txt"
    with FileLock(folder / "lock"):
        if not said.exists():
            run = copy_checkout(folder / "checkout").snakemake(timeout=1100)
            said.write_text(run.stdout[-3000:] + run.stderr[-6000:] if run.returncode else "")
    assert not said.read_text(), said.read_text()
    return Checkout(folder / "checkout")


@pytest.fixture
def finished(tiny_run: Checkout, tmp_path: Path) -> Checkout:
    """Give a copy of the finished run, to do with as a test likes."""
    shutil.copytree(tiny_run.root, tmp_path / "checkout")
    return Checkout(tmp_path / "checkout")
