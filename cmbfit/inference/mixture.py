"""Mixtures of multivariate t distributions: fitted to points, drawn from, and their densities; points in rows.

A t of six degrees of freedom has the tails that an importance proposal needs, and a covariance. Components are found by
expectation maximisation for normals (Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39, 1) from seeds that lie apart
(k-means++, Arthur & Vassilvitskii 2007); how many there are is decided by points that were not fitted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

_DOF = 6.0

_ITERATIONS = 12
_SETTLED = 5e-3  # change of the mean log density at which the iterations stop

_GAIN = 0.03
"""In the mean log density of points held out: what more components must bring."""

_POINTS_OF_ONE = 4
"""Times the number of dimensions: points that a component needs at least."""


@dataclass(frozen=True)
class Mixture:
    """A mixture of t distributions of six degrees of freedom.

    Attributes
    ----------
    means : numpy.ndarray, shape (k, d)
    factors : numpy.ndarray, shape (k, d, d)
        Lower Cholesky factors of the components' covariances.
    weights : numpy.ndarray, shape (k,)
    """

    means: np.ndarray
    factors: np.ndarray
    weights: np.ndarray

    def __len__(self) -> int:
        return len(self.weights)

    def widened(self, factor: float) -> Mixture:
        """Return the same with standard deviations `factor` times as large."""
        return Mixture(self.means, self.factors * factor, self.weights)

    def kicks(self, n: int, rng: np.random.Generator) -> np.ndarray:  # shape: (n, d)
        """Draw normal steps around zero, each of the covariance of a component chosen at random."""
        return self._coloured(rng.standard_normal((n, self.means.shape[1])), 0.0, rng)

    def draw(self, n: int, rng: np.random.Generator) -> np.ndarray:  # shape: (n, d)
        """Draw points."""
        z = rng.standard_normal((n, self.means.shape[1]))
        z *= np.sqrt((_DOF - 2) / rng.chisquare(_DOF, n))[:, None]
        return self._coloured(z, 1.0, rng)

    def log_density(
        self,
        x: np.ndarray,  # shape: (n, d)
    ) -> np.ndarray:  # shape: (n,)
        """Return ln of the density."""
        d = x.shape[1]
        norm = float(gammaln((_DOF + d) / 2) - gammaln(_DOF / 2)) - d / 2 * math.log((_DOF - 2) * math.pi)
        distance, volume = _distances(x, self.means, self.factors)
        each = (np.log(self.weights) + norm - volume)[:, None] - (_DOF + d) / 2 * np.log1p(
            distance / (_DOF - 2)
        )
        return each[0] if len(self) == 1 else _log_sum(each)

    def _coloured(self, z: np.ndarray, centre: float, rng: np.random.Generator) -> np.ndarray:
        """Give each row of z the covariance, and `centre` times the mean, of a component chosen at random."""
        edges = np.concatenate([[0], np.cumsum(rng.multinomial(len(z), self.weights))])
        parts = [
            centre * mean + z[start:end] @ factor.T
            for start, end, mean, factor in zip(edges[:-1], edges[1:], self.means, self.factors, strict=True)
        ]
        return parts[0] if len(parts) == 1 else rng.permutation(np.concatenate(parts))


def fit_mixture(
    x: np.ndarray,  # shape: (n, d)
    k: int,
    rng: np.random.Generator,
) -> Mixture:
    """Fit k components.

    Raises
    ------
    numpy.linalg.LinAlgError
        If the points span no volume.
    """
    d = x.shape[1]
    centre, factor = x.mean(0), np.linalg.cholesky(np.atleast_2d(np.cov(x.T)))
    if k == 1:
        return Mixture(centre[None], factor[None], np.ones(1))
    y = (x - centre) @ np.linalg.inv(factor).T
    share = _apart(y, k, rng)
    before, unit = -math.inf, np.eye(d)
    for _ in range(_ITERATIONS):
        size = share.sum(1) + 1e-10
        means = share @ y / size[:, None]
        second = (share[:, None] * y.T) @ y / size[:, None, None]
        covariance = second - means[:, :, None] * means[:, None, :]
        # towards a sphere of its own size where points are few
        few = np.minimum(1.0, (d + 2) / size)[:, None, None]
        sphere = np.trace(covariance, axis1=1, axis2=2)[:, None, None] / d * unit
        factors = np.linalg.cholesky((1 - few) * covariance + few * sphere + 1e-9 * unit)
        weights = size / size.sum()
        square, volume = _distances(y, means, factors)
        each = (np.log(weights) - volume)[:, None] - 0.5 * square
        total = _log_sum(each)
        share = np.exp(each - total)
        if (now := float(total.mean())) < before + _SETTLED:
            break
        before = now
    return Mixture(centre + means @ factor.T, factor @ factors, weights)


def _apart(y: np.ndarray, k: int, rng: np.random.Generator) -> np.ndarray:  # shape: (k, n)
    """Give each point to the nearest of k seeds that lie apart."""
    nearest, distances, seed = np.full(len(y), np.inf), [], int(rng.integers(len(y)))
    for _ in range(k):
        distances.append(np.square(y - y[seed]).sum(1))
        nearest = np.minimum(nearest, distances[-1])
        total = np.cumsum(nearest)
        seed = int(np.searchsorted(total, total[-1] * rng.random()))
    share = np.zeros((k, len(y)))
    share[np.argmin(distances, axis=0), np.arange(len(y))] = 1
    return share


def choose_mixture(
    x: np.ndarray,  # shape: (n, d)
    near: int,
    most: int,
    rng: np.random.Generator,
) -> Mixture:
    """Fit as many components, half of `near`, `near`, twice as many, ... up to `most`, as points held out ask for."""
    n, d = x.shape
    order = rng.permutation(n)
    fitted, held = x[order[: n // 2]], x[order[n // 2 :]]
    best, best_k, k = -math.inf, 1, max(1, near // 2)
    while k <= most and (k == 1 or n // 2 >= _POINTS_OF_ONE * k * d) and k <= 2 * max(best_k, near):
        for _ in range(2 if k == 2 else 1):  # the seeds decide where the iterations end
            score = float(fit_mixture(fitted, k, rng).log_density(held).mean())
            if score > best + _GAIN:
                best, best_k = score, k
        k *= 2
    return fit_mixture(x, best_k, rng)


def _distances(x: np.ndarray, means: np.ndarray, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return squared distances in units of the components' widths, shape (k, n), and ln of their volumes, shape (k,)."""
    inverse = np.linalg.inv(factors)
    white = x @ inverse.transpose(0, 2, 1) - (inverse @ means[:, :, None]).transpose(0, 2, 1)
    return np.einsum("knd,knd->kn", white, white), np.log(np.diagonal(factors, axis1=1, axis2=2)).sum(1)


def _log_sum(each: np.ndarray) -> np.ndarray:  # shape: (n,)
    """Return ln of the sum of exp over rows; scipy's logsumexp costs ten times as much at this size."""
    top = each.max(0)
    return np.asarray(top + np.log(np.exp(each - top).sum(0)))
