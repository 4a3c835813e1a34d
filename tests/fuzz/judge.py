"""What a reader may do with any input: read it, or refuse it with a typed error, within time and memory."""

from __future__ import annotations

import contextlib
import resource
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from cmbfit.errors import CmbfitError

TALLY: dict[str, tuple[int, int]] = {}
"""Reader to the numbers of inputs tried and refused in this session."""

SECONDS = (
    20  # of this process's time, so that a busy machine fails no test; a wait for ever meets pytest's timeout
)
_MEMORY = 4 << 30  # beyond what the process has: a header's promise of a petabyte fails, and at once


class TooSlow(BaseException):
    """The reader hangs; no `except Exception` on the way can hide it."""


def judge(reader: str, read: Callable[[], object]) -> bool:
    """Call a reader; return whether it accepted its input. Any other error than a typed one passes through."""
    tried, refused = TALLY.get(reader, (0, 0))
    message = None
    with _limits(), warnings.catch_warnings():
        # a warning is no crash, nor a file that a library leaves open until the error is let go
        warnings.simplefilter("ignore")
        try:
            read()
        except CmbfitError as error:
            message = str(error)
    if message is None:
        TALLY[reader] = tried + 1, refused
        return True
    TALLY[reader] = tried + 1, refused + 1
    assert 0 < len(message) < 5000, f"a message of {len(message)} characters"
    return False


@contextlib.contextmanager
def _limits() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise TooSlow(f"no answer after {SECONDS} s")

    before = signal.signal(signal.SIGPROF, ring)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    if pages:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + _MEMORY, hard))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
