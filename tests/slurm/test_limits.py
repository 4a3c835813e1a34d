"""Own spectra and nested evidences through a real SLURM that takes jobs away: by time, by memory, by a drained node."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import sacc

from tests.workflow.conftest import Checkout, copy_checkout

from .cluster import LONG, drive, jobs, queue, site, until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("slurmctld") or not shutil.which("munged"),
        reason="needs root and Debian's slurm-wlm and munge (make slurm)",
    ),
]

_CONFIG = "own_spectra.yaml"
_RUN = Path("results/sky")
_TARGETS = [str(_RUN / x) for x in ("comparison/models.json", "chains/lcdm_simulated.summary.json")]
# Snakemake in the job and the stage take some 0.3 and 0.5 GB: SLURM ends the first attempt, not the second
_MEMORY = {"compute_evidence": {"mem_mb": "200 * attempt ** 4"}}


def _numbers(results: Path) -> dict[str, Any]:
    """Every number of the products, by file."""
    found: dict[str, Any] = {}
    for path in sorted(results.glob("chains/*.h5")) + sorted(results.glob("evidence/*.h5")):
        with h5py.File(path) as f:
            names: list[str] = []
            f.visititems(lambda n, x, d=names: d.append(n) if isinstance(x, h5py.Dataset) else None)
            found |= {f"{path.relative_to(results)}:{n}": f[n][()] for n in names}
    spectra = sacc.Sacc.load_fits(str(results / "spectra/AxB.sacc.fits"))
    found |= {"spectra": spectra.mean, "covariance": spectra.covariance.covmat}
    for path in sorted(results.glob("evidence/*.json")):
        record = json.loads(path.read_text())
        found[path.name] = np.array([record["log_z"], record["log_z_error"]])
    return found


def _states() -> dict[str, str]:
    out = subprocess.run(
        ["squeue", "-h", "-t", "all", "-o", "%i %T"], capture_output=True, text=True, check=True
    )
    return dict(line.split() for line in out.stdout.splitlines())


def _scontrol(*words: str) -> None:
    subprocess.run(["scontrol", "update", *words], check=True)


def _time_takes_a_chain(remote: Checkout, driver: subprocess.Popen, log: Path) -> None:
    """A chain that has begun hangs (SIGSTOP) until SLURM's limit of time ends it; submitted again, it goes on."""
    blocks = remote.root / _RUN / "checkpoints"
    until(driver, log, "a chain's first block", lambda: list(blocks.rglob("block_*.npz")))
    running = jobs("R", "sample_posterior")
    assert running, "no running job of the chains: " + log.read_text()[-2000:]
    chosen = running[:1]
    subprocess.run(["scancel", "--signal=STOP", *chosen], check=True)
    _scontrol(f"JobId={chosen[0]}", "TimeLimit=1")
    until(driver, log, "the limit of time", lambda: _states().get(chosen[0]) == "TIMEOUT")
    logs = remote.root / _RUN / "logs/sample_posterior"
    until(
        driver,
        log,
        "the chain again",
        lambda: any("resuming after" in p.read_text() for p in logs.glob("*.log")),
    )


def _memory_and_a_drained_node(cluster: Path, remote: Checkout, driver: subprocess.Popen, log: Path) -> None:
    """The first attempt of an evidence meets the limit of memory, the second one's node is drained, the third one ends."""
    kept = remote.root / _RUN / "checkpoints"
    # with more memory, and far enough that something is kept
    until(driver, log, "an evidence's checkpoint", lambda: list(kept.rglob("nautilus.npz")))
    assert "exceeded memory limit" in (cluster / "slurmd.log").read_text()
    node = subprocess.run(["hostname", "-s"], capture_output=True, text=True, check=True).stdout.strip()
    running = jobs("R", "compute_evidence")
    assert running, "no running job of the evidences: " + log.read_text()[-2000:]
    _scontrol(f"NodeName={node}", "State=DRAIN", "Reason=test")
    subprocess.run(["scancel", "--signal=KILL", *running], check=True)
    try:
        until(driver, log, "jobs that wait for the node", lambda: jobs("PD", "compute_evidence"))
        time.sleep(5)
        assert not queue("R"), "a drained node took a job"
    finally:
        _scontrol(f"NodeName={node}", "State=RESUME")
    logs = remote.root / _RUN / "logs/compute_evidence"
    until(
        driver,
        log,
        "the evidence again",
        lambda: any("resuming after" in p.read_text() for p in logs.glob("*.log")),
    )


@pytest.mark.timeout(4 * LONG)
def test_limits_and_a_drained_node_end_like_the_local_run(
    cluster: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """One driver, which nobody helps: all numbers equal those of a local run bit for bit, and nothing unfinished stays."""
    local, remote = (copy_checkout(tmp_path_factory.mktemp(k) / "checkout") for k in ("local", "remote"))
    for checkout in (local, remote):
        shutil.copy(Path(__file__).with_name(_CONFIG), checkout.root / _CONFIG)
    site(remote, _MEMORY, {})
    run = local.snakemake(*_TARGETS, config=_CONFIG, timeout=LONG)
    assert run.returncode == 0, run.stderr[-4000:]
    log = cluster / "limits.log"
    driver = drive(remote, log, *_TARGETS, config=_CONFIG)
    _time_takes_a_chain(remote, driver, log)
    _memory_and_a_drained_node(cluster, remote, driver, log)
    assert driver.wait(timeout=LONG) == 0, log.read_text()[-4000:]
    expected, found = (_numbers(c.root / _RUN) for c in (local, remote))
    assert len(expected) > 20
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    assert not list((remote.root / _RUN / "checkpoints").rglob("*.npz"))
