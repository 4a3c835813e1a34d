"""A SLURM of one node, and what tests ask of it."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.workflow.conftest import Checkout

LONG = 3600  # a run of the tiny configuration takes some minutes on two idle cores [s]


def site(checkout: Checkout, resources: Mapping[str, Mapping[str, Any]], threads: Mapping[str, int]) -> None:
    """Write the copy of the profile that docs/cluster.md tells a site to make."""
    profile = yaml.safe_load((checkout.root / "pipeline/profiles/slurm/config.yaml").read_text())
    profile["slurm-status-command"] = "squeue"  # no accounting
    profile["slurm-init-seconds-before-status-checks"] = 2  # the rest but what a test asks for: not to wait
    profile["latency-wait"] = 10
    for rule, asked in resources.items():
        profile["set-resources"].setdefault(rule, {}).update(asked)
    profile.pop("set-threads", None)
    if threads:  # Snakemake takes no empty table
        profile["set-threads"] = dict(threads)
    (checkout.root / "site").mkdir()
    (checkout.root / "site/config.yaml").write_text(yaml.safe_dump(profile))


def drive(remote: Checkout, log: Path, *words: str, config: str) -> subprocess.Popen:
    """Start a driver."""
    command = remote.command("--workflow-profile", "site", *words, config=config)
    with log.open("w") as out:
        return subprocess.Popen(command, cwd=remote.root, env=remote.environment(), stdout=out, stderr=out)


def queue(state: str) -> list[tuple[str, str, int]]:
    """Return (job, comment with rule and wildcards, MB) of the jobs in a state; tasks of an array are ARRAY_TASK."""
    out = subprocess.run(
        ["squeue", "-h", "-r", "-t", state, "-o", "%i|%k|%m"], capture_output=True, text=True, check=True
    )
    rows = [line.split("|") for line in out.stdout.splitlines()]
    return [(job, comment, _megabytes(memory)) for job, comment, memory in rows]


def _megabytes(text: str) -> int:
    """Read SLURM's 3000M or 4G (1.5T does not occur here)."""
    return int(text.rstrip("MG")) * (1024 if text.endswith("G") else 1)


def jobs(state: str, rule: str) -> list[str]:
    """Return the jobs of a rule in a state."""
    return [job for job, comment, _ in queue(state) if rule in comment]


def until(driver: subprocess.Popen, log: Path, what: str, happened: Callable[[], object]) -> None:
    """Wait for something while the driver runs."""
    deadline = time.monotonic() + LONG
    while not happened():
        assert driver.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)
