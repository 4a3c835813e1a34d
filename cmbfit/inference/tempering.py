"""Particles from the prior to the posterior, then importance draws: evidence and independent samples, in batches.

A cloud of particles follows pi(theta) L(theta)^beta from beta = 0 to 1 (Neal 2001, Stat. Comput. 11, 125; Del Moral, Doucet &
Jasra 2006, J. R. Stat. Soc. B 68, 411). Each rise of beta leaves half of the particles effective; they are drawn again by
their weights, a mixture of t distributions is fitted to them, and Metropolis moves follow, by turns independent draws from
that mixture and local steps of its covariance. All particles are evaluated in one batch. At beta = 1 a mixture is fitted
twice more, to draws from the one before, and the last one's draws, weighted by w = L pi / q, give Z = <w>, whose error the
weights themselves know. Where no mixture has the posterior's shape the tempering's own ln Z is left: the product over levels of the
mean weight that a rise of beta gives, with the error of independent particles at each, which independent runs must confirm.
"""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass

import numpy as np

from cmbfit.checkpoint import Checkpoint
from cmbfit.errors import SamplerError
from cmbfit.inference.importance import WeightedSamples, evaluate
from cmbfit.inference.mixture import choose_mixture
from cmbfit.inference.stretched import Stretched
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.prior_mass import PriorWithin

log = logging.getLogger(__name__)

_LEFT = 0.5
"""Effective share of the particles that a rise of beta leaves."""

_WIDER = 1.1
"""Standard deviations of the last proposals over those of the particles."""

_WANTED = 0.25
"""Acceptance of local steps, to which their length is tuned."""

_LEVELS = 400
_SETTLING = 3  # rounds of moves at beta = 1, of particles that are the samples themselves
_TRIES = 200  # batches of the prior in which particles of non-zero likelihood are looked for

_SAVING = 0.05
"""Share of the time that may go into checkpoints."""


@dataclass
class Cloud:
    """Particles on their way.

    Attributes
    ----------
    theta : numpy.ndarray, shape (n, d)
    log_like, log_prior : numpy.ndarray, shape (n,)
    beta : float
    level : int
    components : int
        Of the mixture that the last level used.
    accepted : float
        Share of its independent draws that were accepted.
    step : float
        Length of local steps in units of the mixture's widths.
    log_z, variance : float
        The tempering's own ln Z so far, and its variance if the particles of each level were independent.
    """

    theta: np.ndarray
    log_like: np.ndarray
    log_prior: np.ndarray
    beta: float = 0.0
    level: int = 0
    components: int = 1
    accepted: float = 0.0
    step: float = 0.0
    log_z: float = 0.0
    variance: float = 0.0


def temper(
    posterior: Posterior, particles: int, moves: int, most: int, seed: int, store: Checkpoint | None = None
) -> Cloud:
    """Carry particles from the prior to the posterior.

    Parameters
    ----------
    posterior : Posterior
    particles, moves : int
        How many, and how often each is moved at a level.
    most : int
        Components of the mixture, at most.
    seed : int
        Each level has random numbers of its own, so that a killed run goes on to the same end.
    store : Checkpoint, optional

    Raises
    ------
    SamplerError
        If no point of the prior has a likelihood above zero, or the likelihood is too rough to be climbed.
    """
    kept = None if store is None else store.get("cloud")
    if kept is None:
        theta, log_like, log_prior = _from_prior(posterior, particles, np.random.default_rng([seed, 0]))
        cloud = Cloud(theta, log_like, log_prior, step=2 / math.sqrt(theta.shape[1]))
    else:
        scalars = {k: v.item() for k, v in kept.items() if v.ndim == 0}
        cloud = Cloud(kept["theta"], kept["log_like"], kept["log_prior"], **scalars)
        log.info("resuming at level %d, beta %.3g", cloud.level, cloud.beta)
    saved, cost = time.perf_counter(), 0.0
    while cloud.beta < 1:
        if cloud.level == _LEVELS:
            raise SamplerError(f"tempering: beta is {cloud.beta:.2g} after {_LEVELS} levels")
        _climb(posterior, cloud, moves, most, np.random.default_rng([seed, cloud.level + 1]))
        now = time.perf_counter()
        if store is not None and (cloud.beta == 1 or now - saved > cost / _SAVING):
            store.put("cloud", **vars(cloud))
            log.info("level %d, beta %.3g", cloud.level, cloud.beta)
            saved = time.perf_counter()
            cost = saved - now
    return cloud


