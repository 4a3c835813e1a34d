"""What a run says while it runs."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from tests.inference.test_ensemble import run

LINE = re.compile(
    r"(\d+) steps of about (\d+), tau ([\d.]+), (\d+) effective samples, (\d+) evaluations/s, about (\d+) s left"
)


def test_each_block_says_how_far_the_chain_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "cmbfit.inference.chain"):
        chain = run(tmp_path, max_steps=20_000, block_steps=200, tau_multiple=100, tau_rtol=0.2)
    lines = [LINE.fullmatch(r.message) for r in caplog.records]
    assert len(lines) == chain.steps // 200 > 2
    for k, line in enumerate(lines, start=1):
        assert line is not None
        steps, needed, tau, effective, rate, _ = map(float, line.groups())
        assert steps == 200 * k
        assert needed == pytest.approx(max(steps, 100 * tau), abs=6)  # tau is printed to 0.1
        assert effective == pytest.approx(0.8 * steps * 16 / tau, rel=0.02)
        assert rate > 0
    assert lines[-1][2] == str(chain.steps)  # long enough
    assert lines[-1][6] == "0"
