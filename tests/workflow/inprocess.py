"""Runs a Snakemake graph's own shell commands in this process: no interpreter start for each of a hundred jobs."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Job:
    """One job of a dry run."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    command: str


def jobs_of(dry_run: str) -> list[Job]:
    """Return the jobs that `snakemake --dry-run --printshellcmds` lists."""
    out = []
    for block in re.split(r"\n\n+", dry_run):
        rule = re.search(r"^(?:local)?rule (\w+):", block, re.MULTILINE)
        command = re.search(r"^Shell command: (.+)$", block, re.MULTILINE)
        if rule and command:
            files = {}
            for key in ("input", "output"):
                found = re.search(rf"^    {key}: (.+)$", block, re.MULTILINE)
                files[key] = tuple(found[1].split(", ")) if found else ()
            out.append(Job(rule[1], files["input"], files["output"], command[1]))
    return out


def run_here(jobs: Sequence[Job], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the jobs in an order that their files allow, each as `python -m` would."""
    todo = list(jobs)
    monkeypatch.chdir(folder)
    while todo:
        ready = [j for j in todo if all(Path(f).exists() for f in j.inputs)]
        assert ready, f"no job can run; {todo[0].rule} lacks files"
        for job in ready:
            said = _run(job, monkeypatch)
            missing = [f for f in job.outputs if not Path(f).exists()]
            assert not missing, f"{job.rule} did not make {missing}: {said}"
            todo.remove(job)


def _run(job: Job, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run one job; return what it wrote to stderr."""
    text = job.command.partition(" > ")[0] if " > results" in job.command else job.command
    names: dict[str, str] = {}
    for assignment in re.findall(r"(\w+)=(\S+);", text.partition("python -m")[0]):
        names[assignment[0]] = assignment[1]
    for name, value in names.items():
        text = text.replace(f"${{{name}%.png}}", value.removesuffix(".png"))
    text = re.sub(r"\$\(dirname (\S+?)\)", lambda m: str(Path(m[1]).parent), text)
    words = shlex.split(text[text.index("python -m") :])
    module, arguments = words[2], words[3:]
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    for f in job.outputs:
        Path(f).parent.mkdir(parents=True, exist_ok=True)
    sys.modules.pop(module, None)  # runpy warns of a module that is imported already
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__", alter_sys=False)
    return said.getvalue()
