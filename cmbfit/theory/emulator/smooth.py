"""Least squares of few runs: polynomials of high degree whose coefficients are held the smaller the higher their degree.

The prior of a term's coefficient is normal with the width prod_i rho_i^d_i, d_i its degree in parameter i and rho_i in
(0, 1.5]: a Gaussian process with a polynomial kernel (Rasmussen & Williams 2006, ch. 2), so that there may be more terms
than runs. The rho_i, and each output's noise, are those that predict every background best from all the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_NOISE = tuple(10.0**k for k in range(-10, 1))  # over the mean prior variance of the runs
_COARSE = _NOISE[::2]  # while the prior is searched for
_FIRST, _LARGEST = 0.4, 1.5
_STEPS = (2.0, 1.4)
_GAIN = 0.01  # of the loss, below which a step is none


@dataclass(frozen=True)
class SmoothFit:
    """A fit of several outputs with one prior.

    Attributes
    ----------
    head : numpy.ndarray, shape (n_terms, n_out)
        Coefficients of the features.
    decay : numpy.ndarray, shape (n_parameters,)
        The rho_i.
    loss : float
        Weighted mean square over runs, summed over outputs, of what is left of each background when it is predicted from the
        others.
    """

    head: np.ndarray
    decay: np.ndarray
    loss: float


class _Runs:
    """Features and outputs of runs, weighted, with their backgrounds."""

    def __init__(
        self,
        features: np.ndarray,
        degrees: np.ndarray,
        y: np.ndarray,
        background: np.ndarray,
        weight: np.ndarray,
    ) -> None:
        root = np.sqrt(weight / weight.mean())[:, None]
        self.features, self.y, self.degrees = features * root, y * root, degrees
        groups = [np.flatnonzero(background == b) for b in np.unique(background)]
        sizes = {len(g) for g in groups}
        self.groups = [np.array([g for g in groups if len(g) == n]) for n in sizes]  # of a size, side by side

    def decomposed(self, decay: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return prior variances of the terms, and eigenvalues (over their mean) and vectors of the runs' covariance."""
        variance = np.exp(2 * self.degrees @ np.log(decay))
        kernel = (self.features * variance) @ self.features.T
        size = np.trace(kernel) / len(kernel) + 1e-300
        values, vectors = np.linalg.eigh(kernel / size)
        return variance / size, np.maximum(values, 0.0), vectors

    def left_out(
        self, values: np.ndarray, vectors: np.ndarray, noises: Sequence[float] = _NOISE
    ) -> np.ndarray:  # shape: (n_noise, n_out)
        """Return the mean square of what each background leaves, predicted from the others, by noise and output.

        With A the covariance of all runs, the residuals of a background B left out are (A^-1)_BB^-1 (A^-1 y)_B.
        """
        rotated = vectors.T @ self.y
        losses = np.zeros((len(noises), self.y.shape[1]))
        for i, noise in enumerate(noises):
            inverse = 1 / (values + noise)
            solved = vectors @ (inverse[:, None] * rotated)
            for rows in self.groups:  # shape: (n_backgrounds, n_runs_each)
                part = vectors[rows]
                left = np.linalg.solve((part * inverse) @ part.transpose(0, 2, 1), solved[rows])
                losses[i] += np.square(left).sum((0, 1))
        return losses / len(self.y)

    def loss(self, decay: np.ndarray) -> float:
        """Return the loss with the best noise of each output."""
        _, values, vectors = self.decomposed(decay)
        return float(self.left_out(values, vectors, _COARSE).min(0).sum())


def _best_decay(runs: _Runs, decay: np.ndarray) -> np.ndarray:
    """Return the rho_i of the least loss, one after the other by steps that shrink."""
    best = runs.loss(decay)
    for step in _STEPS:
        for i in range(len(decay)):
            for factor in (step, 1 / step):
                while True:
                    tried = decay.copy()
                    tried[i] = min(tried[i] * factor, _LARGEST)
                    if tried[i] == decay[i] or (found := runs.loss(tried)) > (1 - _GAIN) * best:
                        break
                    best, decay = found, tried
    return decay


def fit_smooth(
    features: np.ndarray,  # shape: (n, n_terms)
    degrees: np.ndarray,  # of int, shape: (n_terms, n_parameters)
    y: np.ndarray,  # shape: (n, n_out)
    background: np.ndarray,  # shape: (n,)
    weight: np.ndarray | None = None,  # shape: (n,)
    decay: np.ndarray | None = None,  # shape: (n_parameters,)
) -> SmoothFit:
    """Fit outputs by polynomial features.

    Parameters
    ----------
    features
        Of each run.
    degrees
        Of each feature in each parameter.
    y
        Outputs, in units in which their errors weigh alike.
    background
        Which background a run belongs to: runs of one are left out together.
    weight
        Of a squared residual, in the fit and in the loss; 1 where omitted.
    decay
        Where the search for the rho_i starts.

    Examples
    --------
    >>> x = np.linspace(-1, 1, 12)[:, None]
    >>> fit = fit_smooth(np.hstack([x, x**2]), np.array([[1], [2]]), 3 * x, np.arange(12))
    >>> fit.head.round(4).tolist(), fit.loss < 1e-6
    ([[3.0], [0.0]], True)
    """
    runs = _Runs(features, degrees, y, background, np.ones(len(y)) if weight is None else weight)
    decay = _best_decay(runs, np.full(degrees.shape[1], _FIRST) if decay is None else decay)
    variance, values, vectors = runs.decomposed(decay)
    losses = runs.left_out(values, vectors)
    noise = np.array(_NOISE)[losses.argmin(0)]
    solved = vectors @ ((vectors.T @ runs.y) / (values[:, None] + noise))
    return SmoothFit(variance[:, None] * (runs.features.T @ solved), decay, float(losses.min(0).sum()))
