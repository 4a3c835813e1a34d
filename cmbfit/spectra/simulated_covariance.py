"""Covariance from simulations: what its own noise does to a likelihood.

A sample covariance S of n simulations of p numbers has a biased inverse: E[S^-1] = C^-1 (n - 1) /
(n - p - 2) (Hartlap, Simon & Schneider 2007, astro-ph/0608064, eq. 17). Rescaling mends the mean but
not the shape: marginalised over C the likelihood is a multivariate t (Sellentin & Heavens 2016,
arXiv:1511.05969, eq. 12).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import gammaln

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array


@dataclass(frozen=True, eq=False)
class SimulatedCovariance:
    """Sample covariance and the number of simulations behind it.

    Attributes
    ----------
    mean : ndarray, shape (p,)
    matrix : ndarray, shape (p, p)
        Unbiased estimate, with 1 / (n_sims - 1).
    n_sims : int
        More than p + 2.
    """

    mean: Array
    matrix: Array
    n_sims: int

    @classmethod
    def of(cls, samples: Array) -> SimulatedCovariance:
        """Return the covariance of `samples`, shape (n_sims, p).

        Raises
        ------
        SpectrumError
            When there are too few simulations for an inverse, or non-finite numbers.
        """
        if samples.ndim != 2 or not np.isfinite(samples).all():
            raise SpectrumError(
                f"simulations: expected finite numbers of shape (n, p), found {samples.shape}"
            )
        n, p = samples.shape
        if n <= p + 2:
            raise SpectrumError(f"{n} simulations of {p} bandpowers: an inverse needs more than {p + 2}")
        return cls(samples.mean(axis=0), np.cov(samples, rowvar=False).reshape(p, p), n)

    @property
    def hartlap(self) -> float:
        """(n - p - 2) / (n - 1): the factor that makes S^-1 an unbiased estimate of C^-1."""
        return (self.n_sims - self.mean.size - 2) / (self.n_sims - 1)

    def inverse(self) -> Array:
        """Return the unbiased inverse covariance, shape (p, p)."""
        return np.asarray(self.hartlap * np.linalg.inv(self.matrix), dtype=np.float64)

    def chi2(self, residual: Array) -> Array:
        """Return r S^-1 r without any correction; residual has shape (..., p)."""
        flat = residual.reshape(-1, self.mean.size)
        solved = cho_solve(cho_factor(self.matrix), flat.T)
        return np.asarray(np.einsum("ip,pi->i", flat, solved).reshape(residual.shape[:-1]), dtype=np.float64)

    def log_prob(self, residual: Array) -> Array:
        """Return the normalised Sellentin-Heavens ln L of residuals d - m, shape (..., p).

        ln L = ln c - ln|S| / 2 - n/2 ln(1 + chi2 / (n - 1)), with
        c = Gamma(n/2) / ([pi (n - 1)]^{p/2} Gamma((n - p)/2)).
        """
        n, p = self.n_sims, self.mean.size
        constant = gammaln(n / 2) - gammaln((n - p) / 2) - 0.5 * p * np.log(np.pi * (n - 1))
        logdet = np.linalg.slogdet(self.matrix)[1]
        return constant - 0.5 * logdet - 0.5 * n * np.log1p(self.chi2(residual) / (n - 1))
