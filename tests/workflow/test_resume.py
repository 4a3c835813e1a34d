"""What survives a kill, a chain that stopped short and a change of inputs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from .conftest import Checkout

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1200)]  # one of them waits for the run


@pytest.mark.parametrize(
    "killed",
    [
        "machine",
        pytest.param("stage", marks=pytest.mark.slow),
        pytest.param("driver", marks=pytest.mark.slow),
    ],
)
def test_a_killed_fit_resumes_to_the_same_chain(finished: Checkout, killed: str) -> None:
    """SIGKILL in the middle of the chain; the resumed chain is bit-identical.

    The machine dies: driver and jobs together. A stage dies: the driver reports it. The driver dies: its job
    goes on as an orphan, and the next driver's job writes the same checkpoint beside it.
    """
    target = finished.results / "chains" / "lcdm_planck2018.ensemble0.h5"
    checkpoint = finished.results / "checkpoints" / "lcdm_planck2018.ensemble0"
    with h5py.File(target) as f:
        undisturbed = f["samples"][()]
    for path in (target, target.with_name(target.name + ".json")):
        path.unlink()
    assert not checkpoint.exists(), "a published chain keeps no checkpoint"
    relative = str(target.relative_to(finished.root))
    driver = subprocess.Popen(
        finished.command(relative, config="pipeline/config/tiny.yaml"),
        cwd=finished.root,
        env=finished.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(checkpoint.rglob("block_*.npz")):
        assert time.monotonic() < deadline, "no checkpoint appeared"
        time.sleep(0.02)
    os.killpg(driver.pid, signal.SIGSTOP)  # no step is made meanwhile
    refused = finished.snakemake(relative)
    os.killpg(driver.pid, signal.SIGCONT)
    assert refused.returncode != 0
    assert "cannot be locked" in refused.stdout + refused.stderr, "two drivers at once"
    if killed == "machine":
        os.killpg(driver.pid, signal.SIGKILL)
    elif killed == "driver":
        driver.kill()
    else:
        os.kill(_process(driver.pid, "pipeline sample_posterior"), signal.SIGKILL)
    code = driver.wait(timeout=120)
    if killed != "driver":
        time.sleep(1)
        assert not target.exists(), "the run ended before it was killed: make the chain longer"
    assert code == (1 if killed == "stage" else -9)
    blocks = len(list(checkpoint.rglob("block_*.npz")))
    assert finished.snakemake("--unlock").returncode == 0
    again = finished.snakemake("--rerun-incomplete", relative)
    assert again.returncode == 0, again.stderr[-3000:]
    with h5py.File(target) as f:
        resumed = f["samples"][()]
    np.testing.assert_array_equal(resumed, undisturbed)
    log = (finished.results / "logs/sample_posterior/lcdm_planck2018.ensemble0.log").read_text()
    if killed != "driver":  # where the orphan was faster, nothing is left to resume
        assert "resuming after" in log
        assert 0 < blocks < len(undisturbed) // 200 + 1


def _process(group: int, words: str) -> int:
    """Return the Python process of a group whose command line has some words."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if os.getpgid(int(entry.name)) == group and words in command and "bash" not in command:
                return int(entry.name)
    raise AssertionError(f"no process {words}")


def test_raising_max_steps_goes_on_from_the_checkpoint(finished: Checkout) -> None:
    """A chain that stopped short is continued, not begun again, and ends as if it had never stopped."""
    target = finished.results / "chains" / "lcdm_planck2018.ensemble0.h5"
    with h5py.File(target) as f:
        undisturbed = f["samples"][()]
    target.unlink()
    tiny = (finished.root / "pipeline/config/tiny.yaml").read_text()
    short = tiny.replace("      block_steps: 200\n", "      block_steps: 200\n      max_steps: 400\n")
    assert short != tiny
    (finished.root / "short.yaml").write_text(short)
    log = finished.results / "logs/sample_posterior/lcdm_planck2018.ensemble0.log"
    run = finished.snakemake(str(target.relative_to(finished.root)), config="short.yaml")
    assert run.returncode != 0
    assert "max_steps" in log.read_text()
    run = finished.snakemake(str(target.relative_to(finished.root)))
    assert run.returncode == 0, run.stderr[-3000:]
    assert "resuming after 400 steps" in log.read_text()
    with h5py.File(target) as f:
        np.testing.assert_array_equal(f["samples"][()], undisturbed)


def test_changed_inputs_give_a_new_chain_beside_an_unfinished_one(finished: Checkout) -> None:
    """A checkpoint of another seed lies there: it is neither resumed nor in the way."""
    target = finished.results / "chains" / "lcdm_planck2018.ensemble1.h5"
    folder = finished.results / "checkpoints" / "lcdm_planck2018.ensemble1"
    with h5py.File(target) as f:
        before = f["samples"][:100]
    (folder / "of-other-inputs").mkdir(parents=True)
    (folder / "of-other-inputs" / "block_00000.npz").write_bytes(b"unfinished")
    tiny = (finished.root / "pipeline/config/tiny.yaml").read_text()
    (finished.root / "seed.yaml").write_text(tiny.replace("  name: tiny\n", "  name: tiny\n  seed: 7\n"))
    run = finished.snakemake(str(target.relative_to(finished.root)), config="seed.yaml")
    assert run.returncode == 0, run.stderr[-3000:]
    with h5py.File(target) as f:
        assert not np.array_equal(f["samples"][:100], before)
