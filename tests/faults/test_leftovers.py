"""What a killed writer leaves is removed by the next one; what another still writes is not. One process a job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from cmbfit.folders import atomic_folder
from cmbfit.inference.ensemble import EnsembleSettings, run_ensemble
from cmbfit.io import atomic_path, write_text
from tests.conftest import ROOT
from tests.inference.test_ensemble import start
from tests.inference.toy import GaussianToy

_HOLDS = """
import sys
from pathlib import Path
from cmbfit.folders import atomic_folder
from cmbfit.io import atomic_path

folder = Path(sys.argv[1])
with atomic_path(folder / "x.txt") as a, atomic_folder(folder / "y", lambda name: True) as b:
    a.write_text("half")
    (b / "z").write_text("half")
    print("ready", flush=True)
    sys.stdin.readline()
"""


def hidden(folder: Path) -> int:
    return sum(p.name.startswith(".") for p in folder.iterdir())


def write(folder: Path) -> None:
    write_text(folder / "x.txt", "whole")
    with atomic_folder(folder / "y", lambda _: True) as tmp:
        (tmp / "z").write_text("whole")


def test_what_a_killed_writer_left_goes_and_what_another_writes_stays(tmp_path: Path) -> None:
    (tmp_path / ".x.mine.txt").write_text("the user's")
    writer = subprocess.Popen(
        [sys.executable, "-c", _HOLDS, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )  # fmt: skip
    assert writer.stdout is not None
    assert writer.stdout.readline() == "ready\n"
    write(tmp_path)
    assert hidden(tmp_path) == 1 + 2, "the other is still at it"
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()
    assert hidden(tmp_path) == 1 + 2
    write(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".x.mine.txt", "x.txt", "y"]
    assert [(tmp_path / "x.txt").read_text(), (tmp_path / "y/z").read_text()] == ["whole", "whole"]


def test_a_writer_whose_temporary_file_was_swept_makes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between making it and locking it, anybody may take it for a leftover."""
    import fcntl

    lock, swept = fcntl.flock, []

    def late(handle: int, how: int) -> None:
        if not swept:
            swept.extend(tmp_path.glob(".x.*"))
            swept[0].unlink()
        lock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with atomic_path(tmp_path / "x.txt") as tmp:
        assert tmp != swept[0]
        tmp.write_text("whole")
    assert (tmp_path / "x.txt").read_text() == "whole"


_JOB = """
import sys, time
from pathlib import Path
from pipeline.alone import alone

with alone():
    Path(sys.argv[1]).touch()
    time.sleep(float(sys.argv[2]))
"""


def test_a_job_waits_for_the_orphan_that_runs_it(tmp_path: Path) -> None:
    """Known by its log, whichever process made that; another job does not wait, and nobody waits for the dead."""

    def job(log: str, mark: str, seconds: float) -> subprocess.Popen:
        with (tmp_path / log).open("w") as out:
            words = [sys.executable, "-c", _JOB, str(tmp_path / mark), str(seconds)]
            return subprocess.Popen(words, cwd=ROOT, stdout=out, stderr=out)

    def begun(mark: str) -> bool:
        return (tmp_path / mark).exists()

    orphan = job("a.log", "orphan", 60)
    while not begun("orphan"):
        time.sleep(0.02)
    successor, other = job("a.log", "successor", 0), job("b.log", "other", 0)
    assert other.wait(timeout=60) == 0
    while "waiting" not in (tmp_path / "a.log").read_text():
        time.sleep(0.02)
    assert not begun("successor")
    orphan.kill()
    orphan.wait()
    assert successor.wait(timeout=60) == 0
    assert begun("successor")


def test_a_parameter_that_has_not_moved_yet_stops_no_chain(tmp_path: Path) -> None:
    """In a block of few steps no walker may have moved along one: tau is not known, and the chain goes on."""
    settings = EnsembleSettings(walkers=16, max_steps=2000, block_steps=1, tau_multiple=2, tau_rtol=9)
    chain = run_ensemble(GaussianToy(), start(16), settings, 3, tmp_path, {"posterior": {}}, progress=False)  # type: ignore[arg-type]
    assert chain.converged
    assert np.isfinite(chain.tau).all()
