"""A full disk, a file too large, a folder that cannot be written: named, and nothing lost once it is mended."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from cmbfit.errors import WriteError
from cmbfit.io import write_text
from tests.inference.test_ensemble import run

BLOCKS = ["block_00000.npz", "block_00001.npz", "block_00002.npz", "block_00003.npz"]


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file of this process may grow beyond `size` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write anywhere."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


def _same_chain(folder: Path, whole: Path) -> None:
    resumed, undisturbed = run(folder), run(whole)
    np.testing.assert_array_equal(resumed.samples, undisturbed.samples)
    np.testing.assert_array_equal(resumed.log_prob, undisturbed.log_prob)


def test_a_checkpoint_that_does_not_fit_is_not_half_there(tmp_path: Path) -> None:
    """The start (8 kB) is written, the first block (30 kB) is cut off by the limit."""
    folder = tmp_path / "chain"
    with (
        largest_file(12_000),
        pytest.raises(WriteError, match=r"block_00001\.npz: cannot be written.*make room"),
    ):
        run(folder)
    assert sorted(p.name for p in folder.iterdir()) == [*BLOCKS[:1], "identity.json"]
    _same_chain(folder, tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts file systems")
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        pytest.skip(f"no mounting here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    """It fills up in the middle of the chain; on a larger one the chain goes on from the last whole block."""
    folder = small_disk / "chain"
    with pytest.raises(WriteError, match="No space left on device; make room and run again"):
        run(folder)
    there = sorted(p.name for p in folder.iterdir())
    assert there == [*BLOCKS[: len(there) - 1], "identity.json"]
    assert 1 < len(there) < 5
    larger = Path(shutil.copytree(folder, tmp_path / "larger"))
    _same_chain(larger, tmp_path / "whole")


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "chain"
    run(folder, max_steps=100, tau_rtol=10)
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    for place in (tmp_path, folder):
        place.chmod(0o555)
    for parent in [*tmp_path.parents][:3]:
        parent.chmod(parent.stat().st_mode | 0o555)  # pytest's folders are closed to others
    try:
        with as_nobody(), pytest.raises(WriteError, match="make its folder writable"):
            write_text(folder / "x.txt", "x")
        with as_nobody(), pytest.raises(WriteError, match=r"other.*cannot be written: .*Permission denied"):
            write_text(tmp_path / "other" / "x.txt", "x")
    finally:
        for place in (tmp_path, folder):
            place.chmod(0o755)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
