r"""Evidence, and weighted samples, of a posterior with one mode: importance sampling around its maximum.

Points are drawn from a multivariate t with the normal approximation's centre and a wider copy of its
covariance, and weighted by w = L pi / q. Then Z = <w>, whose error is known from the weights
themselves, and any mean over the posterior is a weighted mean. Two rounds adapt centre and covariance
(Cappe et al. 2004, J. Comp. Graph. Stat. 13, 907). It costs seconds where nested sampling costs minutes and
shares nothing with it, so that each checks the other; but a second mode that the maximum does not know of stays
unseen, and the effective fraction of the weights says when the shape is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.inference.evidence import EvidenceResult, EvidenceTask
from cmbfit.inference.maximum import BestFit, find_maximum, laplace_factor
from cmbfit.inference.tension import Evidence
from cmbfit.likelihood.posterior import Posterior

_DOF = 6
"""Of the t: tails heavier than a normal's, and a covariance that exists."""

_WIDER = 1.15
"""Standard deviations of the proposal over those of the normal approximation."""

LEAST_FRACTION = 0.05
"""Effective fraction of the draws below which neither ln Z nor its error is believed."""

_LEAST_TO_ADAPT = 10
"""Effective points a parameter from which a covariance is taken for the next round."""


@dataclass(frozen=True)
class WeightedSamples:
    """Weighted points of a posterior and its evidence.

    Attributes
    ----------
    parameters : tuple of str
    points : numpy.ndarray, shape (n, n_parameters)
        Those of a probability above zero.
    log_like : numpy.ndarray, shape (n,)
        ln L, without priors.
    weights : numpy.ndarray, shape (n,)
        Sum to 1.
    log_z, log_z_error : float
        ln Z under the normalised prior, and its statistical error.
    best : BestFit or None
        The maximum, where the method looks for it.
    drawn : int
        How many points were drawn, those of probability zero among them.
    """

    parameters: tuple[str, ...]
    points: np.ndarray
    log_like: np.ndarray
    weights: np.ndarray
    log_z: float
    log_z_error: float
    best: BestFit | None
    drawn: int

    @classmethod
    def weigh(
        cls,
        posterior: Posterior,
        points: np.ndarray,  # shape: (n, n_parameters)
        log_q: np.ndarray,  # shape: (n,)
        find_best: Callable[[], BestFit | None] = lambda: None,
    ) -> WeightedSamples:
        """Weigh points drawn from a proposal of density q: w = L pi / q, Z = <w>.

        `find_best` is called once it is known that points count at all.

        Raises
        ------
        SamplerError
            If no point has a likelihood above zero.
        """
        log_prob, log_prior = evaluate(posterior, points)
        log_w = log_prob - log_q
        top = float(log_w.max())
        if not math.isfinite(top):
            raise SamplerError("importance sampling: no point has a likelihood above zero")
        w = np.exp(log_w - top)
        used = w > 0
        return cls(
            posterior.parameters,
            points[used],
            log_prob[used] - log_prior[used],
            w[used] / w.sum(),
            top + math.log(w.mean()),
            float(w.std(ddof=1) / w.mean() / math.sqrt(len(w))),
            find_best(),
            len(w),
        )

    @property
    def ess_fraction(self) -> float:
        """Effective fraction 1/(n sum w^2) of the n points drawn."""
        return float(1 / (self.drawn * np.square(self.weights).sum()))

    def evidence(self) -> Evidence:
        """Return ln Z, Kullback-Leibler divergence and model dimensionality."""
        return Evidence.from_samples(self.log_z, self.log_like, self.weights)

    def result(self, method: str) -> EvidenceResult:
        """Return what an evidence method hands on."""
        diagnosis = {"ess_fraction": self.ess_fraction, **vars(self.evidence())}
        return EvidenceResult(method, self.log_z, self.log_z_error, diagnosis=diagnosis)

    def moments(
        self,
    ) -> tuple[np.ndarray, np.ndarray]:  # shapes: (n_parameters,), (n_parameters, n_parameters)
        """Return the posterior's mean and covariance."""
        mean = self.weights @ self.points
        centred = self.points - mean
        return mean, (self.weights[:, None] * centred).T @ centred


def importance_sample(
    posterior: Posterior,
    start: Mapping[str, float],
    scale: Mapping[str, float],
    rng: np.random.Generator,
    *,
    n: int = 20_000,
    rounds: int = 3,
    starts: int = 1,
) -> WeightedSamples:
    """Compute the evidence and weighted samples of a posterior with one mode.

    Parameters
    ----------
    posterior : Posterior
    start, scale : mapping of str to float
        Where the maximum is sought, and rough widths.
    rng : numpy.random.Generator
    n : int
        Points of the last round; the earlier ones, which adapt the proposal, take a fifth.
    rounds : int
    starts : int
        Starting points of the optimiser.

    Raises
    ------
    SamplerError
        If fewer than 5% of the points count: the posterior is not of this shape; sample it by nested sampling.
    """
    from scipy import stats  # noqa: PLC0415 (a second)

    best = find_maximum(posterior, start, scale, starts=starts, rng=rng)
    centre = np.array([best.point[p] for p in posterior.parameters])
    factor = laplace_factor(posterior, best.point, scale)
    covariance = _WIDER**2 * factor @ factor.T
    for i in range(rounds):
        proposal = stats.multivariate_t(centre, covariance * (_DOF - 2) / _DOF, _DOF)
        points = proposal.rvs(n if i == rounds - 1 else n // 5, random_state=rng)
        weighted = WeightedSamples.weigh(posterior, points, proposal.logpdf(points), lambda: best)
        if i == rounds - 1:
            break
        if weighted.ess_fraction * weighted.drawn > _LEAST_TO_ADAPT * len(centre):
            centre = weighted.weights @ weighted.points
            covariance = _WIDER**2 * np.cov(weighted.points.T, aweights=weighted.weights)
    if weighted.ess_fraction < LEAST_FRACTION:
        raise SamplerError(
            f"importance sampling: only {weighted.ess_fraction:.1%} of the points count; the posterior is far from one "
            "peak: use nested sampling"
        )
    return weighted


def evaluate(posterior: Posterior, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ln (L prior) and ln prior of points."""
    x = torch.from_numpy(np.ascontiguousarray(points)).to(posterior.device)
    with torch.no_grad():
        return posterior.log_prob(x).cpu().numpy(), posterior.log_prior(x).cpu().numpy()


@dataclass(frozen=True)
class ImportanceSettings:
    """How an evidence is computed around the maximum.

    Parameters
    ----------
    draws : int
        Points drawn.
    starts : int
        Of the optimiser that looks for the maximum.
    """

    draws: int = 20_000
    starts: int = 4

    def __post_init__(self) -> None:
        if self.draws < 1000:
            raise ConfigError(f"draws: expected at least 1000, found {self.draws}")
        if self.starts < 1:
            raise ConfigError(f"starts: expected at least 1, found {self.starts}")


class ImportanceEvidence:
    """Evidence by importance sampling around the maximum; see :class:`~cmbfit.inference.evidence.EvidenceMethod`."""

    settings = ImportanceSettings

    def compute(self, task: EvidenceTask, settings: ImportanceSettings) -> EvidenceResult:  # noqa: D102 (the protocol's)
        weighted = importance_sample(
            task.posterior,
            task.start.centre,
            task.start.scale,
            np.random.default_rng(task.seed),
            n=settings.draws,
            starts=settings.starts,
        )
        return weighted.result("importance sampling")


METHOD = ImportanceEvidence()
