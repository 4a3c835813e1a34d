"""The best fit and the curvature around it, by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import minimize

from cmbfit.errors import SamplerError
from cmbfit.inference.gradients import log_prob_and_gradient
from cmbfit.likelihood.posterior import Posterior

_LOOK_AT = 20_000
"""Likeliest points of a chain among which starts are looked for."""


@dataclass(frozen=True)
class BestFit:
    """The maximum of a posterior.

    Attributes
    ----------
    point : dict of str to float
    log_prob : float
    chi2 : dict of str to float
        -2 ln L of each data set there.
    evaluations : int
    starts : int
        Starting points of the optimiser.
    agreed : int
        How many of them ended within 0.01 of this maximum, in ln (L prior).
    """

    point: dict[str, float]
    log_prob: float
    chi2: dict[str, float]
    evaluations: int
    starts: int = 1
    agreed: int = 1


def find_maximum(
    posterior: Posterior,
    start: Mapping[str, float],
    scale: Mapping[str, float],
    *,
    starts: int = 1,
    rng: np.random.Generator | None = None,
    candidates: np.ndarray | None = None,
) -> BestFit:
    """Maximise ln (L prior) by L-BFGS-B with autograd gradients, in units of `scale`.

    Parameters
    ----------
    posterior : Posterior
    start, scale : mapping of str to float
        A point of non-zero probability and the rough width of each parameter.
    starts : int
        Above 1, the optimiser also starts from the likeliest of 200 `starts` points that are drawn
        within 5 `scale`: a second maximum, or a stuck optimiser, shows in :attr:`BestFit.agreed`.
    rng : numpy.random.Generator, optional
        Draws them; needed for `starts` above 1 without `candidates`.
    candidates : numpy.ndarray, shape (n, n_parameters), optional
        Starting points instead of `start` and drawn ones, such as :func:`spread_out` takes from a chain.

    Raises
    ------
    SamplerError
        If the start has zero probability or the optimiser ends below it.
    """
    names = posterior.parameters
    origin = np.array([start[p] for p in names])
    width = np.array([scale[p] for p in names])
    first = np.zeros((1, len(names)))
    if candidates is not None:
        origin, first = candidates[0], (candidates - candidates[0]) / width
    if not np.isfinite(_log_prob(posterior, origin[None])[0]):
        raise SamplerError(f"the starting point has zero probability: {dict(start)}")
    if candidates is None and starts > 1:
        if rng is None:
            raise SamplerError("several starts need a random generator")
        drawn = 5 * rng.standard_normal((200 * starts, len(names)))
        order = np.argsort(-_log_prob(posterior, origin + width * drawn))
        first = np.concatenate([first, drawn[order[: starts - 1]]])
    results = [_ascend(posterior, origin, width, x) for x in first]
    best = min(results, key=lambda r: r.fun)
    point = origin + width * best.x
    with torch.no_grad():
        terms = posterior.log_likelihoods(torch.from_numpy(point).to(posterior.device)[None])
    return BestFit(
        dict(zip(names, point.tolist(), strict=True)),
        -float(best.fun),
        {name: -2 * value.item() for name, value in terms.items()},
        sum(int(r.nfev) for r in results),
        len(results),
        sum(bool(r.fun < best.fun + 0.01) for r in results),
    )


def spread_out(
    points: np.ndarray,  # shape: (n, n_parameters)
    log_prob: np.ndarray,  # shape: (n,)
    count: int,
) -> np.ndarray:  # shape: (<= count, n_parameters)
    """Return the likeliest points of a chain that lie apart from each other: starts for an optimiser in each of its modes.

    The likeliest point, then the likeliest ones at three standard deviations (root mean square over the parameters)
    from all that are taken: other modes; and if these are too few, those at one.

    Examples
    --------
    >>> x = np.array([[0.0], [0.1], [5.0], [9.0]])
    >>> spread_out(x, np.array([0.0, -0.1, -3.0, -9.0]), 2).ravel().tolist()
    [0.0, 5.0]
    """
    white = (points - points.mean(0)) / points.std(0)
    order = np.argsort(-log_prob, kind="stable")[:_LOOK_AT]
    chosen = [int(order[0])]
    for apart in (3.0, 1.0):
        nearest = np.min([np.square(white[order] - white[j]).mean(1) for j in chosen], axis=0)
        while len(chosen) < count and (far := nearest >= apart**2).any():
            chosen.append(int(order[np.argmax(far)]))
            nearest = np.minimum(nearest, np.square(white[order] - white[chosen[-1]]).mean(1))
    return points[chosen]


def maximum_of_chain(
    posterior: Posterior,
    scale: Mapping[str, float],
    points: np.ndarray,  # shape: (n, n_parameters)
    log_prob: np.ndarray,  # shape: (n,)
    *,
    starts: int = 4,
) -> BestFit:
    """Maximise ln (L prior) from the likeliest points of a chain that lie apart: plateaus and several modes.

    From one start an optimiser may end on a plateau, or in the nearest mode.

    Parameters
    ----------
    posterior : Posterior
    scale : mapping of str to float
        The rough width of each parameter.
    points : numpy.ndarray, shape (n, n_parameters)
        The chain, in the order of the posterior's parameters.
    log_prob : numpy.ndarray, shape (n,)
    starts : int
    """
    candidates = spread_out(points, log_prob, starts)
    first = dict(zip(posterior.parameters, candidates[0].tolist(), strict=True))
    return find_maximum(posterior, first, scale, candidates=candidates)


def _log_prob(posterior: Posterior, theta: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return posterior.log_prob(torch.from_numpy(theta).to(posterior.device)).cpu().numpy()


def _value_and_gradient(posterior: Posterior, theta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ln (L prior), shape (n,), and its gradient, shape (n, n_parameters); zero outside."""
    at = torch.from_numpy(theta).to(posterior.device)
    value, gradient = (x.cpu().numpy() for x in log_prob_and_gradient(posterior, at))
    if (bad := np.isfinite(value) & ~np.isfinite(gradient).all(1)).any():
        point = dict(zip(posterior.parameters, theta[bad][0].tolist(), strict=True))
        raise SamplerError(
            f"the gradient of ln P is not finite at {point}, so that no optimiser can go on from there; narrow the prior or "
            "sample with emcee or nested, which need no gradients"
        )
    return value, gradient


