"""The bounded memory of a chain."""

from __future__ import annotations

import numpy as np
import pytest

from cmbfit.inference.trace import Trace


@pytest.mark.parametrize("blocks", [[1000], [7] * 142 + [6], [500, 3, 400, 97]])
def test_kept_steps_do_not_depend_on_the_blocks(blocks: list[int]) -> None:
    trace = Trace(max_kept=100)
    step = 0
    for n in blocks:
        steps = np.arange(step + 1, step + n + 1.0)
        trace.append(np.tile(steps[:, None, None], (1, 3, 2)), np.tile(-steps[:, None], (1, 3)))
        step += n
        assert len(trace.arrays()[0]) <= 100
    samples, log_prob = trace.arrays()
    assert (trace.steps, trace.thin) == (1000, 16)
    np.testing.assert_array_equal(samples[:, 0, 0], np.arange(16, 1001, 16))
    np.testing.assert_array_equal(log_prob[:, 2], -samples[:, 2, 1])


def test_tau_of_a_thinned_chain_is_that_of_the_whole(rng: np.random.Generator) -> None:
    """AR(1) with a = 0.98: tau = (1 + a) / (1 - a) = 99 steps, whatever is kept of them."""
    a, steps = 0.98, 40_000
    noise = rng.standard_normal((steps, 8, 1))
    x = np.zeros_like(noise)
    for i in range(1, steps):
        x[i] = a * x[i - 1] + noise[i]
    trace = Trace(max_kept=5000)
    for block in np.split(x, 40):
        trace.append(block, block[:, :, 0])
    assert trace.thin == 8
    # 8 series of 320 tau each: 5%; reading tau off every eighth step adds (8/99)^2/12
    assert trace.autocorrelation_time()[0] == pytest.approx(99, rel=0.15)


def test_memory_of_a_million_steps_is_bounded() -> None:
    trace = Trace()
    block = np.zeros((10_000, 4, 2))
    for _ in range(100):
        trace.append(block, block[:, :, 0])
    assert trace.steps == 1_000_000
    assert len(trace.arrays()[0]) <= trace.max_kept
