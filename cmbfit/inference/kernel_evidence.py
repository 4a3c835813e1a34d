"""Evidence from a chain: importance sampling with a proposal of the chain's own shape.

A larger model's own parameters have plateaus, walls, bends and several modes; the others given them are nearly normal. So the
proposal is q(b, s) = q(b) t(s; m + B (b - <b>), S): for the model's own parameters b a kernel estimate of the chain,
(1/M) sum_i t(b; b_i, h^2 C_b) (West 1993, J. R. Stat. Soc. B 55, 409), for the rest the chain's linear regression
on b, its residual covariance widened. Then Z = <w>, w = L pi / q, with the error from the weights themselves
(Cappe et al. 2004, J. Comp. Graph. Stat. 13, 907). What no chain visited stays unseen, as in the chain's own means; the
effective fraction says how well q fits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln, logsumexp

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.inference.evidence import EvidenceResult, EvidenceTask
from cmbfit.inference.importance import METHOD as IMPORTANCE
from cmbfit.inference.importance import ImportanceSettings, WeightedSamples
from cmbfit.inference.maximum import maximum_of_chain
from cmbfit.likelihood.posterior import Posterior
from cmbfit.theory.parameters import LCDM

_DOF = 6
"""Of the t: tails heavier than a normal's."""

_WIDER = 1.15
"""Standard deviations of the proposal over those of the chain, for the parameters without kernels."""

_KERNELS = 1000
_CHUNK = 500  # proposed points at a time: distances to all kernels are in memory

_LEAST_FRACTION = 0.01


def kernel_evidence(
    posterior: Posterior,
    chain: np.ndarray,  # shape: (n_chain, n_parameters)
    log_prob: np.ndarray,  # shape: (n_chain,)
    rng: np.random.Generator,
    *,
    own: Sequence[str],
    n: int = 20_000,
) -> WeightedSamples:
    """Compute the evidence and weighted samples of a posterior from its chain.

    Parameters
    ----------
    posterior : Posterior
    chain : numpy.ndarray, shape (n_chain, n_parameters)
        In the order of the posterior's parameters, after burn-in.
    log_prob : numpy.ndarray, shape (n_chain,)
        ln (L prior) there, to find the maximum from.
    rng : numpy.random.Generator
    own : sequence of str
        Parameters of any shape, which get the kernels: a few, the rest being nearly normal given them. May be empty.
    n : int
        Points drawn.

    Raises
    ------
    SamplerError
        If the chain has fewer than a hundred points, or fewer than 1% of the drawn ones count: use nested sampling.
    """
    if len(chain) < 100:
        raise SamplerError(f"evidence from a chain: expected at least 100 points, found {len(chain)}")
    names = posterior.parameters
    mine = np.array([p in own for p in names])
    points = np.empty((n, len(names)))
    log_q = np.zeros(n)
    if mine.any():
        points[:, mine], log_q = _kernels(chain[:, mine], n, rng)
    if not mine.all():
        points[:, ~mine], given = _conditional(chain[:, ~mine], chain[:, mine], points[:, mine], rng)
        log_q = log_q + given
    scale = dict(zip(names, chain.std(0).tolist(), strict=True))
    weighted = WeightedSamples.weigh(
        posterior, points, log_q, lambda: maximum_of_chain(posterior, scale, chain, log_prob, starts=1)
    )
    if weighted.ess_fraction < _LEAST_FRACTION:
        raise SamplerError(
            f"evidence from a chain: only {weighted.ess_fraction:.1%} of the points count; use nested sampling"
        )
    return weighted


def _kernels(chain: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw n points around points of the chain; returns them and ln of the mixture's density."""
    centres = chain[rng.choice(len(chain), min(_KERNELS, len(chain)), replace=False)]
    d = chain.shape[1]
    # Silverman's bandwidth for a normal density in d dimensions
    width = (4 / ((d + 2) * len(centres))) ** (1 / (d + 4))
    factor = width * _factor(np.atleast_2d(np.cov(chain.T)))
    points = centres[rng.integers(len(centres), size=n)] + _kicks(n, d, rng) @ factor.T
    inverse = np.linalg.inv(factor)
    whitened, middle = points @ inverse.T, centres @ inverse.T
    size = np.square(middle).sum(1)
    out = []
    for rows in np.array_split(whitened, max(1, n // _CHUNK)):
        distance = np.square(rows).sum(1)[:, None] - 2 * rows @ middle.T + size
        out.append(logsumexp(_log_t(distance.clip(min=0), factor), axis=1))
    return points, np.concatenate(out) - math.log(len(centres))


def _conditional(
    chain: np.ndarray, given_chain: np.ndarray, given: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw the chain's other parameters at points of the `given` ones; returns them and ln of their density."""
    middle, centre = chain.mean(0), given_chain.mean(0)
    slope, *_ = np.linalg.lstsq(given_chain - centre, chain - middle, rcond=None)
    factor = _WIDER * _factor(np.atleast_2d(np.cov((chain - middle - (given_chain - centre) @ slope).T)))
    kicks = _kicks(len(given), chain.shape[1], rng)
    return middle + (given - centre) @ slope + kicks @ factor.T, _log_t(np.square(kicks).sum(1), factor)


def _factor(covariance: np.ndarray) -> np.ndarray:
    """Return F of a t whose covariance is F F^T dof / (dof - 2) = `covariance`."""
    return np.linalg.cholesky(covariance) * math.sqrt((_DOF - 2) / _DOF)


def _kicks(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Draw from the t of unit scale, shape (n, d)."""
    return rng.standard_normal((n, d)) / np.sqrt(rng.chisquare(_DOF, n) / _DOF)[:, None]


def _log_t(distance: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Return ln of the t's density at squared distances in units of its scale."""
    d = len(factor)
    norm = gammaln((_DOF + d) / 2) - gammaln(_DOF / 2) - d / 2 * math.log(_DOF * math.pi)
    norm -= float(np.log(np.diag(factor)).sum())
    return norm - (_DOF + d) / 2 * np.log1p(distance / _DOF)


@dataclass(frozen=True)
class KernelSettings:
    """How an evidence is computed around a chain.

    Parameters
    ----------
    draws : int
        Points drawn.
    """

    draws: int = 20_000

    def __post_init__(self) -> None:
        if self.draws < 1000:
            raise ConfigError(f"draws: expected at least 1000, found {self.draws}")


class KernelEvidence:
    """Evidence around the fit's own chain; see :class:`~cmbfit.inference.evidence.EvidenceMethod`.

    A model with parameters held fixed has no chain of its own: importance sampling around the maximum takes its place.
    """

    settings = KernelSettings

    def compute(self, task: EvidenceTask, settings: KernelSettings) -> EvidenceResult:  # noqa: D102 (the protocol's)
        if task.fixed:
            return IMPORTANCE.compute(task, ImportanceSettings(draws=settings.draws))
        if task.samples is None:
            raise ConfigError(
                "comparison.evidence.method: chain needs the fit's chain; run the fit first, or take another method"
            )
        points = task.samples.joined[:, : task.samples.n_sampled]
        weighted = kernel_evidence(
            task.posterior,
            points,
            np.concatenate(task.samples.log_prob),
            np.random.default_rng(task.seed),
            own=[p for p in task.posterior.theory.parameters if p not in LCDM],
            n=settings.draws,
        )
        return weighted.result("importance sampling around its chain")


METHOD = KernelEvidence()
