"""Profile likelihoods: the best fit at each value of a parameter, all values and starts in one batch.

A profile asks how well a value can fit, whatever the others are; a marginal asks how much of the posterior lies there. They
differ where the data leave room (volume effects), and both are shown. What is maximised is ln L with the Gaussian priors of
the other parameters, which stand for measurements of their own; flat priors are walls. The parameter's own prior, if it is
no flat one, is taken out.

Intervals are those of Wilks, -2 Delta ln L < 1 and < 3.84; near a wall they are only approximate, and
:mod:`cmbfit.inference.feldman_cousins` measures what the thresholds should be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from cmbfit.errors import ParameterError, SamplerError, unknown_name
from cmbfit.inference.ascent import maximise
from cmbfit.inference.maximum import find_maximum, laplace_factor
from cmbfit.likelihood.posterior import Posterior
from cmbfit.likelihood.priors import Gaussian

THRESHOLDS = {"68": 1.0, "95": 3.841}
"""-2 Delta ln L by Wilks's theorem, one parameter."""

_REACH = 4.5
"""Standard deviations of the normal approximation to which a default grid reaches."""

_AGREE = 0.01


@dataclass(frozen=True)
class Profile:
    """A profile likelihood.

    Attributes
    ----------
    parameter : str
    parameters : tuple of str
        All of the posterior's.
    values : numpy.ndarray, shape (n,)
    delta_chi2 : numpy.ndarray, shape (n,)
        -2 ln (L/L_max), at least 0.
    points : numpy.ndarray, shape (n, n_parameters)
        The best fit at each value.
    agreed : numpy.ndarray of int, shape (n,)
        How many of the starts ended within 0.01 of it in ln L.
    starts : int
    best : numpy.ndarray, shape (n_parameters,)
        The best fit of all.
    covariance : numpy.ndarray, shape (n_parameters, n_parameters)
        Of the normal approximation around it.
    evaluations : int
    """

    parameter: str
    parameters: tuple[str, ...]
    values: np.ndarray
    delta_chi2: np.ndarray
    points: np.ndarray
    agreed: np.ndarray
    starts: int
    best: np.ndarray
    covariance: np.ndarray
    evaluations: int

    def interval(self, threshold: float) -> tuple[float | None, float | None]:
        """Return where -2 Delta ln L crosses a threshold on both sides of the best value; None where the grid ends below it."""
        x = float(self.best[self.parameters.index(self.parameter)])
        fine = np.linspace(self.values[0], self.values[-1], 20_001)
        curve = PchipInterpolator(self.values, self.delta_chi2)(fine)
        above = fine[curve > threshold]
        below_best, above_best = above[above <= x], above[above >= x]
        return (
            float(below_best[-1]) if len(below_best) else None,
            float(above_best[0]) if len(above_best) else None,
        )

    def record(self) -> dict[str, Any]:
        """Return the profile, JSON-able."""
        intervals = {name: list(self.interval(t)) for name, t in THRESHOLDS.items()}
        return {
            "parameter": self.parameter,
            "best": dict(zip(self.parameters, self.best.tolist(), strict=True)),
            "values": self.values.tolist(),
            "delta_chi2": self.delta_chi2.tolist(),
            "points": {p: self.points[:, i].tolist() for i, p in enumerate(self.parameters)},
            "intervals": intervals,
            "thresholds": THRESHOLDS,
            "starts": self.starts,
            "agreed": self.agreed.tolist(),
            "evaluations": self.evaluations,
        }