def settle(posterior: Posterior, cloud: Cloud, moves: int, most: int, seed: int) -> WeightedSamples:
    """Return the particles at beta = 1 as samples of equal weight, moved on, with the tempering's own ln Z.

    Parameters
    ----------
    posterior : Posterior
    cloud : Cloud
        At beta = 1.
    moves : int
        Of each particle, :data:`_SETTLING` times: those that shared a place part.
    most : int
        Components of the mixture that proposes, at most.
    seed : int
    """
    for i in range(_SETTLING):
        _climb(posterior, cloud, moves, most, np.random.default_rng([seed, _LEVELS + 2 + i]))
    n = len(cloud.theta)
    even, error = np.full(n, 1 / n), math.sqrt(cloud.variance)
    return WeightedSamples(
        posterior.parameters, cloud.theta, cloud.log_like, even, cloud.log_z, error, None, n
    )


def weigh_draws(posterior: Posterior, cloud: Cloud, draws: int, most: int, seed: int) -> WeightedSamples:
    """Return importance draws from a mixture fitted to particles at beta = 1.

    Parameters
    ----------
    posterior : Posterior
    cloud : Cloud
    draws : int
        Of the last round; the two before, to which mixtures are fitted, take a fifth each.
    most : int
        Components of the mixture, at most.
    seed : int
    """
    rng = np.random.default_rng([seed, _LEVELS + 1])
    d = cloud.theta.shape[1]
    limits = np.array(list(posterior.support.values())).T
    theta, components = cloud.theta, cloud.components
    for last in (False, False, True):
        map_of = Stretched.around(theta, *limits)
        y = map_of.into(theta)
        mixture = choose_mixture(y, components, most, rng).widened(_WIDER)
        components = len(mixture)
        drawn = mixture.draw(draws if last else max(draws // 5, 100 * d), rng)
        points, slope = map_of.back(drawn)
        weighed = WeightedSamples.weigh(posterior, points, mixture.log_density(drawn) - slope)
        fraction = weighed.ess_fraction
        log.info("%d components, effective fraction %.3f", len(mixture), fraction)
        effective = fraction * weighed.drawn
        if effective > 20 * d:  # else the particles know better
            copies = _systematic(
                weighed.weights, int(min(max(2 * effective, len(theta)), 4 * len(theta))), rng
            )
            theta = weighed.points[copies]
    return weighed


def _from_prior(
    posterior: Posterior, n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw points of non-zero likelihood from the prior."""
    names = posterior.parameters
    limits = {p: posterior.theory.box.get(p, (-math.inf, math.inf)) for p in names}
    draw = PriorWithin(names, posterior.priors, posterior.joint_priors, limits)
    found: list[tuple[np.ndarray, ...]] = []
    for _ in range(_TRIES):
        theta = draw(rng.random((n, len(names))), rng)
        log_prob, log_prior = evaluate(posterior, theta)
        good = np.isfinite(log_prob)
        found.append((theta[good], log_prob[good] - log_prior[good], log_prior[good]))
        if sum(len(x[0]) for x in found) >= n:
            break
    theta, log_like, log_prior = (np.concatenate(x)[:n] for x in zip(*found, strict=True))
    if len(theta) < n:
        raise SamplerError(
            f"tempering: {len(theta)} of {_TRIES * n} points of the prior have a likelihood above zero; expected {n}"
        )
    return theta, log_like, log_prior


def _climb(posterior: Posterior, cloud: Cloud, moves: int, most: int, rng: np.random.Generator) -> None:
    """Raise beta by one level and move the particles there."""
    rise = _rise(cloud.log_like, 1 - cloud.beta)
    top = float(cloud.log_like.max())
    w = np.exp(rise * (cloud.log_like - top))
    cloud.log_z += rise * top + math.log(w.mean())
    cloud.variance += float(w.var() / w.mean() ** 2 / len(w))
    rows = _systematic(w / w.sum(), len(w), rng)
    theta, log_like, log_prior = cloud.theta[rows], cloud.log_like[rows], cloud.log_prior[rows]
    cloud.beta = 1.0 if rise == 1 - cloud.beta else cloud.beta + rise
    map_of = Stretched.around(theta, *np.array(list(posterior.support.values())).T)
    y = map_of.into(theta)
    _, slope = map_of.back(y)
    mixture = choose_mixture(y, cloud.components, most, rng)
    q = mixture.log_density(y)
    independent: list[float] = []
    local: list[float] = []
    for move in range(moves):
        jump = move % 2 == 0
        new = mixture.draw(len(y), rng) if jump else y + cloud.step * mixture.kicks(len(y), rng)
        points, new_slope = map_of.back(new)
        log_prob, new_prior = evaluate(posterior, points)
        with np.errstate(invalid="ignore"):
            new_like = np.where(np.isfinite(log_prob), log_prob - new_prior, -np.inf)
            change = cloud.beta * (new_like - log_like) + new_prior - log_prior + new_slope - slope
        new_q = mixture.log_density(new)
        if jump:
            change = change + q - new_q
        yes = np.log(rng.random(len(y))) < np.where(np.isneginf(new_like), -np.inf, change)
        y[yes], slope[yes], q[yes], theta[yes] = new[yes], new_slope[yes], new_q[yes], points[yes]
        log_like[yes], log_prior[yes] = new_like[yes], new_prior[yes]
        (independent if jump else local).append(float(yes.mean()))
        if not jump:
            cloud.step *= math.exp(local[-1] - _WANTED)
    cloud.theta, cloud.log_like, cloud.log_prior = theta, log_like, log_prior
    cloud.level, cloud.components = cloud.level + 1, len(mixture)
    cloud.accepted = float(np.mean(independent))
    log.debug(
        "level %d: beta %.4g, %d components, %.2f of draws and %.2f of steps accepted",
        cloud.level, cloud.beta, len(mixture), cloud.accepted, np.mean(local) if local else math.nan,
    )  # fmt: skip


def _rise(log_like: np.ndarray, most: float) -> float:
    """Return the rise of beta that leaves :data:`_LEFT` of the particles effective, at most `most`."""
    relative = log_like - log_like.max()

    def left(rise: float) -> float:
        w = np.exp(rise * relative)
        return float(w.sum() ** 2 / np.square(w).sum() / len(w))

    if left(most) >= _LEFT:
        return most
    low, high = 0.0, most
    # beta begins many decades below 1 where the prior is wide: halve the interval until it is known to a percent
    while high - low > 0.01 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if left(middle) >= _LEFT else (low, middle)
    return low if low > 0 else high


def _systematic(weights: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:  # shape: (n,)
    """Draw n rows by their weights, which sum to 1, from one comb (Kitagawa 1996)."""
    return np.searchsorted(np.cumsum(weights), (np.arange(n) + rng.random()) / n).clip(max=len(weights) - 1)


def equal_weight(weighed: WeightedSamples, rng: np.random.Generator) -> np.ndarray:
    """Return rows of weighted draws such that each counts the same: by rejection, in random order.

    A draw of an extraordinary weight would reject nearly all others; it is then taken more than once, so that at least a
    quarter of the effective number is left.
    """
    w = weighed.weights
    ceiling = min(float(w.max()), 4 * float(np.square(w).sum()))
    copies = np.floor(w / ceiling + rng.random(len(w))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(w)), copies))
