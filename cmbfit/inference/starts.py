"""Points of non-zero probability from which chains start; only starts, so that any way to draw them is right."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from cmbfit.errors import SamplerError
from cmbfit.likelihood.posterior import Posterior

_PLAIN = 20
"""Rounds of plain draws: enough where one draw in ten is inside."""

_ROUNDS = 60
_NARROWER = 0.8
"""Factor on the widths in each round after the plain ones: 2e-4 of them in the last."""


def initial_walkers(
    posterior: Posterior,
    centre: Mapping[str, float],
    scale: Mapping[str, float],
    walkers: int,
    rng: np.random.Generator,
) -> np.ndarray:  # shape: (walkers, n_parameters)
    """Draw starting points from independent normals, redrawing those of zero probability.

    Raises
    ------
    SamplerError
        See :func:`draw_starts`.
    """
    mean = np.array([centre[p] for p in posterior.parameters])
    width = np.array([scale[p] for p in posterior.parameters])
    return draw_starts(posterior, mean, np.diag(width), walkers, rng, centre)


def draw_starts(
    posterior: Posterior,
    mean: np.ndarray,  # shape: (n_parameters,)
    factor: np.ndarray,  # shape: (n_parameters, n_parameters)
    n: int,
    rng: np.random.Generator,
    given: Mapping[str, float],
) -> np.ndarray:  # shape: (n, n_parameters)
    """Draw points of non-zero probability from the normal of covariance factor factor^T.

    Where few draws lie inside (a maximum in a corner of the prior), they are reflected at the walls, and drawn from
    ever narrower normals.

    Parameters
    ----------
    posterior : Posterior
    mean, factor
        The normal.
    n : int
    rng : numpy.random.Generator
    given : mapping of str to float
        The starting centre as the user knows it, for the message.

    Raises
    ------
    SamplerError
        If some points are still missing at the end; the message names the user's start.
    """
    low, high = np.array(list(posterior.support.values())).T
    points = np.empty((0, len(mean)))
    for i in range(_ROUNDS):
        narrower = _NARROWER ** max(0, i - _PLAIN)
        draw = mean + narrower * rng.standard_normal((n, len(mean))) @ factor.T
        if i >= _PLAIN:
            draw = reflected(draw, low, high)
        with torch.no_grad():
            good = torch.isfinite(posterior.log_prob(torch.from_numpy(draw).to(posterior.device)))
        points = np.concatenate([points, draw[good.cpu().numpy()]])[:n]
        if len(points) == n:
            return points
    where = ", ".join(f"{p} {given[p]:g}" for p in posterior.parameters)
    raise SamplerError(
        f"only {len(points)} of {n} starting points have a non-zero probability, drawn around what was found from the "
        f"start {where}; give another start (start: {{PARAMETER: [centre, scale]}}) or wider priors"
    )


def reflected(
    x: np.ndarray,  # shape: (n, n_parameters)
    low: np.ndarray,  # shape: (n_parameters,)
    high: np.ndarray,  # shape: (n_parameters,)
) -> np.ndarray:  # shape: (n, n_parameters)
    """Return points reflected at walls until they lie between them; a wall may be infinitely far away.

    Examples
    --------
    >>> reflected(np.array([[-0.25, 2.5]]), np.array([0.0, 0.0]), np.array([1.0, np.inf])).tolist()
    [[0.25, 2.5]]
    """
    out = x.copy()
    two = np.isfinite(low) & np.isfinite(high)
    width = (high - low)[two]
    out[:, two] = low[two] + width - np.abs((x[:, two] - low[two]) % (2 * width) - width)
    out = np.where(np.isfinite(low) & (out < low), 2 * low - out, out)
    out = np.where(np.isfinite(high) & (out > high), 2 * high - out, out)
    return np.clip(out, low, high)  # rounding
