"""The tiny configuration through a real SLURM: submitted, killed, restarted, equal to the local run.

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
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import sacc
from safetensors.numpy import load_file

from tests.workflow.conftest import Checkout, copy_checkout

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("slurmctld") or not shutil.which("munged"),
        reason="needs root and Debian's slurm-wlm and munge (make slurm)",
    ),
]

_START = Path(__file__).with_name("start_cluster.sh")
LONG = 3600  # a run of the tiny configuration takes some minutes on two idle cores [s]
# one number of threads here and there: a matrix product's last digits depend on it
_THREADS = ("--set-threads", "compute_theory=1", "train_emulator=1")
# squeue, since this cluster has no accounting; two seconds instead of a real cluster's twenty
_FAST = (
    "--workflow-profile", "pipeline/profiles/slurm", "--slurm-status-command", "squeue",
    "--slurm-init-seconds-before-status-checks", "2", "--latency-wait", "10",
    "--set-resources", "sample_posterior:gpu=1", "sample_posterior:mem_mb=1500", "compute_theory:mem_mb=1500",
    "compute_exact:mem_mb=1500", "train_emulator:mem_mb=2000",
    "--default-resources", "mem_mb=1500", "runtime=20", *_THREADS,
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


def _queue(state: str) -> list[tuple[str, str]]:
    """Return (job, rule and wildcards) of the jobs in a state; tasks of an array are ARRAY_TASK."""
    out = subprocess.run(
        ["squeue", "-h", "-r", "-t", state, "-o", "%i %k"], capture_output=True, text=True, check=True
    )
    return [(line.split()[0], line) for line in out.stdout.splitlines()]


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


def _kill_a_chain(remote: Checkout, log: Path) -> None:
    """Run on the cluster until a chain has a checkpoint, kill its job and wait for the driver to give up."""
    results = remote.root / "results" / "tiny"
    with log.open("w") as out:
        driver = subprocess.Popen(
            _snakemake(remote), cwd=remote.root, env=remote.environment(), stdout=out, stderr=out
        )
    deadline = time.monotonic() + LONG
    tasks: set[str] = set()
    while not list((results / "checkpoints").rglob("block_*.npz")):
        assert driver.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, "no chain began"
        tasks |= {job for job, line in _queue("PD,R") if "compute_theory" in line}
        time.sleep(0.1)
    # the two chunks of the training set came as the tasks of one array
    assert {t.split("_")[-1] for t in tasks} == {"1", "2"}, tasks
    assert len({t.split("_")[0] for t in tasks}) == 1, tasks
    jobs = [job for job, line in _queue("R") if "sample_posterior" in line]
    assert jobs, "no running job of the chains: " + log.read_text()[-2000:]
    shown = subprocess.run(["scontrol", "show", "job", jobs[0]], capture_output=True, text=True, check=True)
    assert re.search(r"TresPerJob=gres[:/]gpu[:=]1", shown.stdout), shown.stdout
    subprocess.run(["scancel", "--signal=KILL", *jobs], check=True)
    assert driver.wait(timeout=LONG) != 0
    assert not (results / "summary.json").exists()


def _start_again(remote: Checkout) -> None:
    again = subprocess.run(
        _snakemake(remote, retries=1),
        cwd=remote.root, env=remote.environment(), capture_output=True, text=True, check=False, timeout=LONG,
    )  # fmt: skip
    assert again.returncode == 0, again.stderr[-4000:]
    logs = "".join(p.read_text() for p in (remote.root / "results/tiny/logs/sample_posterior").glob("*.log"))
    assert "resuming after" in logs


def _compare(local: Checkout, remote: Checkout) -> int:
    """Return how many arrays were compared."""
    results = [c.root / "results" / "tiny" for c in (local, remote)]
    assert all((r / "checks" / "PASSED").exists() for r in results)
    expected, found = map(_numbers, results)
    assert set(expected) == set(found)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)
    return len(found)


@pytest.mark.timeout(4 * LONG)
def test_a_killed_job_on_a_cluster_ends_like_the_local_run(
    cluster: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    # both of the same code, whatever happens to the repository meanwhile
    local, remote = (copy_checkout(tmp_path_factory.mktemp(k) / "checkout") for k in ("local", "remote"))
    times = [time.monotonic()]
    run = local.snakemake(*_THREADS, timeout=LONG)
    assert run.returncode == 0, run.stderr[-4000:]
    times.append(time.monotonic())
    _kill_a_chain(remote, cluster / "driver.log")
    times.append(time.monotonic())
    _start_again(remote)
    times.append(time.monotonic())
    n = _compare(local, remote)
    took = [round(b - a) for a, b in itertools.pairwise(times)]
    sys.stderr.write(
        f"\n{n} arrays equal bit for bit; seconds: local {took[0]}, cluster until the kill {took[1]}, "
        f"started again {took[2]}\n"
    )
