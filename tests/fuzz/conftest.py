"""How many inputs are tried: a few for every reader in the test suite, `make fuzz` tries many."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.fuzz.judge import TALLY

_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
# the suite's own inputs are the same every time; those of `make fuzz` are new ones
_COMMON = {"deadline": None, "suppress_health_check": _CHECKS, "print_blob": True}
settings.register_profile(
    "suite", max_examples=12, derandomize=True, database=None, phases=(Phase.generate,), **_COMMON
)
# damaged bytes mean little when they are made smaller, and it takes long: the input itself is printed
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
settings.register_profile(
    "fuzz", max_examples=int(os.environ.get("CMBFIT_FUZZ", "1000")), phases=_PHASES, **_COMMON
)
settings.load_profile("fuzz" if "CMBFIT_FUZZ" in os.environ else "suite")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand the counts of a worker process to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["hostile"] = dict(TALLY)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Add the counts of a worker process."""
    for reader, counts in getattr(node, "workeroutput", {}).get("hostile", {}).items():
        TALLY[reader] = tuple(map(sum, zip(TALLY.get(reader, (0, 0)), counts, strict=True)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many inputs each reader was given, and how many it refused."""
    if TALLY:
        terminalreporter.section("hostile inputs")
        for reader, (tried, refused) in sorted(TALLY.items()):
            terminalreporter.line(f"{reader:24s} {tried:7d} tried {refused:7d} refused")
        terminalreporter.line(f"{'all':24s} {sum(n for n, _ in TALLY.values()):7d} tried")
