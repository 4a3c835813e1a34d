"""Checkpoints of a chain: one small file per block of steps, published atomically.

A killed run loses at most the block it was in, and goes on to the same chain as an undisturbed
one, since the state of the random generator is kept. A checkpoint of other inputs is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.errors import ResumeError
from cmbfit.io import atomic_buffer, read_json, reading, sha256_json, write_json


@dataclass
class Block:
    """Consecutive steps of an ensemble and the state after them.

    Attributes
    ----------
    chain : numpy.ndarray, shape (steps, walkers, n_parameters)
    log_prob : numpy.ndarray, shape (steps, walkers)
    accepted : numpy.ndarray of int, shape (walkers,)
        Accepted moves within the block.
    state : mapping of str to numpy.ndarray
        What the sampler needs to go on: its random generator, what it has learnt in its warm-up.
    """

    chain: np.ndarray
    log_prob: np.ndarray
    accepted: np.ndarray
    state: Mapping[str, np.ndarray]


_PREFIX = "state_"


def own_folder(root: str | Path, inputs: Any) -> Path:
    """Return the folder under `root` for the checkpoint of these JSON-able inputs alone."""
    return Path(root) / sha256_json(inputs)[:16]


def claim(folder: str | Path, identity: Mapping[str, Any]) -> Path:
    """Record what a folder's checkpoint is made of, or refuse one that is made of something else.

    Parameters
    ----------
    folder : path
    identity : mapping
        JSON-able description of everything that defines the chain: posterior, settings, seed, code.

    Returns
    -------
    Path
        The folder, which exists.

    Raises
    ------
    ResumeError
        If the folder belongs to another identity; the message names what changed.
    """
    folder = Path(folder)
    record = folder / "identity.json"
    now = json.loads(json.dumps(dict(identity)))  # as it is on disk: lists for tuples
    if not record.exists():
        write_json(record, now)
    elif changed := _differences(read_json(record), now):
        raise ResumeError(
            f"{folder}: this checkpoint was made from other inputs; changed: {'; '.join(changed)}. "
            "Restore them, or remove the folder to start again"
        )
    return folder


class ChainStore:
    """The blocks of one chain in a folder, with the identity of what made them.

    Parameters
    ----------
    folder, identity
        See :func:`claim`, which also says what is refused.
    """

    def __init__(self, folder: str | Path, identity: Mapping[str, Any]) -> None:
        self.folder = claim(folder, identity)

    def _path(self, index: int) -> Path:
        return self.folder / f"block_{index:05d}.npz"

    def append(self, index: int, block: Block) -> None:
        """Publish block number `index`."""
        state: dict[str, Any] = {_PREFIX + name: value for name, value in block.state.items()}
        with atomic_buffer(self._path(index)) as f:
            np.savez(f, chain=block.chain, log_prob=block.log_prob, accepted=block.accepted, **state)

    def read(self, index: int) -> Block | None:
        """Return block number `index`, None where there is none."""
        path = self._path(index)
        if not path.exists():
            return None
        with reading(path, "a checkpoint (damaged: remove the folder to start again)"):
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as f:
                state = {n.removeprefix(_PREFIX): f[n] for n in f.files if n.startswith(_PREFIX)}
                block = Block(f["chain"], f["log_prob"], f["accepted"], state)
            steps, walkers, _ = block.chain.shape
            if block.log_prob.shape != (steps, walkers) or block.accepted.shape != (walkers,):
                raise ValueError(
                    f"shapes {block.chain.shape}, {block.log_prob.shape}, {block.accepted.shape}"
                )
            return block


def _differences(before: Any, now: Any, path: str = "") -> list[str]:
    """Return paths at which two JSON-able values differ, with short values."""
    if isinstance(before, dict) and isinstance(now, dict):
        out = []
        for key in sorted(set(before) | set(now)):
            where = f"{path}.{key}" if path else str(key)
            if key not in before or key not in now:
                out.append(f"{where} ({'new' if key in now else 'gone'})")
            else:
                out += _differences(before[key], now[key], where)
        return out
    return [] if before == now else [f"{path} ({str(before)[:40]} -> {str(now)[:40]})"]
