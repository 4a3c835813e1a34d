"""Upper limits of an amplitude from posterior samples, under a flat and under a log-uniform prior.

An amplitude that data do not see has a posterior that piles up at 0; a limit then depends on the prior.
Both are given: flat in the amplitude, as sampled, and flat in its logarithm above a stated floor, which
favours small values without end as the floor goes down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmbfit.errors import ParameterError

_BINS = 60


@dataclass(frozen=True)
class UpperLimit:
    """Limits at one probability.

    Attributes
    ----------
    probability : float
    flat : float
        Under the flat prior on [0, top] that was sampled.
    flat_error : float
        Monte Carlo error for the number of effective samples given.
    log_uniform : float
        Under a prior flat in the logarithm on [floor, top].
    floor, top : float
    informative : bool
        False where the prior's upper end, not the data, makes the limit: the posterior density there is
        more than a tenth of its maximum.
    """

    probability: float
    flat: float
    flat_error: float
    log_uniform: float
    floor: float
    top: float
    informative: bool


def upper_limit(
    samples: np.ndarray,  # shape: (n,)
    top: float,
    *,
    n_effective: float,
    probability: float = 0.95,
    floor_over_top: float = 1e-4,
) -> UpperLimit:
    """Return limits of an amplitude that was sampled under a flat prior on [0, top].

    Parameters
    ----------
    samples : numpy.ndarray, shape (n,)
    top : float
        Upper end of the prior.
    n_effective : float
        Effective number of samples.
    probability, floor_over_top : float

    Raises
    ------
    ParameterError
        If samples leave the prior, or a number is out of range.
    """
    samples = np.asarray(samples, dtype=float)
    if not (len(samples) and samples.min() >= 0 and samples.max() <= top):
        raise ParameterError(f"upper limit: expected samples in [0, {top:g}]")
    if not (0 < probability < 1 and 0 < floor_over_top < 1 and n_effective > 0):
        raise ParameterError(
            "upper limit: expected a probability and a floor in (0, 1), and effective samples"
        )
    density, edges = np.histogram(samples, bins=_BINS, range=(0.0, top), density=True)
    flat = float(np.quantile(samples, probability))
    here = float(np.interp(flat, (edges[1:] + edges[:-1]) / 2, density))
    error = float(np.sqrt(probability * (1 - probability) / n_effective) / max(here, 1e-12 / top))
    # per unit of ln f a log-uniform prior weighs the likelihood alone, which is what a flat one samples in f
    ln = np.linspace(np.log(floor_over_top * top), np.log(top), 4000)
    cumulative = np.cumsum(np.interp(np.exp(ln), (edges[1:] + edges[:-1]) / 2, density))
    log_uniform = float(np.exp(np.interp(probability, cumulative / cumulative[-1], ln)))
    edge = float(density[-3:].mean())
    return UpperLimit(
        probability, flat, error, log_uniform, floor_over_top * top, top, edge < 0.1 * float(density.max())
    )
