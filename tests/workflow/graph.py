"""The workflow's graph in this process: its rules, and the shell command of each job, without running one."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
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

    def count(self) -> Counter[str]:
        """Return how many jobs each rule has."""
        return Counter(job.rule for job in self.jobs)


@contextmanager
def planned(
    folder: Path, configs: Sequence[Path] = (), snakefile: Path = ROOT / "Snakefile"
) -> Iterator[Any]:
    """Give Snakemake's API of the workflow, as of a dry run in a folder."""
    files, output = [p.resolve() for p in configs], OutputSettings(dryrun=True, quiet={Quietness.ALL})
    with pytest.MonkeyPatch.context() as patch, chdir(folder), SnakemakeApi(output) as api:
        for name in ("PATH", "PYTHONPATH"):  # the Snakefile sets them for the jobs that it starts
            patch.setenv(name, os.environ.get(name, ""))
        made = api.workflow(
            resource_settings=ResourceSettings(cores=2),
            config_settings=ConfigSettings(configfiles=files),
            snakefile=snakefile,
            workdir=folder,
        )
        try:
            yield made
        finally:  # which Snakemake leaves to the garbage collector, with a warning
            if made._workflow_store is not None:
                made._workflow_store.sourcecache.runtime_cache.cleanup()


def graph_of(folder: Path, configs: Sequence[Path], targets: Sequence[str] = ()) -> Graph:
    """Plan a run in a folder, as a dry run does."""
    with planned(folder, configs) as api:
        return built(api, targets)


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
