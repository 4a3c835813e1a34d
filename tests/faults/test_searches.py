"""Searches and Boltzmann runs that were killed: what was measured is not measured again, and the record is the same, byte for byte."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cmbfit.errors import DataError
from cmbfit.io import write_json
from tests.conftest import ROOT
from tests.theory.test_training_stages import CANDIDATES, FIT, chunks, stage  # noqa: F401 (a fixture)

# a process that is killed when it has kept as many pieces as it is told
_KILLED = """
import os, signal, sys
from cmbfit import checkpoint
from pipeline.__main__ import main

put, left = checkpoint.Checkpoint.put, int(sys.argv[1])

def counted(self, name, **arrays):
    global left
    put(self, name, **arrays)
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

checkpoint.Checkpoint.put = counted
sys.exit(main(sys.argv[2:]))
"""


def killed(pieces: int, *words: str | Path) -> None:
    """Run a stage in a process of its own that dies after so many pieces."""
    command = [sys.executable, "-c", _KILLED, str(pieces), *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr


def pieces(folder: Path) -> dict[str, int]:
    """Return what is kept, and when it was written."""
    return {p.name: p.stat().st_mtime_ns for p in folder.rglob("[!.]*.npz")}


def goes_on(tmp_path: Path, words: Sequence[str | Path], whole: int, cut: int) -> Path:
    """Hold a stage that was killed after `cut` of its pieces against one that was not; return the killed one's checkpoint."""
    outs = [tmp_path / f"{k}.product" for k in ("undisturbed", "killed")]
    folders = [tmp_path / f"{k}.checkpoint" for k in ("undisturbed", "killed")]
    options = [("--checkpoint", folder, "--output", out) for folder, out in zip(folders, outs, strict=True)]
    stage(words[0], *words[1:], *options[0])
    assert len(pieces(folders[0])) == whole
    killed(cut, *words, *options[1])
    before = pieces(folders[1])
    assert len(before) == cut
    assert not outs[1].exists()
    stage(words[0], *words[1:], *options[1])
    after = pieces(folders[1])
    assert len(after) == whole
    assert {name: after[name] for name in before} == before, "a piece was computed again"
    assert outs[1].read_bytes() == outs[0].read_bytes()
    return folders[1]


def test_a_killed_search_goes_on_to_the_same_record(chunks: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    """Two candidates and five points of the learning curve; other inputs begin anew, a damaged piece is refused."""
    for name, value in (("fit", FIT), ("candidates", CANDIDATES)):
        write_json(tmp_path / f"{name}.json", value)
    words = ["search_emulator", "--chunks", chunks[0], "--fit", tmp_path / "fit.json", "--code", "now",
             "--candidates", tmp_path / "candidates.json", "--held-out", "0.1"]  # fmt: skip
    folder = goes_on(tmp_path, words, 7, 3)
    again = ["--checkpoint", folder, "--output", tmp_path / "again.json"]
    stage(words[0], *words[1:-1], "0.2", *again)
    assert len(list(folder.iterdir())) == 2
    for path in folder.rglob("candidate_0.npz"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(AssertionError):  # the stage's exit code
        stage(words[0], *words[1:], *again)


@pytest.mark.slow
def test_killed_networks_go_on_to_the_same_record(chunks: tuple[Path, Path], tmp_path: Path) -> None:  # noqa: F811
    """Two trials and a training of each network: the trials that optuna asks for after a kill are those it asked for before."""
    pytest.importorskip("optuna", reason="the optional dependency optuna")
    write_json(tmp_path / "fit.json", FIT | {"degree": 1, "lowl_degree": 1})
    write_json(tmp_path / "network.json", {"trials": 2, "trial_steps": 5, "steps": 20})
    bundle = tmp_path / "base/manifest.json"
    stage("train_emulator", "--chunks", chunks[0], "--fit", tmp_path / "fit.json", "--held-out", "0.1",
          "--output", bundle)  # fmt: skip
    words = ["compare_emulators", "--emulator", bundle, "--chunks", chunks[0], "--held-out", "0.1", "--code", "now",
             "--network", tmp_path / "network.json"]  # fmt: skip
    goes_on(tmp_path, words, 6, 3)


def test_a_damaged_piece_is_an_error_and_no_value(tmp_path: Path) -> None:
    """optuna goes on after a trial whose loss overflowed, not after a checkpoint that cannot be read."""
    from cmbfit.checkpoint import Checkpoint, kept_value

    store = Checkpoint(tmp_path / "x", {"seed": 1})
    value = {"loss": 0.1 + 0.2, "rows": [1e-300, None]}
    assert kept_value(store, "trial", lambda: value) == value
    assert kept_value(store, "trial", dict) == value
    raw = bytearray(store.path("trial").read_bytes())
    raw[len(raw) // 2] ^= 1
    store.path("trial").write_bytes(raw)
    with pytest.raises(DataError, match=r"trial\.npz: expected a checkpoint \(damaged: remove the folder"):
        kept_value(store, "trial", dict)


@pytest.mark.slow
def test_killed_runs_of_class_go_on_to_the_same_file(tmp_path: Path) -> None:
    """One cosmology, two masses: CLASS without holes and with, each run kept."""
    pytest.importorskip("classy", reason="CLASS is optional (extra: class)")
    design = {"n_cosmologies": 1, "draws": 1, "lmax": 300, "max_fractions": {1e15: 3e-6, 1e16: 4e-3}}
    words = ["compute_injection", "--cosmology", "0", "--code", "now", "--design", tmp_path / "design.json"]
    write_json(tmp_path / "design.json", design)
    goes_on(tmp_path, words, 3, 2)
    with np.load(tmp_path / "killed.product") as f:
        assert (
            np.abs(f["effect"]).max() > 0.01
        )  # holes a third as many as Planck excludes show in the spectra
