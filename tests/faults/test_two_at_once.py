"""Two processes that run the same chain in the same folder: an orphan of a killed driver, and its successor."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import ROOT
from tests.inference.test_ensemble import GaussianToy, run

_CODE = """
import sys
from pathlib import Path
import numpy as np
from cmbfit.io import atomic_path
from tests.faults.test_two_at_once import Slow
from tests.inference.test_ensemble import run

folder, out = map(Path, sys.argv[1:])
print("ready", flush=True)
sys.stdin.readline()
chain = run(folder, Slow())
with atomic_path(out) as tmp, tmp.open("wb") as f:
    np.savez(f, samples=chain.samples, log_prob=chain.log_prob)
"""


class Slow(GaussianToy):
    """Slow enough for the two to be at work together."""

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        time.sleep(0.002)
        return super().log_prob(theta)


@pytest.mark.slow
def test_both_end_with_the_chain_of_one(tmp_path: Path) -> None:
    folder, out = tmp_path / "chain", tmp_path / "chain.npz"
    both = [
        subprocess.Popen(
            [sys.executable, "-c", _CODE, str(folder), str(out)],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in both:
        _, errors = process.communicate("go\n", timeout=300)
        assert process.returncode == 0, errors
    undisturbed = run(tmp_path / "whole")
    with np.load(out) as f:
        np.testing.assert_array_equal(f["samples"], undisturbed.samples)
        np.testing.assert_array_equal(f["log_prob"], undisturbed.log_prob)
    assert [p.name for p in sorted(folder.iterdir())] == [
        p.name for p in sorted((tmp_path / "whole").iterdir())
    ]


def test_a_checkpoint_removed_underneath(tmp_path: Path) -> None:
    """The first to end publishes and removes the checkpoint; the second does not miss it."""

    class Removes(GaussianToy):
        def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
            if self.calls == 180:  # in the second block
                shutil.rmtree(tmp_path / "chain")
            return super().log_prob(theta)

    toy = Removes()
    chain = run(tmp_path / "chain", toy)
    np.testing.assert_array_equal(chain.samples, run(tmp_path / "whole").samples)
    assert toy.calls > 180
