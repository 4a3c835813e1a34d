"""Do two data sets agree? Parameter shifts and suspiciousness (Handley & Lemos 2019, arXiv:1902.04029)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from cmbfit.errors import ParameterError
from cmbfit.inference.comparison import gaussian_equivalent


@dataclass(frozen=True)
class Tension:
    """A measure of disagreement.

    Attributes
    ----------
    chi2 : float
        Distributed as chi2 with `dof` degrees of freedom if the data agree.
    dof : float
    p_value : float
    sigma : float
        Two-sided Gaussian equivalent, :func:`~cmbfit.inference.comparison.gaussian_equivalent`.
    verdict : str
        `tension` below p = 0.003, `mild` below 0.05, else `agreement`.
    """

    chi2: float
    dof: float
    p_value: float
    sigma: float
    verdict: str


def _tension(chi2: float, dof: float) -> Tension:
    p = float(special.chdtrc(dof, chi2))
    verdict = "tension" if p < 0.003 else "mild" if p < 0.05 else "agreement"
    return Tension(chi2, dof, p, gaussian_equivalent(p), verdict)


def parameter_shift(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> Tension:
    """Return the shift chi2 = d^T (C_A + C_B)^-1 d of two *independent* Gaussian posteriors.

    Parameters
    ----------
    mean_a, mean_b : array_like, shape (n,)
    covariance_a, covariance_b : array_like, shape (n, n)

    Raises
    ------
    ParameterError
        If the sum of the covariances is not positive definite.
    """
    d = np.atleast_1d(np.asarray(mean_a, dtype=float) - np.asarray(mean_b, dtype=float))
    total = np.atleast_2d(np.asarray(covariance_a, dtype=float) + np.asarray(covariance_b, dtype=float))
    if total.shape != (len(d), len(d)) or not np.linalg.eigvalsh(total).min() > 0:
        raise ParameterError(f"shift: expected positive definite covariances of shape {(len(d), len(d))}")
    return _tension(float(d @ np.linalg.solve(total, d)), len(d))


@dataclass(frozen=True)
class Evidence:
    """What a nested sampling run, or a Gaussian in closed form, says of one data set.

    Attributes
    ----------
    log_z : float
    divergence : float
        Kullback-Leibler divergence D of posterior from prior [nats].
    dimensionality : float
        Bayesian model dimensionality d = 2 (<ln^2 L> - <ln L>^2).
    """

    log_z: float
    divergence: float
    dimensionality: float

    @classmethod
    def from_samples(cls, log_z: float, log_like: np.ndarray, weights: np.ndarray | None = None) -> Evidence:
        """Build from ln Z and posterior samples of ln L: D = <ln L> - ln Z."""
        x = np.asarray(log_like, dtype=float)
        w = np.ones_like(x) if weights is None else np.asarray(weights, dtype=float)
        if len(x) < 2 or not np.isfinite(x).all() or w.shape != x.shape or not w.sum() > 0:
            raise ParameterError(
                "evidence: expected finite ln L of at least two samples, and weights to match"
            )
        mean = float(np.average(x, weights=w))
        return cls(log_z, mean - log_z, 2 * float(np.average((x - mean) ** 2, weights=w)))

    @classmethod
    def gaussian(cls, covariance: np.ndarray, ln_peak: float, prior_volume: float) -> Evidence:
        """Build for a Gaussian likelihood of peak ln L under a flat prior much wider than it."""
        cov = np.atleast_2d(np.asarray(covariance, dtype=float))
        d = len(cov)
        volume = 0.5 * (d * math.log(2 * math.pi) + np.linalg.slogdet(cov)[1])
        log_z = ln_peak + volume - math.log(prior_volume)
        return cls(float(log_z), float(ln_peak - d / 2 - log_z), float(d))


@dataclass(frozen=True)
class Suspiciousness:
    """ln S = ln R - ln I, free of the prior's width, and its calibration as a chi2."""

    ln_r: float
    ln_i: float
    ln_s: float
    tension: Tension


def suspiciousness(a: Evidence, b: Evidence, both: Evidence) -> Suspiciousness:
    """Return ln S of data sets A, B and AB; d_G - 2 ln S is chi2 of d_G degrees if they agree.

    Raises
    ------
    ParameterError
        If d_G = d_A + d_B - d_AB is not positive: the data share no constrained parameter.
    """
    ln_r = both.log_z - a.log_z - b.log_z
    ln_i = a.divergence + b.divergence - both.divergence
    shared = a.dimensionality + b.dimensionality - both.dimensionality
    if not shared > 0:
        raise ParameterError(f"suspiciousness: expected d_A + d_B > d_AB, found {shared:g} shared dimensions")
    ln_s = ln_r - ln_i
    return Suspiciousness(ln_r, ln_i, ln_s, _tension(max(shared - 2 * ln_s, 0.0), shared))
