"""Exact re-weighting: what a fit would have been with the Boltzmann code in place of the emulator.

A few hundred points of the chain get exact spectra. Each is weighted by w = L_exact / L_emulator, the
importance weight that turns draws from the emulator's posterior into draws from the exact one; priors
cancel. Means and widths with and without weights are taken over the *same* points, so that their
difference has a Monte Carlo error of order std(ln w) / sqrt(n), far below that of either mean.

A smooth emulator error is close to linear in the parameters over a posterior: ln w regressed on them
carries the weights from the exact points to the whole chain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cmbfit.errors import DataError
from cmbfit.likelihood.base import Likelihood
from cmbfit.theory.spectra import Spectra


def log_likelihood_ratio(
    likelihoods: Sequence[Likelihood],
    exact: Spectra,
    approximate: Spectra,
    nuisance: Mapping[str, torch.Tensor],  # name -> shape (n,)
) -> dict[str, np.ndarray]:
    """Return ln L_exact - ln L_approximate of each data set, shape (n,)."""
    return {
        like.info.name: (like.log_prob(exact, nuisance) - like.log_prob(approximate, nuisance)).numpy()
        for like in likelihoods
    }


def normalised_weights(log_weights: np.ndarray) -> np.ndarray:
    """Return weights that sum to one.

    Raises
    ------
    DataError
        If a log weight is not finite: the exact likelihood excludes a point of the chain, or the
        other way round, and no re-weighting can mend that.
    """
    if not np.isfinite(log_weights).all():
        bad = int((~np.isfinite(log_weights)).sum())
        raise DataError(
            f"{bad} of {len(log_weights)} log weights are not finite: the fit cannot be re-weighted"
        )
    weights = np.exp(log_weights - log_weights.max())
    return weights / weights.sum()


def ess_fraction(log_weights: np.ndarray) -> float:
    """Return Kish's effective sample size (sum w)^2 / sum w^2 as a fraction of the number of points."""
    weights = normalised_weights(log_weights)
    return float(1 / (len(weights) * (weights**2).sum()))


@dataclass(frozen=True)
class Shift:
    """What re-weighting does to one parameter.

    Attributes
    ----------
    mean : float
        (re-weighted mean - mean) / standard deviation, over the same points.
    mean_error : float
        Monte Carlo error of `mean` (jackknife).
    width : float
        Re-weighted standard deviation over standard deviation.
    width_error : float
    """

    mean: float
    mean_error: float
    width: float
    width_error: float


def _moments(x: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean and standard deviation along the last axis; `w` sums to one there."""
    mean = (w * x).sum(-1)
    return mean, np.sqrt((w * (x - mean[..., None]) ** 2).sum(-1))


def shift_of(x: np.ndarray, log_weights: np.ndarray) -> Shift:
    """Compare the moments of one parameter with and without weights.

    Parameters
    ----------
    x : numpy.ndarray, shape (n,)
    log_weights : numpy.ndarray, shape (n,)

    Notes
    -----
    Errors by the jackknife over points: each is left out in turn, (n - 1)/n sum (s_i - s)^2.
    """
    w = normalised_weights(log_weights)
    n = len(x)
    keep = ~np.eye(n, dtype=bool)
    xs = np.broadcast_to(x, (n, n))[keep].reshape(n, n - 1)
    ws = np.broadcast_to(w, (n, n))[keep].reshape(n, n - 1)
    flat = np.full_like(ws, 1 / (n - 1))
    mean, width = _moments(x, w)
    mean0, width0 = _moments(x, np.full(n, 1 / n))
    means, widths = _moments(xs, ws / ws.sum(1, keepdims=True))
    means0, widths0 = _moments(xs, flat)
    shifts, ratios = (means - means0) / widths0, widths / widths0

    def jackknife(values: np.ndarray) -> float:
        return float(np.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum()))

    return Shift(float((mean - mean0) / width0), jackknife(shifts), float(width / width0), jackknife(ratios))


@dataclass(frozen=True)
class LinearWeights:
    """ln w as a linear function of the standardised parameters.

    Attributes
    ----------
    names : tuple of str
    centre, scale, slope : numpy.ndarray, shape (n_names,)
    intercept : float
    residual : float
        Standard deviation of ln w around the line: what the line leaves out.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    slope: np.ndarray
    intercept: float
    residual: float

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Return ln w at rows of parameters, shape (n, n_names) -> (n,)."""
        return self.intercept + ((values - self.centre) / self.scale) @ self.slope


def least_points(n_parameters: int) -> int:
    """Return how many exact points weights linear in so many parameters need."""
    return 2 * (n_parameters + 1)


def fit_linear_weights(names: Sequence[str], values: np.ndarray, log_weights: np.ndarray) -> LinearWeights:
    """Regress ln w on the sampled parameters.

    Parameters
    ----------
    names : sequence of str
    values : numpy.ndarray, shape (n, n_names)
    log_weights : numpy.ndarray, shape (n,)
    """
    n, p = values.shape
    if n < least_points(p):
        raise DataError(f"{n} exact points are too few for weights linear in {p} parameters: compute more")
    centre, scale = values.mean(0), values.std(0)
    design = np.column_stack([np.ones(n), (values - centre) / scale])
    solution, *_ = np.linalg.lstsq(design, log_weights, rcond=None)
    residual = np.sqrt(((log_weights - design @ solution) ** 2).sum() / (n - p - 1))
    return LinearWeights(tuple(names), centre, scale, solution[1:], float(solution[0]), float(residual))


def summarise_reweighting(
    names: Sequence[str], values: np.ndarray, ratios: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Return the JSON-able record of a re-weighting.

    Parameters
    ----------
    names : sequence of str
        Columns of `values`, shape (n, n_names): the chain's rows that have exact spectra.
    ratios : mapping of str to numpy.ndarray, shape (n,)
        From :func:`log_likelihood_ratio`.
    """
    log_weights = np.sum(list(ratios.values()), axis=0)
    shifts = {name: shift_of(values[:, i], log_weights) for i, name in enumerate(names)}
    return {
        "n_points": len(values),
        "ess_fraction": ess_fraction(log_weights),
        "log_weight": {"mean": float(log_weights.mean()), "std": float(log_weights.std(ddof=1))},
        "delta_chi2": {
            name: {"mean": float(-2 * r.mean()), "std": float(2 * r.std(ddof=1))}
            for name, r in ratios.items()
        },
        "shifts": {name: vars(s) for name, s in shifts.items()},
    }
