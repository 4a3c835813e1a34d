"""Noise of low-resolution maps: white by hit counts, a dense covariance, or a dense inverse covariance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from cmbfit.errors import LikelihoodError
from cmbfit.sky.maps import Array


def _symmetric(matrix: Array, what: str) -> Array:
    matrix = np.asarray(matrix, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise LikelihoodError(f"{what}: expected a finite square matrix, found shape {matrix.shape}")
    if not np.allclose(matrix, matrix.T, rtol=1e-6, atol=1e-9 * np.abs(matrix).max()):
        raise LikelihoodError(f"{what}: not symmetric")
    return (matrix + matrix.T) / 2


def factor(matrix: Array, what: str) -> Array:
    """Return the lower Cholesky factor, or raise :class:`LikelihoodError` if there is none."""
    try:
        return scipy.linalg.cholesky(matrix, lower=True, check_finite=False)
    except np.linalg.LinAlgError as error:
        raise LikelihoodError(
            f"{what}: not positive definite ({error}); is a pixel without hits used, or is regularisation noise "
            "missing?"
        ) from error


@dataclass(frozen=True, eq=False)
class Noise:
    """Gaussian noise of a data vector, uK^2. Make one with the functions below.

    Attributes
    ----------
    covariance : ndarray or None, shape (n,) or (n, n)
        Variances, or the dense covariance.
    inverse : ndarray or None, shape (n, n)
        Dense inverse covariance; exactly one of the two is given.
    """

    covariance: Array | None = None
    inverse: Array | None = None

    def __len__(self) -> int:
        return len(self.covariance if self.covariance is not None else self.inverse)  # type: ignore[arg-type]

    def dense(self) -> Array:
        """Return the covariance as a matrix, shape (n, n)."""
        if self.covariance is None:
            low = factor(self.inverse, "inverse noise covariance")  # type: ignore[arg-type]
            return scipy.linalg.cho_solve((low, True), np.eye(len(self)))
        return np.diag(self.covariance) if self.covariance.ndim == 1 else self.covariance

    def plus(self, covariance: Array) -> Noise:
        """Return the noise with another independent part added, given as variances or a matrix."""
        extra = np.diag(covariance) if covariance.ndim == 1 else covariance
        if extra.shape != (len(self), len(self)):
            raise LikelihoodError(
                f"noise of {len(self)} pixels: cannot add a covariance of shape {extra.shape}"
            )
        return dense_noise(self.dense() + extra)

    def solve(self, x: Array) -> tuple[Array, float]:
        """Return N^-1 x for columns x of shape (n, k), and ln |N|."""
        if self.inverse is not None:
            low = factor(self.inverse, "inverse noise covariance")
            return self.inverse @ x, -2 * float(np.log(np.diag(low)).sum())
        covariance = self.covariance
        assert covariance is not None  # noqa: S101 (one of the two is given)
        if covariance.ndim == 1:
            return x / covariance[:, None], float(np.log(covariance).sum())
        low = factor(covariance, "noise covariance")
        return scipy.linalg.cho_solve((low, True), x, check_finite=False), 2 * float(
            np.log(np.diag(low)).sum()
        )

    def draw(self, rng: np.random.Generator) -> Array:
        """Return one realisation, shape (n,)."""
        unit = rng.standard_normal(len(self))
        if self.inverse is not None:
            low = factor(self.inverse, "inverse noise covariance")
            return scipy.linalg.solve_triangular(low.T, unit)
        covariance = self.covariance
        assert covariance is not None  # noqa: S101
        if covariance.ndim == 1:
            return np.sqrt(covariance) * unit
        return factor(covariance, "noise covariance") @ unit


def white_noise(sigma_uk: Array | float, hits: Array) -> Noise:
    """Return white noise of variance sigma^2 / hits.

    Parameters
    ----------
    sigma_uk : float or ndarray, shape (n,)
        Rms of one observation in uK (it differs between I and Q, U).
    hits : ndarray, shape (n,)
        Observations in each entry of the data vector.
    """
    hits = np.asarray(hits, dtype=np.float64)
    if hits.ndim != 1 or not (np.isfinite(hits).all() and (hits > 0).all()):
        raise LikelihoodError("white noise: every used pixel needs hits above zero; mask those without")
    variance = np.square(np.broadcast_to(np.asarray(sigma_uk, dtype=np.float64), hits.shape)) / hits
    if not (variance > 0).all() or not np.isfinite(variance).all():
        raise LikelihoodError("white noise: the rms of one observation must be above zero")
    return Noise(covariance=variance)


def dense_noise(covariance: Array) -> Noise:
    """Return noise with a dense covariance; it must be positive definite."""
    matrix = _symmetric(covariance, "noise covariance")
    factor(matrix, "noise covariance")
    return Noise(covariance=matrix)


def inverse_noise(inverse: Array) -> Noise:
    """Return noise given by its inverse covariance, as WMAP gives it; it must be positive definite."""
    matrix = _symmetric(inverse, "inverse noise covariance")
    factor(matrix, "inverse noise covariance")
    return Noise(inverse=matrix)


def regularise(values: Array, noise: Noise, sigma_uk: float, rng: np.random.Generator) -> tuple[Array, Noise]:
    """Add white noise of rms `sigma_uk` to the data and its variance to the noise.

    A band-limited map whose signal covariance falls below rounding needs it (the Planck low-l maps have
    2 uK in I, 0.02 uK in Q and U). The realisation is drawn from `rng`: record its seed.
    """
    if sigma_uk <= 0:
        raise LikelihoodError(f"regularisation noise of {sigma_uk} uK: expected a number above zero")
    variance = np.full(len(values), sigma_uk**2)
    return values + sigma_uk * rng.standard_normal(len(values)), noise.plus(variance)
