"""The same attacks on whole runs of Snakemake, with the real emulator: kills of machine, driver and stage, edits, a move."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow.conftest import Checkout, copy_checkout

from .harness.products import against, products
from .harness.sequences import Count
from .harness.toy import TARGETS, State

pytestmark = [pytest.mark.slow, pytest.mark.workflow, pytest.mark.timeout(0)]

# a twelfth of those in one process
SEQUENCES = int(
    os.environ.get("CMBFIT_FAULTS_SNAKEMAKE", -(-int(os.environ.get("CMBFIT_FAULTS", "1")) // 12))
)
FIRST = int(os.environ.get("CMBFIT_FAULTS_FIRST", "0"))
RUNS = 6  # of a sequence, five of them killed
STATES = (State(), State(array=1), State(code=1), State(seed=1))
TARGET = TARGETS[0]


def test_sequences_through_snakemake_end_as_in_a_clean_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    deadline = time.monotonic() + float(os.environ.get("CMBFIT_FAULTS_SECONDS", "inf"))
    count, wanted = Count(), {}
    clean = copy_checkout(tmp_path / "clean")
    for number in range(FIRST, FIRST + SEQUENCES):
        if time.monotonic() > deadline:
            break
        rng = random.Random(number)  # noqa: S311
        run = copy_checkout(tmp_path / f"run{number}")
        state = rng.choice(STATES)
        for i in range(RUNS - 1):
            if i and rng.random() < 0.25:
                state = rng.choice([x for x in STATES if x != state])
                count.edits += 1
            if i == 2:  # its orphans ended with the folder that they knew
                _end(run)
                run = Checkout(Path(shutil.move(run.root, tmp_path / f"moved{number}")))
                count.moves += 1
            state.write(run.root)
            for path in (run.root / "cmbfit").rglob("*.np?"):  # arrays of the same content
                os.utime(path)
            count.runs += 1
            who = _attacked(run, rng)
            count.kills += bool(who)
            count.orphans += who == "driver"
        _end(run)
        state.write(run.root)
        last = _run(run)
        assert last.returncode == 0, f"{count}\n{last.stdout[-3000:]}{last.stderr[-3000:]}"
        if state not in wanted:
            shutil.rmtree(clean.root / "results", ignore_errors=True)
            state.write(clean.root)
            assert _run(clean).returncode == 0
            wanted[state] = products(clean.root)
        count.sequences += 1
        count.differences += [f"sequence {number}: {x}" for x in against(run.root, wanted[state])]
        with capsys.disabled():
            sys.stdout.write(f"{count}\n{''.join(f'  {x}{chr(10)}' for x in count.differences)}")
            sys.stdout.flush()
        shutil.rmtree(run.root)
    assert count.kills
    assert not count.differences


def _run(run: Checkout) -> subprocess.CompletedProcess:
    run.snakemake("--unlock", config="run.yaml")
    return run.snakemake("--rerun-incomplete", TARGET, config="run.yaml")


def _attacked(run: Checkout, rng: random.Random) -> str:
    """Start a run and kill somebody at a random time after its first job began; return whom, nobody if it was over."""
    if (run.root / ".snakemake/locks").is_dir():
        run.snakemake("--unlock", config="run.yaml")
    driver = subprocess.Popen(
        run.command("--rerun-incomplete", TARGET, config="run.yaml"), cwd=run.root, env=run.environment(), start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    who = rng.choice(["machine", "driver", "stage"])
    while driver.poll() is None and not _stages(driver.pid):
        time.sleep(0.1)
    until = time.monotonic() + rng.uniform(0, 12)
    while driver.poll() is None and time.monotonic() < until:
        time.sleep(0.05)
    if driver.poll() is not None:
        return ""
    if who == "machine":
        os.killpg(driver.pid, signal.SIGKILL)
    elif who == "driver":
        driver.kill()
    elif found := _stages(driver.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(rng.choice(found), signal.SIGKILL)
    else:
        who = ""
    driver.wait(timeout=300)
    return who


def _stages(group: int | None, folder: Path | None = None) -> list[int]:
    """Return the processes that run a stage: of a driver's group, or in a folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().split(b"\0")
            if command[1:3] != [b"-m", b"pipeline"]:
                continue
            same = os.getpgid(int(entry.name)) == group if group else (entry / "cwd").resolve() == folder
            found += [int(entry.name)] if same else []
    return found


def _end(run: Checkout) -> None:
    """Wait for the orphans of a run."""
    while _stages(None, run.root.resolve()):
        time.sleep(0.2)
