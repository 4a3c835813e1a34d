"""One process a job: whoever takes up a job whose driver was killed waits for the orphan that still runs it.

Two of them would publish one product twice, the orphan perhaps that of an earlier configuration, and last. A job is known by
its log, to which its rule sends what it prints; the lock dies with its process.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from pathlib import Path


def alone() -> contextlib.ExitStack:
    """Wait until no other process runs this job; it stays ours until what is returned is closed, or the process ends.

    Without a log (a stage run by hand), or on a file system without locks, nobody waits.
    """
    held = contextlib.ExitStack()
    with contextlib.suppress(OSError):
        log = Path("/proc/self/fd/1").readlink()
        if log.suffix == ".log":
            handle = os.open(log.with_name(f".{log.name}.lock"), os.O_RDWR | os.O_CREAT, 0o666)
            held.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                sys.stderr.write(
                    "another process runs this job, of a driver that was killed: waiting for it to end\n"
                )
                sys.stderr.flush()
                fcntl.flock(handle, fcntl.LOCK_EX)
    return held
