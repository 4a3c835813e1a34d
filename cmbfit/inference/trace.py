"""The steps of a chain that are kept in memory: thinned more and more, so that the memory is bounded."""

from __future__ import annotations

import numpy as np

MAX_KEPT = 2**14
"""Steps kept at most: with 128 walkers and 7 parameters 120 MB."""


class Trace:
    """Samples of every `thin`-th step, `thin` doubling whenever more than `max_kept` steps are kept.

    What is kept depends on the number of steps alone, not on how they were cut into blocks.

    Parameters
    ----------
    max_kept : int

    Attributes
    ----------
    steps : int
        Steps seen.
    thin : int
        Step number thin, 2 thin, 3 thin, ... are kept.
    """

    def __init__(self, max_kept: int = MAX_KEPT) -> None:
        self.max_kept = max_kept
        self.steps, self.thin = 0, 1
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []

    def append(
        self,
        samples: np.ndarray,  # shape: (steps, walkers, n_parameters)
        log_prob: np.ndarray,  # shape: (steps, walkers)
    ) -> None:
        """Add consecutive steps."""
        first = -(self.steps + 1) % self.thin  # rows before the next multiple of thin
        self._parts.append((samples[first :: self.thin].copy(), log_prob[first :: self.thin].copy()))
        self.steps += len(samples)
        while self.steps // self.thin > self.max_kept:
            samples, log_prob = self.arrays()
            self._parts = [(samples[1::2].copy(), log_prob[1::2].copy())]
            self.thin *= 2

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the kept samples and their log probabilities."""
        if len(self._parts) > 1:
            samples, log_prob = zip(*self._parts, strict=True)
            self._parts = [(np.concatenate(samples), np.concatenate(log_prob))]
        return self._parts[0]

    def autocorrelation_time(self) -> np.ndarray:  # shape: (n_parameters,)
        """Return the integrated autocorrelation time in steps, thinned or not."""
        return self.thin * autocorrelation_time(self.arrays()[0])


def autocorrelation_time(
    samples: np.ndarray,  # shape: (steps, walkers, n_parameters)
) -> np.ndarray:  # shape: (n_parameters,)
    """Return emcee's estimate of the integrated autocorrelation time, in steps.

    The first fifth is left out as burn-in, so that a start away from the typical set does not count
    as correlation. The estimate is biased low until the chain is some tens of tau long.
    """
    kept = samples[len(samples) // 5 :]
    from emcee.autocorr import integrated_time  # noqa: PLC0415 (emcee brings scipy.stats, a second)

    with np.errstate(invalid="ignore", divide="ignore"):  # NaN for a parameter that has not moved
        return integrated_time(kept, tol=0, quiet=True)
