"""Threads whose torch operations use one core each.

A chunk's operations are too small to be shared by cores: on two, a posterior's batch gains a fifth. Chunks are
independent, so a core each gains nearly all. torch keeps its number of threads per calling thread, except that new
threads start with the number set last by anybody.
"""

from __future__ import annotations

import functools
import os
import threading
from concurrent.futures import ThreadPoolExecutor

import torch


@functools.lru_cache(maxsize=4)
def _pool(n: int, pid: int) -> ThreadPoolExecutor:  # noqa: ARG001 (threads do not survive a fork)
    """Return n threads, all of them started and limited to a core each."""
    pool, everybody = ThreadPoolExecutor(n, "cmbfit-chunk"), threading.Barrier(n)

    def start() -> None:
        everybody.wait()
        torch.get_num_threads()  # takes over the process's number now, not after the next line
        torch.set_num_threads(1)

    before = torch.get_num_threads()
    for task in [pool.submit(start) for _ in range(n)]:
        task.result()
    torch.set_num_threads(before)  # for threads to come
    return pool


def one_core_threads() -> ThreadPoolExecutor | None:
    """Return a pool of as many threads as the caller's torch operations may use; None if that is one."""
    n = torch.get_num_threads()
    return _pool(n, os.getpid()) if n > 1 else None
