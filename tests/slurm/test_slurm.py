"""The tiny configuration through a real SLURM: jobs and driver killed, started again, equal to the local run.

`make slurm` installs Debian's slurm-wlm and munge and runs this; elsewhere it is skipped.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
import sacc
from safetensors.numpy import load_file

from tests.workflow.conftest import Checkout, copy_checkout

from .cluster import LONG, drive, jobs, queue, site, until

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("slurmctld") or not shutil.which("munged"),
        reason="needs root and Debian's slurm-wlm and munge (make slurm)",
    ),
]

# one number of threads here and there: a matrix product's last digits depend on it
_THREADS = {"compute_theory": 1, "train_emulator": 1}


_CONFIG = "pipeline/config/tiny.yaml"


def _drive(remote: Checkout, log: Path, *words: str) -> subprocess.Popen:
    return drive(remote, log, *words, config=_CONFIG)


def _numbers(results: Path) -> dict[str, np.ndarray]:
    """Every number of a finished run that its seeds determine, by product."""
    found: dict[str, np.ndarray] = {}
    for path in sorted(results.rglob("*.npz")):
        if "checkpoints" not in path.parts:
            with np.load(path, allow_pickle=False) as f:
                found |= {f"{path.relative_to(results)}:{k}": f[k] for k in f.files if k != "record"}
    for path in sorted((results / "chains").glob("*.h5")):
        with h5py.File(path) as f:
            datasets: list[str] = []
            f.visititems(lambda n, x, d=datasets: d.append(n) if isinstance(x, h5py.Dataset) else None)
            found |= {f"{path.relative_to(results)}:{n}": f[n][()] for n in datasets}
    arrays = load_file(results / "theory/emulator/arrays.safetensors")
    found |= {f"emulator:{name}": a for name, a in arrays.items()}
    spectra = sacc.Sacc.load_fits(str(results / "spectra/VxW.sacc.fits"))
    found |= {"spectra:mean": spectra.mean, "spectra:covariance": spectra.covariance.covmat}
    fit = json.loads((results / "summary.json").read_text())["fits"]["lcdm_planck2018"]
    for name, row in fit["parameters"].items():
        found[f"summary:{name}"] = np.array([row["mean"], row["std"], row["q16"], row["q50"], row["q84"]])
    return found


def _blocks(remote: Checkout) -> set[Path]:
    return set((remote.results / "checkpoints").rglob("block_*.npz"))


def _lose_a_job(remote: Checkout, log: Path) -> None:
    """Run without retries until a chain has a checkpoint, kill its job and wait for the driver to give up."""
    driver = _drive(remote, log, "--retries", "0")
    tasks: set[str] = set()

    def a_chain_began() -> bool:
        tasks.update(jobs("PD,R", "compute_theory"))
        return bool(_blocks(remote))

    until(driver, log, "a chain's first block", a_chain_began)
    # the two chunks of the training set came as the tasks of one array
    assert {t.split("_")[-1] for t in tasks} == {"1", "2"}, tasks
    assert len({t.split("_")[0] for t in tasks}) == 1, tasks
    running = jobs("R", "sample_posterior")
    assert running, "no running job of the chains: " + log.read_text()[-2000:]
    shown = subprocess.run(
        ["scontrol", "show", "job", running[0]], capture_output=True, text=True, check=True
    )
    assert re.search(r"TresPerJob=gres[:/]gpu[:=]1", shown.stdout), shown.stdout
    subprocess.run(["scancel", "--signal=KILL", *running], check=True)
    assert driver.wait(timeout=LONG) != 0
    assert not (remote.results / "summary.json").exists()


def _lose_a_job_and_the_driver(remote: Checkout, log: Path) -> None:
    """The profile's retries: a killed job is submitted again with more memory. Then the driver dies, its jobs go on."""
    before, chains = _blocks(remote), remote.results / "chains"
    driver = _drive(remote, log)
    until(driver, log, "another block", lambda: _blocks(remote) - before)
    running = jobs("R", "sample_posterior")
    assert running, "no running job of the chains: " + log.read_text()[-2000:]
    subprocess.run(["scancel", "--signal=KILL", *running], check=True)
    until(driver, log, "both chains", lambda: len(list(chains.glob("*.ensemble[01].h5"))) == 2)
    memory = {job: mb for job, comment, mb in queue("all") if "sample_posterior" in comment}
    # twice, but for a rounding to whole MB
    assert all(min(abs(mb - 2 * memory[job]) for mb in memory.values()) <= 2 for job in running), memory
    logs = (remote.results / "logs/sample_posterior").glob("*.log")
    assert any("resuming after" in p.read_text() for p in logs)
    until(driver, log, "exact spectra", lambda: jobs("R", "compute_exact"))
    driver.kill()
    driver.wait()


def _start_again(remote: Checkout, log: Path) -> None:
    """What docs/cluster.md says to do after a lost driver."""
    chains = {p: p.stat().st_mtime_ns for p in (remote.results / "chains").glob("*.h5")}
    while queue("PD,R,CG"):
        time.sleep(0.5)
    assert remote.snakemake("--unlock").returncode == 0
    assert _drive(remote, log).wait(timeout=LONG) == 0, log.read_text()[-4000:]
    assert all(p.stat().st_mtime_ns == t for p, t in chains.items()), "a finished chain was made again"
    assert _drive(remote, log, "--dry-run").wait(timeout=LONG) == 0
    assert "Nothing to be done" in log.read_text()


def _compare(local: Checkout, remote: Checkout) -> int:
    """Return how many arrays were compared."""
    results = [c.results for c in (local, remote)]
    assert all((r / "checks" / "PASSED").exists() for r in results)
    expected, found = map(_numbers, results)
    assert set(expected) == set(found)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    return len(found)


@pytest.mark.timeout(4 * LONG)
def test_losses_on_a_cluster_end_like_the_local_run(
    cluster: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # both of the same code, whatever happens to the repository meanwhile
    local, remote = (copy_checkout(tmp_path_factory.mktemp(k) / "checkout") for k in ("local", "remote"))
    site(remote, {"sample_posterior": {"gpu": 1}}, _THREADS)
    times = [time.monotonic()]
    run = local.snakemake("--set-threads", *(f"{rule}={n}" for rule, n in _THREADS.items()), timeout=LONG)
    assert run.returncode == 0, run.stderr[-4000:]
    times.append(time.monotonic())
    _lose_a_job(remote, cluster / "first.log")
    times.append(time.monotonic())
    _lose_a_job_and_the_driver(remote, cluster / "second.log")
    times.append(time.monotonic())
    _start_again(remote, cluster / "third.log")
    times.append(time.monotonic())
    n = _compare(local, remote)
    took = [round(b - a) for a, b in itertools.pairwise(times)]
    sys.stderr.write(
        f"\n{n} arrays equal bit for bit; seconds: local {took[0]}, cluster until the job is lost {took[1]}, until the "
        f"driver is lost {took[2]}, to the end {took[3]}\n"
    )
