"""Runs a Snakemake graph's own shell commands in this process: no interpreter start for each of a hundred jobs."""

from __future__ import annotations

import contextlib
import io
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.__main__ import main

from .graph import Job


def run_here(jobs: Sequence[Job], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the jobs in an order that their files allow, each as `python -m pipeline` would."""
    todo = list(jobs)
    monkeypatch.chdir(folder)
    while todo:
        ready = [j for j in todo if all(Path(f).exists() for f in j.inputs)]
        assert ready, f"no job can run; {todo[0].rule} lacks files"
        for job in ready:
            code, said = run_one(job)
            missing = [f for f in job.outputs if not Path(f).exists()]
            assert code == 0, said
            assert not missing, f"{job.rule} did not make {missing}: {said}"
            todo.remove(job)


def words_of(job: Job) -> list[str]:
    """Return the words that a shell makes of a job's command, up to where its output goes."""
    words = shlex.split(job.command)
    return words[: next(i for i, w in enumerate(words) if w in {">", "2>&1"})]


def run_one(job: Job) -> tuple[int, str]:
    """Run one job in its run's folder; return its exit code and what it wrote to stderr."""
    python, module, package, *words = words_of(job)
    assert (python, module, package) == ("python", "-m", "pipeline")
    for f in job.outputs:
        Path(f).parent.mkdir(parents=True, exist_ok=True)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(words)
    return code, said.getvalue()
