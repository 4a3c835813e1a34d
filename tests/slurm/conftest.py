"""The cluster that a session starts, once."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_START = Path(__file__).with_name("start_cluster.sh")


@pytest.fixture(scope="session")
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