def profile(
    posterior: Posterior,
    parameter: str,
    start: Mapping[str, float],
    scale: Mapping[str, float],
    rng: np.random.Generator,
    *,
    low: float | None = None,
    high: float | None = None,
    n: int = 41,
    starts: int = 4,
) -> Profile:
    """Compute a profile likelihood on a grid.

    Parameters
    ----------
    posterior : Posterior
        Differentiable.
    parameter : str
    start, scale : mapping of str to float
        Where the best fit is sought, and rough widths.
    rng : numpy.random.Generator
        Draws starting points.
    low, high : float, optional
        Ends of the grid; default 4.5 standard deviations from the best fit, within prior and theory.
    n, starts : int
        Values on the grid, and starts at each: one on the line of best fits of the normal approximation, the others drawn
        around it three times as wide as the approximation is. The best fits of neighbours are starts of a second round.

    Raises
    ------
    ParameterError
        For an unknown parameter, or a grid outside the range that prior and theory leave.
    SamplerError
        If the best fit is not found.
    """
    names = posterior.parameters
    if parameter not in names:
        raise ParameterError(unknown_name("parameter", parameter, names))
    column = names.index(parameter)
    best_fit = find_maximum(posterior, start, scale, starts=max(starts, 2), rng=rng)
    best = np.array([best_fit.point[p] for p in names])
    factor = laplace_factor(posterior, best_fit.point, scale)
    covariance = factor @ factor.T
    walls = np.array([posterior.support[p] for p in names]).T
    sigma = math.sqrt(covariance[column, column])
    first, last = walls[:, column]
    low = max(first, best[column] - _REACH * sigma) if low is None else low
    high = min(last, best[column] + _REACH * sigma) if high is None else high
    if not (first <= low < high <= last) or n < 3:
        raise ParameterError(
            f"profile of {parameter}: expected three values or more from low < high within [{first:g}, {last:g}], where prior "
            f"and theory allow them; found {n} from {low:g} to {high:g}"
        )
    values = np.union1d(np.linspace(low, high, n), best[column] if low < best[column] < high else [])
    held = np.arange(len(names)) == column
    own = posterior.priors[parameter]

    def function(x: np.ndarray, _: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        theta = torch.from_numpy(np.ascontiguousarray(x)).to(posterior.device)
        value, gradient = (t.cpu().numpy() for t in posterior.log_prob_and_gradient(theta))
        return value, np.nan_to_num(gradient)

    line = best + np.outer(values - best[column], covariance[:, column] / sigma**2)
    conditional = covariance - np.outer(covariance[:, column], covariance[:, column]) / sigma**2
    kicks = 3 * rng.multivariate_normal(
        np.zeros(len(names)), conditional, (starts - 1, len(values)), method="eigh"
    )
    tries = np.clip(np.concatenate([line[None], line + kicks]), *walls)
    tries[..., column] = values
    got = maximise(function, tries.reshape(-1, len(names)), (walls[0], walls[1]), covariance, held)
    points, height = got.points.reshape(tries.shape), got.values.reshape(tries.shape[:2])
    top, every = height.argmax(0), np.arange(len(values))
    if not np.isfinite(height[top, every]).all():
        raise SamplerError(
            f"profile of {parameter}: no start has a likelihood above zero at some values; narrow the grid"
        )
    agreed = (height > height[top, every] - _AGREE).sum(0)
    # neighbours' best fits: a profile that jumps was not at its maximum
    near = points[top, every]
    again = np.concatenate([near[:1], near[:-1], near[1:], near[-1:]]).reshape(2, len(values), -1)
    again[..., column] = values
    more = maximise(function, again.reshape(-1, len(names)), (walls[0], walls[1]), covariance, held)
    points = np.concatenate([points, more.points.reshape(again.shape)])
    height = np.concatenate([height, more.values.reshape(again.shape[:2])])
    top = height.argmax(0)
    curve = height[top, every]
    peak = best_fit.log_prob
    if isinstance(own, Gaussian):
        curve = curve + 0.5 * ((values - own.mean) / own.std) ** 2
        peak = float(curve.max())
        best = points[top, every][int(curve.argmax())]
    elif curve.max() > peak:
        peak, best = float(curve.max()), points[top, every][int(curve.argmax())]
    return Profile(
        parameter, names, values, np.maximum(2 * (peak - curve), 0.0), points[top, every], agreed, starts, best, covariance,
        got.evaluations + more.evaluations + best_fit.evaluations,
    )  # fmt: skip