def _ascend(posterior: Posterior, origin: np.ndarray, width: np.ndarray, first: np.ndarray) -> Any:
    walls = np.array(list(posterior.support.values()))
    bounds = ((walls - origin[:, None]) / width[:, None]).tolist()

    def minus_log_prob(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _value_and_gradient(posterior, (origin + width * x)[None])
        if not np.isfinite(value[0]):
            return np.inf, np.zeros_like(x)
        return -float(value[0]), -gradient[0] * width

    before, _ = minus_log_prob(first)
    # maxls: the SimAll table is piecewise linear, so line searches near the maximum meet kinks
    result = minimize(
        minus_log_prob,
        first,
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 500, "maxls": 60, "ftol": 1e-13, "gtol": 1e-6},
    )
    if not result.fun <= before:
        raise SamplerError(f"the optimiser found nothing better than its start: {result.message}")
    return result


def laplace_factor(
    posterior: Posterior, best: Mapping[str, float], scale: Mapping[str, float], *, rounds: int = 3
) -> np.ndarray:  # shape: (n_parameters, n_parameters)
    """Return F with F F^T the covariance of the normal approximation around the maximum.

    The curvature is taken from differences of gradients over one standard deviation on both sides, in
    coordinates that are whitened anew in each round: tables with a kink at each row (SimAll) have no
    second derivative worth the name, but a mean slope of the gradient. Where one side lies beyond a
    wall the other side alone counts; a direction without any curvature keeps its `scale`.

    Parameters
    ----------
    posterior : Posterior
    best : mapping of str to float
        The maximum.
    scale : mapping of str to float
        Rough widths, for the first round.
    rounds : int
    """
    names = posterior.parameters
    centre = np.array([best[p] for p in names])
    n = len(names)
    factor = np.diag([scale[p] for p in names])
    for _ in range(rounds):
        points = np.concatenate([centre[None], centre + factor.T, centre - factor.T])
        value, gradient = _value_and_gradient(posterior, points)
        inside = np.isfinite(value)
        slope = gradient @ factor  # in units of the factor's columns; shape: (1 + 2n, n)
        curvature = np.eye(n)
        for j in range(n):
            up, down = (j + 1, inside[j + 1]), (j + 1 + n, inside[j + 1 + n])
            if up[1] or down[1]:
                high, low = up[0] if up[1] else 0, down[0] if down[1] else 0
                curvature[j] = -(slope[high] - slope[low]) / (2 if high and low else 1)
        values, vectors = np.linalg.eigh(0.5 * (curvature + curvature.T))
        # no direction becomes more than ten times wider or narrower in a round, whatever the kinks say
        root = vectors / np.sqrt(np.clip(values, 0.01, 100.0))
        factor = np.linalg.cholesky(factor @ root @ root.T @ factor.T)
    return factor
