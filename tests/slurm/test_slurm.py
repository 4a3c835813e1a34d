"""The tiny configuration through a real SLURM: submitted, killed, restarted, equal to the local run.

`make slurm` installs Debian's slurm-wlm and munge and runs this; elsewhere it is skipped.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.workflow.conftest import Checkout, copy_checkout

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("slurmctld") or not shutil.which("munged"),
        reason="needs root and Debian's slurm-wlm and munge (make slurm)",
    ),
]

_START = Path(__file__).with_name("start_cluster.sh")
_CHAIN = "chains/lcdm_planck2018.ensemble0.h5"
# squeue, since this cluster has no accounting; two seconds instead of a real cluster's twenty
_FAST = (
    "--workflow-profile", "pipeline/profiles/slurm", "--slurm-status-command", "squeue",
    "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10",
    "--set-resources", "sample_posterior:gpu=1", "sample_posterior:mem_mb=1500", "compute_theory:mem_mb=1500",
    "compute_exact:mem_mb=1500", "train_emulator:mem_mb=2000",
    "--default-resources", "mem_mb=1500", "runtime=20", "--set-threads", "compute_theory=1", "train_emulator=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run(["bash", str(_START), "start", str(folder)], check=True, timeout=120)
    yield folder
    subprocess.run(["bash", str(_START), "stop", str(folder)], check=False, timeout=60)


def _snakemake(checkout: Checkout, *words: str, retries: int = 0) -> list[str]:
    # the executor of the profile; one retry or none by the test
    return [*checkout.command(*_FAST, "--retries", str(retries), *words, config="pipeline/config/tiny.yaml")]


def _running(name: str) -> list[str]:
    out = subprocess.run(
        ["squeue", "-h", "-t", "R", "-o", "%i %k"], capture_output=True, text=True, check=True
    )
    return [line.split()[0] for line in out.stdout.splitlines() if name in line]


@pytest.mark.timeout(3600)
def test_a_killed_job_on_a_cluster_ends_like_the_local_run(
    cluster: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    local = copy_checkout(tmp_path_factory.mktemp("local") / "checkout")
    run = local.snakemake()
    assert run.returncode == 0, run.stderr[-4000:]

    remote = copy_checkout(tmp_path_factory.mktemp("remote") / "checkout")
    results = remote.root / "results" / "tiny"
    log = (cluster / "driver.log").open("w")
    driver = subprocess.Popen(
        _snakemake(remote), cwd=remote.root, env=remote.environment(), stdout=log, stderr=log
    )
    # kill the first chain's job once it has written a checkpoint
    deadline = time.monotonic() + 1500
    while not list((results / "checkpoints").rglob("block_*.npz")):
        assert driver.poll() is None, (cluster / "driver.log").read_text()[-4000:]
        assert time.monotonic() < deadline, "no chain began"
        time.sleep(0.1)
    jobs = _running("sample_posterior")
    assert jobs, "no running job of the chains: " + (cluster / "driver.log").read_text()[-2000:]
    subprocess.run(["scancel", "--signal=KILL", *jobs], check=True)
    assert driver.wait(timeout=900) != 0
    assert not (results / "summary.json").exists()

    again = subprocess.run(
        _snakemake(remote, retries=1),
        cwd=remote.root, env=remote.environment(), capture_output=True, text=True, check=False, timeout=1800,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr[-4000:]
    logs = "".join(p.read_text() for p in (results / "logs/sample_posterior").glob("*.log"))
    assert "resuming after" in logs
    for checkout in (local, remote):
        assert (checkout.root / "results/tiny/checks/PASSED").exists()
    with h5py.File(local.root / "results/tiny" / _CHAIN) as a, h5py.File(results / _CHAIN) as b:
        np.testing.assert_array_equal(a["samples"][()], b["samples"][()])
