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
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import sacc
import yaml
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
_THREADS = {"compute_theory": 1, "train_emulator": 1}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("slurm")
    subprocess.run(["bash", str(_START), "start", str(folder)], check=True, timeout=180)
    try:
        yield folder
    finally:
        subprocess.run(["bash", str(_START), "stop", str(folder)], check=False, timeout=180)
    left = subprocess.run(["pgrep", "-l", "slurm"], capture_output=True, text=True, check=False).stdout
    assert not left, f"still there: {left}"
    assert not Path("/etc/slurm/slurm.conf").exists()


def _site(checkout: Checkout) -> None:
    """Write the copy of the profile that docs/cluster.md tells a site to make."""
    profile = yaml.safe_load((checkout.root / "pipeline/profiles/slurm/config.yaml").read_text())
    profile["slurm-status-command"] = "squeue"  # no accounting
    profile["slurm-init-seconds-before-status-checks"] = 2  # the rest but the GPU: not to wait
    profile["latency-wait"] = 10
    profile["set-resources"]["sample_posterior"]["gpu"] = 1
    profile["set-threads"] = _THREADS
    (checkout.root / "site").mkdir()
    (checkout.root / "site/config.yaml").write_text(yaml.safe_dump(profile))


def _snakemake(checkout: Checkout, *words: str) -> list[str]:
    return checkout.command("--workflow-profile", "site", *words, config="pipeline/config/tiny.yaml")


def _drive(remote: Checkout, log: Path, *words: str) -> subprocess.Popen:
    with log.open("w") as out:
        return subprocess.Popen(
            _snakemake(remote, *words), cwd=remote.root, env=remote.environment(), stdout=out, stderr=out
        )


def _queue(state: str) -> list[tuple[str, str, int]]:
    """Return (job, comment with rule and wildcards, MB) of the jobs in a state; tasks of an array are ARRAY_TASK."""
    out = subprocess.run(
        ["squeue", "-h", "-r", "-t", state, "-o", "%i|%k|%m"], capture_output=True, text=True, check=True
    )
    rows = [line.split("|") for line in out.stdout.splitlines()]
    return [(job, comment, _megabytes(memory)) for job, comment, memory in rows]


def _megabytes(text: str) -> int:
    """Read SLURM's 3000M or 4G (1.5T does not occur here)."""
    return int(text.rstrip("MG")) * (1024 if text.endswith("G") else 1)


def _jobs(state: str, rule: str) -> list[str]:
    return [job for job, comment, _ in _queue(state) if rule in comment]


def _until(driver: subprocess.Popen, log: Path, what: str, happened: Callable[[], object]) -> None:
    """Wait for something while the driver runs."""
    deadline = time.monotonic() + LONG
    while not happened():
        assert driver.poll() is None, log.read_text()[-4000:]
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.1)


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
        tasks.update(_jobs("PD,R", "compute_theory"))
        return bool(_blocks(remote))

    _until(driver, log, "a chain's first block", a_chain_began)
    # the two chunks of the training set came as the tasks of one array
    assert {t.split("_")[-1] for t in tasks} == {"1", "2"}, tasks
    assert len({t.split("_")[0] for t in tasks}) == 1, tasks
    jobs = _jobs("R", "sample_posterior")
    assert jobs, "no running job of the chains: " + log.read_text()[-2000:]
    shown = subprocess.run(["scontrol", "show", "job", jobs[0]], capture_output=True, text=True, check=True)
    assert re.search(r"TresPerJob=gres[:/]gpu[:=]1", shown.stdout), shown.stdout
    subprocess.run(["scancel", "--signal=KILL", *jobs], check=True)
    assert driver.wait(timeout=LONG) != 0
    assert not (remote.results / "summary.json").exists()


def _lose_a_job_and_the_driver(remote: Checkout, log: Path) -> None:
    """The profile's retries: a killed job is submitted again with more memory. Then the driver dies, its jobs go on."""
    before, chains = _blocks(remote), remote.results / "chains"
    driver = _drive(remote, log)
    _until(driver, log, "another block", lambda: _blocks(remote) - before)
    jobs = _jobs("R", "sample_posterior")
    assert jobs, "no running job of the chains: " + log.read_text()[-2000:]
    subprocess.run(["scancel", "--signal=KILL", *jobs], check=True)
    _until(driver, log, "both chains", lambda: len(list(chains.glob("*.ensemble[01].h5"))) == 2)
    memory = {job: mb for job, comment, mb in _queue("all") if "sample_posterior" in comment}
    # twice, but for a rounding to whole MB
    assert all(min(abs(mb - 2 * memory[job]) for mb in memory.values()) <= 2 for job in jobs), memory
    logs = (remote.results / "logs/sample_posterior").glob("*.log")
    assert any("resuming after" in p.read_text() for p in logs)
    _until(driver, log, "exact spectra", lambda: _jobs("R", "compute_exact"))
    driver.kill()
    driver.wait()


def _start_again(remote: Checkout, log: Path) -> None:
    """What docs/cluster.md says to do after a lost driver."""
    chains = {p: p.stat().st_mtime_ns for p in (remote.results / "chains").glob("*.h5")}
    while _queue("PD,R,CG"):
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
    _site(remote)
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
