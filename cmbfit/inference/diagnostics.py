"""What a set of independent ensembles says about its own convergence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmbfit.errors import SamplerError
from cmbfit.inference.chain import Chain


def burn_in(chain: Chain) -> int:
    """Return the steps to leave out: a fifth of the chain, at least five of its longest tau; none of independent draws."""
    if chain.independent:
        return 0
    return int(max(chain.steps // 5, np.ceil(5 * chain.tau.max())))


def kept_steps(chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps after burn-in, thinned to half the shortest tau.

    Returns
    -------
    samples : numpy.ndarray, shape (kept steps, walkers, n_parameters)
    log_prob : numpy.ndarray, shape (kept steps, walkers)
    """
    start = burn_in(chain)
    stride = max(1, int(chain.tau.min() / 2 / chain.thin))
    if start >= chain.steps:
        raise SamplerError(f"nothing is left of {chain.steps} steps after a burn-in of {start}")
    rows = slice(start // chain.thin, None, stride)
    return chain.samples[rows], chain.log_prob[rows]


def kept_samples(chain: Chain) -> tuple[np.ndarray, np.ndarray]:
    """Return what :func:`kept_steps` does as rows, walker by walker.

    Programs that are handed rows alone (GetDist, ArviZ) take their order for time: in this order neighbours are steps of
    one walker, and the autocorrelation that they find is a walker's. Step by step they would see walkers next to each
    other, and find none.

    Returns
    -------
    samples : numpy.ndarray, shape (n, n_parameters)
        Ordered by walker, then step.
    log_prob : numpy.ndarray, shape (n,)
    """
    samples, log_prob = kept_steps(chain)
    return samples.swapaxes(0, 1).reshape(-1, samples.shape[2]), log_prob.T.reshape(-1)


def effective_samples(chain: Chain) -> np.ndarray:
    """Return the effective number of independent samples of each parameter after burn-in."""
    return (chain.steps - burn_in(chain)) * chain.samples.shape[1] / chain.tau


def gelman_rubin(chains: Sequence[Chain]) -> np.ndarray:
    """Return split R - 1 of each parameter over independent ensembles.

    Gelman & Rubin (1992), with every ensemble cut into an earlier and a later half (Gelman et al. 2013,
    Bayesian Data Analysis, section 11.4), so that a common drift shows too: R^2 = (W (n-1)/n + B/n) / W
    over all halves. Walkers of one ensemble depend on each other and must not be used as chains. With n
    effective samples in a half, R - 1 scatters by about 1/n around zero when all is well.

    Returns
    -------
    numpy.ndarray, shape (n_parameters,)
    """
    if len(chains) < 2:
        raise SamplerError("R - 1 needs at least two independent ensembles")
    halves = []
    for chain in chains:
        steps = kept_steps(chain)[0]
        middle = len(steps) // 2
        halves += [half.reshape(-1, steps.shape[2]) for half in (steps[:middle], steps[-middle:])]
    within = np.mean([s.var(0, ddof=1) for s in halves], axis=0)
    between = np.var([s.mean(0) for s in halves], axis=0, ddof=1)
    n_effective = np.mean([effective_samples(c) for c in chains], axis=0) / 2
    return np.sqrt((n_effective - 1) / n_effective + between / within) - 1
