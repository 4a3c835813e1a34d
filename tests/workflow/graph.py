"""The workflow's graph in this process: its rules, and the shell command of each job, without running one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, DAGSettings, OutputSettings, Quietness, ResourceSettings

from .conftest import ROOT


@dataclass(frozen=True)
class Job:
    """One job."""

    rule: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    logs: tuple[str, ...]
    command: str


@dataclass(frozen=True)
class Graph:
    """What Snakemake makes of a configuration.

    Attributes
    ----------
    jobs : list of Job
    rules : list of snakemake.rules.Rule
    sections : pipeline.sections.Sections
    """

    jobs: list[Job]
    rules: list[Any]
    sections: Any


def graph_of(folder: Path, configs: Sequence[Path], targets: Sequence[str] = ()) -> Graph:
    """Plan a run in a folder, as a dry run does."""
    files = [p.resolve() for p in configs]
    output = OutputSettings(dryrun=True, quiet={Quietness.ALL})
    # the Snakefile sets variables for the jobs that it starts
    with pytest.MonkeyPatch.context() as patch, chdir(folder), SnakemakeApi(output) as api:
        for name in ("PATH", "PYTHONPATH"):
            patch.setenv(name, os.environ.get(name, ""))
        planned = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(configfiles=files),
            snakefile=ROOT / "Snakefile",
            workdir=folder,
        )
        return built(planned, targets)


def built(planned: Any, targets: Iterable[str]) -> Graph:
    """Return the graph of Snakemake's API of a workflow, whatever of it has run."""
    planned.dag(DAGSettings(targets=set(targets)))
    workflow = planned._workflow
    workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
    workflow._build_dag()
    jobs = [
        Job(
            j.rule.name,
            tuple(map(str, j.input)),
            tuple(map(str, j.output)),
            tuple(map(str, j.log)),
            j.shellcmd,
        )
        for j in workflow.dag.jobs
        if j.rule.shellcmd
    ]
    return Graph(jobs, list(workflow.rules), workflow.globals["SECTIONS"])
