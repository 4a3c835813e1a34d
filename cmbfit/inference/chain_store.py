"""Checkpoints of a chain: one small file per block of steps.

A killed run loses at most the block it was in, and goes on to the same chain as an undisturbed one, since the state of
the random generator is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbfit.checkpoint import Checkpoint, damaged


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


class ChainStore(Checkpoint):
    """The blocks of one chain; see :class:`~cmbfit.checkpoint.Checkpoint`."""

    def append(self, index: int, block: Block) -> None:
        """Publish block number `index`."""
        state = {_PREFIX + name: value for name, value in block.state.items()}
        arrays = {"chain": block.chain, "log_prob": block.log_prob, "accepted": block.accepted, **state}
        self.put(_name(index), **arrays)

    def read(self, index: int) -> Block | None:
        """Return block number `index`, None where there is none; DataError where it is damaged."""
        arrays = self.get(_name(index))
        if arrays is None:
            return None
        with damaged(self.path(_name(index))):
            state = {n.removeprefix(_PREFIX): x for n, x in arrays.items() if n.startswith(_PREFIX)}
            block = Block(arrays["chain"], arrays["log_prob"], arrays["accepted"], state)
            steps, walkers, _ = block.chain.shape
            if block.log_prob.shape != (steps, walkers) or block.accepted.shape != (walkers,):
                raise ValueError(
                    f"shapes {block.chain.shape}, {block.log_prob.shape}, {block.accepted.shape}"
                )
            return block


def _name(index: int) -> str:
    return f"block_{index:05d}"
