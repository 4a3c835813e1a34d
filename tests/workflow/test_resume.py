"""What survives a kill, a chain that stopped short and a change of inputs."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from .conftest import Checkout
from .graph import graph_of
from .inprocess import run_one

pytestmark = [pytest.mark.workflow, pytest.mark.timeout(1200)]  # one of them waits for the run


@pytest.mark.parametrize(
    "killed",
    [
        pytest.param(
            "machine", marks=pytest.mark.slow
        ),  # the harness of tests/faults kills in the fast suite
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
    assert not checkpoint.exists(), "a chain that was joined keeps no checkpoint"
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


_SMALL = """
run: {name: small}
fits:
  lcdm_planck2018:
    sampler: {walkers: 32, block_steps: 200, tau_multiple: 20, tau_rtol: 0.2}
"""


@pytest.mark.slow
def test_a_chain_that_an_orphan_published_is_not_sampled_again(checkout: Checkout) -> None:
    """The driver dies and its job ends well: Snakemake holds the chain for incomplete, removes it and asks for it again.

    The checkpoint is there until the chains are joined, so that not a point is evaluated for it.
    """
    (checkout.root / "small.yaml").write_text(_SMALL, encoding="utf-8")
    results = checkout.root / "results" / "small"
    target = results / "chains" / "lcdm_planck2018.ensemble0.h5"
    checkpoint = results / "checkpoints" / "lcdm_planck2018.ensemble0"
    driver = subprocess.Popen(
        checkout.command(str(target.relative_to(checkout.root)), config="small.yaml"),
        cwd=checkout.root,
        env=checkout.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _wait_for(lambda: bool(list(checkpoint.rglob("block_*.npz"))))
    driver.kill()
    driver.wait()
    assert not target.exists(), "the chain ended before its driver was killed: make it longer"
    _wait_for(target.exists)
    _wait_for(target.with_name(target.name + ".json").exists)
    assert checkpoint.exists()
    with h5py.File(target) as f:
        samples, evaluations = f["samples"][()], f.attrs["evaluations"]
    assert evaluations > 0
    assert checkout.snakemake("--unlock", config="small.yaml").returncode == 0
    summary = results / "chains" / "lcdm_planck2018.summary.json"
    again = checkout.snakemake(
        "--rerun-incomplete", str(summary.relative_to(checkout.root)), config="small.yaml"
    )
    assert again.returncode == 0, again.stdout[-3000:] + again.stderr[-3000:]
    with h5py.File(target) as f:
        np.testing.assert_array_equal(f["samples"][()], samples)
        assert f.attrs["evaluations"] == 0
    log = (results / "logs/sample_posterior/lcdm_planck2018.ensemble0.log").read_text()
    assert f"resuming after {len(samples)} steps" in log
    assert not checkpoint.exists()
    # a chain of another seed, as an orphan of an earlier configuration would put it there, is refused by the join
    other = (results / "chains" / "lcdm_planck2018.ensemble1.h5").read_bytes()
    target.write_bytes(other)
    refused = checkout.snakemake(str(summary.relative_to(checkout.root)), config="small.yaml")
    assert refused.returncode != 0
    log = (results / "logs/publish_chains/lcdm_planck2018.log").read_text()
    assert re.search(r"ensemble0\.h5: made from other inputs than this run's; changed: seed", log)


def _wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _process(group: int, words: str) -> int:
    """Return the Python process of a group whose command line has some words."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            if os.getpgid(int(entry.name)) == group and words in command and "bash" not in command:
                return int(entry.name)
    raise AssertionError(f"no process {words}")


def sample_here(checkout: Checkout, config: str, target: Path) -> tuple[int, str]:
    """Run the job of a chain as Snakemake would, in this process; return its exit code and its errors."""
    chain = str(target.relative_to(checkout.root))
    graph = graph_of(checkout.root, [checkout.root / config], [chain])
    (job,) = [j for j in graph.jobs if chain in j.outputs]
    assert job.rule == "sample_posterior"
    threads = torch.get_num_threads()
    with contextlib.chdir(checkout.root):
        graph.sections.write()
        try:
            return run_one(job)
        finally:
            torch.set_num_threads(threads)


def test_raising_max_steps_goes_on_from_the_checkpoint(
    finished: Checkout, caplog: pytest.LogCaptureFixture
) -> None:
    """A chain that stopped short is continued, not begun again, and ends as if it had never stopped."""
    target = finished.results / "chains" / "lcdm_planck2018.ensemble0.h5"
    with h5py.File(target) as f:
        undisturbed = f["samples"][()]
    target.unlink()
    tiny = (finished.root / "pipeline/config/tiny.yaml").read_text()
    short = tiny.replace("      block_steps: 200\n", "      block_steps: 200\n      max_steps: 400\n")
    assert short != tiny
    (finished.root / "short.yaml").write_text(short)
    code, said = sample_here(finished, "short.yaml", target)
    assert code == 2
    assert "max_steps" in said
    with caplog.at_level(logging.INFO):
        assert sample_here(finished, "pipeline/config/tiny.yaml", target) == (0, "")
    assert "resuming after 400 steps" in caplog.text
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
    assert sample_here(finished, "seed.yaml", target)[0] == 0
    with h5py.File(target) as f:
        assert not np.array_equal(f["samples"][:100], before)
