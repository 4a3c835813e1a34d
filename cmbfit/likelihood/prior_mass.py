"""How much of the priors is left where a theory is valid: what normalises every density of a posterior.

A prior is written as a product of densities; where the theory cannot be computed (its box) or makes no sense (its
`allowed`: spectra that are not positive, bounds of a model) it is cut. What is left is the prior, and its mass M divides
it. The box is counted in closed form, the rest by quasi-random points of the priors within the box. The marginal prior
of parameters at a point theta_0, which a Savage-Dickey ratio needs, follows from the same masses:
pi(theta_0) = (product of densities at theta_0) M(slice at theta_0) / M.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior, Uniform
from cmbfit.theory.base import allowed_by

_SCRAMBLES = 8
"""Independent sets of points: their scatter is the error."""

_POINTS = (64, 8192)
"""Of a set: at first, and at most."""

_ENOUGH = 2e-3
_CHUNK = 512  # points at once: P(k) at thousands of wavenumbers is in memory


@dataclass(frozen=True)
class PriorMass:
    """The share of the priors' mass that the theory leaves.

    Attributes
    ----------
    log_mass : float
        Its logarithm; 0 where nothing is cut.
    error : float
        Statistical error of `log_mass`; 0 where it is known in closed form.
    """

    log_mass: float
    error: float


def prior_mass(
    parameters: Sequence[str],
    priors: Mapping[str, Prior],
    joint: Sequence[JointGaussian],
    theory: Any,
    device: torch.device | str = "cpu",
) -> PriorMass:
    """Measure the share of the priors inside a theory's box and where its `allowed`, if it has one, is true.

    Parameters
    ----------
    parameters : sequence of str
        Of the posterior, the theory's first.
    priors : mapping of str to Prior
    joint : sequence of JointGaussian
        Replace the priors of the parameters that they name.
    theory : Theory
        On `device`.
    device : torch.device or str

    Notes
    -----
    Points are drawn, always the same, until the error is below 0.2% or there are 65,536. Where less than one of them is
    allowed the mass of one is returned, with an error of 1.
    """
    limits = {p: theory.box.get(p, (-math.inf, math.inf)) for p in parameters}
    jointly = {name for prior in joint for name in prior.names}
    log_box = sum(math.log(_inside(priors[p], *limits[p])) for p in parameters if p not in jointly)
    cut_jointly = any(math.isfinite(x) for p in jointly for x in limits[p])
    if not hasattr(theory, "allowed") and not cut_jointly:
        return PriorMass(log_box, 0.0)
    from scipy.stats import qmc  # noqa: PLC0415 (a second; most posteriors need no mass)

    rngs = [np.random.default_rng(seed) for seed in range(_SCRAMBLES)]
    sets = [(qmc.Sobol(len(parameters), rng=rng), rng) for rng in rngs]
    within = PriorWithin(parameters, priors, joint, limits)

    def allowed(theta: np.ndarray) -> int:
        """Count the points that are allowed."""
        inside = np.all(
            [(x >= low) & (x <= high) for x, (low, high) in zip(theta.T, limits.values(), strict=True)], 0
        )
        if hasattr(theory, "allowed"):
            rows = torch.from_numpy(theta[inside][:, : len(theory.parameters)]).to(device)
            return sum(int(allowed_by(theory, part).sum()) for part in rows.split(_CHUNK) if len(part))
        return int(inside.sum())

    found, drawn, size = np.zeros(_SCRAMBLES), 0, _POINTS[0]
    while True:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The balance properties", category=UserWarning)
            found += [allowed(within(sobol.random(size), rng)) for sobol, rng in sets]
        drawn += size
        share, n = found.sum() / (drawn * _SCRAMBLES), drawn * _SCRAMBLES
        scatter = found.std(ddof=1) / drawn / math.sqrt(_SCRAMBLES)
        error = max(scatter, 1 / n) / max(share, 1 / n)
        if error < _ENOUGH or drawn == _POINTS[1]:
            return PriorMass(log_box + math.log(max(share, 1 / n)), float(min(error, 1.0)))
        size = drawn


def log_marginal_prior(
    priors: Mapping[str, Prior], point: Mapping[str, float], whole: PriorMass, held: PriorMass
) -> float:
    """Return ln of the joint prior density of some parameters at a point, all others integrated out.

    `whole` is the mass of all priors, `held` that with the parameters held at the point
    (:func:`~cmbfit.inference.restrict.restrict`); none of them has a joint prior.
    """
    own = sum(priors[p].log_prob(torch.tensor([x], dtype=torch.float64)).item() for p, x in point.items())
    return own + held.log_mass - whole.log_mass


def _inside(prior: Prior, low: float, high: float) -> float:
    """Return the mass within limits, but never nothing."""
    return max(1 - prior.mass_outside(low, high), 1e-300)


class PriorWithin:
    """Points of the unit cube mapped to those of the priors within limits; those of joint priors lie beyond them too.

    Parameters
    ----------
    parameters : sequence of str
    priors : mapping of str to Prior
    joint : sequence of JointGaussian
        Replace the priors of the parameters that they name.
    limits : mapping of str to (low, high)
    """

    def __init__(
        self,
        parameters: Sequence[str],
        priors: Mapping[str, Prior],
        joint: Sequence[JointGaussian],
        limits: Mapping[str, tuple[float, float]],
    ) -> None:
        column = {p: i for i, p in enumerate(parameters)}
        jointly = {name for prior in joint for name in prior.names}
        self._single = {column[p]: _quantiles(priors[p], *limits[p]) for p in parameters if p not in jointly}
        self._joint = [([column[name] for name in prior.names], prior) for prior in joint]

    def __call__(
        self,
        cube: np.ndarray,  # shape: (n, n_parameters), in (0, 1)
        rng: np.random.Generator,
    ) -> np.ndarray:  # shape: (n, n_parameters)
        """Return the points; `rng` serves priors whose inverse distribution is not known."""
        theta = np.empty_like(cube)
        for i, quantiles in self._single.items():
            theta[:, i] = quantiles(cube[:, i], rng)
        for columns, prior in self._joint:
            factor = np.linalg.cholesky(np.array(prior.covariance))
            theta[:, columns] = np.array(prior.mean) + _normal_quantile(cube[:, columns]) @ factor.T
        return theta


def _quantiles(
    prior: Prior, low: float, high: float
) -> Callable[[np.ndarray, np.random.Generator], np.ndarray]:
    """Return the inverse distribution of a prior cut to limits; a prior that has none is drawn from until it is inside."""
    if isinstance(prior, Uniform):
        first, last = max(prior.low, low), min(prior.high, high)
        return lambda u, _: first + (last - first) * u
    if isinstance(prior, Gaussian):
        first, last = (0.5 * math.erfc((prior.mean - x) / (prior.std * math.sqrt(2))) for x in (low, high))
        return lambda u, _: prior.mean + prior.std * _normal_quantile(first + (last - first) * u)

    def rejected(u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        x = prior.sample(rng, len(u))
        for _ in range(1000):
            if not (bad := (x < low) | (x > high)).any():
                break
            x[bad] = prior.sample(rng, int(bad.sum()))
        return x

    return rejected


def _normal_quantile(u: np.ndarray) -> np.ndarray:
    return torch.special.ndtri(torch.from_numpy(np.ascontiguousarray(u))).numpy()
