"""A chain of a million steps within bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from cmbfit.inference.chain import Chain
from cmbfit.inference.products import write_chain
from cmbfit.inference.trace import Trace
from tests.conftest import ROOT

_CODE = """
import json, sys
from pathlib import Path
import numpy as np
from cmbfit.errors import SamplerError
from cmbfit.inference.chain import run_sampler
from cmbfit.inference.chain_store import Block
from cmbfit.inference.ensemble import EnsembleSettings, _Emcee
from cmbfit.inference.trace import Trace
from tests.inference.toy import GaussianToy, start

kind, steps, block, kept, folder = sys.argv[1], *map(int, sys.argv[2:5]), Path(sys.argv[5])
walkers = 8

class Cheap:
    # an autoregressive process: the loop, its checkpoints and its tau without the price of a sampler
    kind = "cheap"
    def prepare(self):
        return Block(np.empty((0, walkers, 3)), np.empty((0, walkers)), np.zeros(walkers, dtype=int),
                     {"position": np.zeros((walkers, 3)), "n": np.array(0)})
    def advance(self, last, n):
        noise = np.random.default_rng(int(last.state["n"])).standard_normal((n, walkers, 3))
        x = np.cumsum(noise, axis=0) / np.sqrt(n)
        return Block(x, x[..., 0], np.full(walkers, n), {"position": x[-1], "n": last.state["n"] + 1})

def rss():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

class Watched:
    def __init__(self, inner):
        self.inner, self.kind, self.seen = inner, inner.kind, []
    def prepare(self):
        return self.inner.prepare()
    def advance(self, last, n):
        self.seen.append(rss())
        return self.inner.advance(last, n)

settings = EnsembleSettings(walkers=walkers, max_steps=steps, block_steps=block, tau_multiple=1e9)
toy = GaussianToy()
sampler = Watched(Cheap() if kind == "cheap" else _Emcee(toy, start(walkers), settings, 1))
try:
    run_sampler(sampler, toy, settings, 1, folder, {"posterior": "toy"}, progress=False, trace=lambda: Trace(kept))
except SamplerError:
    pass
print(json.dumps(sampler.seen))
before = rss()
try:  # from the checkpoint: all blocks are read
    run_sampler(sampler, toy, settings, 1, folder, {"posterior": "toy"}, progress=False, trace=lambda: Trace(kept))
except SamplerError:
    pass
print(json.dumps([before, rss()]))
"""


def _megabytes(
    tmp_path: Path, kind: str, steps: int, block: int, kept: int
) -> tuple[list[float], list[float]]:
    words = [sys.executable, "-c", _CODE, kind, str(steps), str(block), str(kept), str(tmp_path)]
    run = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    during, resumed = map(json.loads, run.stdout.splitlines())
    return during, resumed


@pytest.mark.slow
def test_a_million_steps(tmp_path: Path) -> None:
    """All samples would be 192 MB; 512 to 1024 kept steps are 0.2 MB and a block of 20 000 is 4 MB."""
    during, resumed = _megabytes(tmp_path, "cheap", 1_000_000, 20_000, 1024)
    assert len(during) == 50
    settled = during[10]
    assert max(during[10:]) - settled < 25, during
    assert resumed[1] - resumed[0] < 25, resumed


@pytest.mark.parametrize("steps", [10_000, 200_000])
def test_what_a_chain_is_written_with(tmp_path: Path, steps: int) -> None:
    """A file is made in memory: as large as the steps that are kept, however many there were."""
    rng, trace = np.random.default_rng(1), Trace(1024)
    for _ in range(steps // 5000):
        block = rng.normal(size=(5000, 8, 7))
        trace.append(block, block[..., 0])
    samples, log_prob = trace.arrays()
    kept = samples.nbytes + log_prob.nbytes
    assert kept <= 2 * 1024 * 8 * 8 * 8
    chain = Chain(tuple("abcdefg"), samples, log_prob, np.ones(7), [], 0.5, True, 1.0, 1, {})
    tracemalloc.start()
    write_chain(tmp_path / "x.h5", chain, {})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # noise does not compress; the buffer grows in steps of an eighth, and h5py has its own imports and chunks
    assert peak < 1.3 * kept + 2**20
    assert (tmp_path / "x.h5").stat().st_size < 1.1 * kept + 2**16


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_emcee_itself(tmp_path: Path) -> None:
    """A fifth of a million: each step costs what the toy costs, and what grows would have grown."""
    during, resumed = _megabytes(tmp_path, "emcee", 200_000, 4_000, 1024)
    settled = during[10]
    assert max(during[10:]) - settled < 25, during
    assert resumed[1] - resumed[0] < 25, resumed
