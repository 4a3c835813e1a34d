"""The workflow loaded for a configuration given as values, many times in a process, without a graph of jobs."""

from __future__ import annotations

import builtins
import functools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import snakemake.api  # first: snakemake.workflow cannot be imported before it
import snakemake.workflow
from snakemake.iocontainers import Wildcards
from snakemake.settings.types import DAGSettings

import cmbfit.config
from cmbfit.io import sha256_json
from cmbfit.likelihood.datasets import catalog
from cmbfit.provenance import codehash, uses

from .conftest import ROOT
from .graph import planned

Job = tuple[str, tuple[tuple[str, str], ...]]
"""A rule's name and its wildcards."""
WHOLE = {("write_summary", "config"), ("write_summary", "rules"), ("write_crate", "hashes")}
"""Parameters that hold the whole configuration or all rules: they say of no value that a stage sees it."""


@contextmanager
def kept() -> Iterator[None]:
    """Keep what no configuration changes: parsed rules, descriptions of data sets, hashes of code."""

    # a list of files is no key
    def one_hash(*modules: str, files: Iterable[Any] = (), registered: bool = False, root: Any = None) -> str:
        return hashed(modules, tuple(map(str, files)), registered, root)

    hash_of, parse, parsed = codehash.code_hash, snakemake.workflow.parse, {}
    hashed = functools.cache(lambda m, files, registered, root: hash_of(
        *m, files=files, registered=registered, root=root
    ))  # fmt: skip

    def parse_once(path: Any, workflow: Any, linemap: dict[int, int], rulecount: int = 0) -> tuple[str, int]:
        key = str(path.get_path_or_uri(secret_free=True)), rulecount
        if key not in parsed:
            lines: dict[int, int] = {}
            parsed[key] = (*parse(path, workflow, linemap=lines, rulecount=rulecount), lines)
        code, count, lines = parsed[key]
        linemap |= lines
        return code, count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snakemake.workflow, "parse", parse_once)
        patch.setattr(snakemake.workflow, "compile", functools.cache(builtins.compile), raising=False)
        for module in (codehash, uses):
            patch.setattr(module, "code_hash", one_hash)
        patch.setattr(catalog, "description", functools.cache(catalog.description))
        yield


@contextmanager
def loaded(config: Mapping[str, Any], folder: Path, snakefile: Path = ROOT / "Snakefile") -> Iterator[Any]:
    """Give Snakemake's API of the workflow for a configuration."""
    with pytest.MonkeyPatch.context() as patch, planned(folder, snakefile=snakefile) as api:
        patch.setattr(cmbfit.config, "load_config", lambda *_: config)
        yield api


def jobs_of(config: Mapping[str, Any], folder: Path, targets: Iterable[str]) -> list[Job]:
    """Return the jobs that targets need."""
    with loaded(config, folder) as api:
        api.dag(DAGSettings(targets=set(targets)))
        workflow = api._workflow
        workflow._prepare_dag(forceall=False, ignore_incomplete=True, lock_warn_only=True)
        workflow._build_dag()
        found = {(j.rule.name, tuple(sorted(j.wildcards_dict.items()))) for j in workflow.dag.jobs}
        return sorted(found)


def seen(
    config: Mapping[str, Any], folder: Path, jobs: Iterable[Job], snakefile: Path = ROOT / "Snakefile"
) -> dict[Job, dict[str, str]]:
    """Return what Snakemake compares of each job to decide whether it runs again: parameters, inputs and outputs.

    Of rules that are not there nothing. Inputs and outputs that are patterns stay patterns.
    """
    with loaded(config, folder, snakefile) as api:
        rules = {rule.name: rule for rule in api._workflow.rules}
        return {job: _of_job(rules[job[0]], dict(job[1])) for job in jobs if job[0] in rules}


def moved(before: Mapping[Job, dict[str, str]], after: Mapping[Job, dict[str, str]]) -> set[str]:
    """Return the names of the rules that run again."""
    return {job[0] for job in before if before[job] != after.get(job)}


def _of_job(rule: Any, wildcards: dict[str, str]) -> dict[str, str]:
    values = Wildcards(fromdict=wildcards)

    def plain(x: Any) -> Any:
        if callable(x):
            try:
                return plain(x(values))
            except (KeyError, ValueError, IndexError):  # no such fit or band any more
                return "gone"
        if isinstance(x, Mapping):
            return {str(k): plain(v) for k, v in x.items()}
        return [plain(v) for v in x] if isinstance(x, list | tuple) else x if x is None else str(x)

    out = {f"param {k}": plain(v) for k, v in rule.params._allitems() if (rule.name, k) not in WHOLE}
    out |= {"input": [plain(x) for x in rule.input], "output": [plain(x) for x in rule.output]}
    return {k: sha256_json(v) for k, v in out.items()}
