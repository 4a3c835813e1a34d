"""The published posterior of a fit's parameters as one Gaussian: published means, errors and correlations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmbfit.fit.description import Reference
from cmbfit.inference.products import Samples

LEVELS = (2.2957, 6.1801)
"""delta chi2 of two parameters that holds 68.27% and 95.45% of a Gaussian."""


@dataclass(frozen=True)
class Published:
    """A Gaussian.

    Attributes
    ----------
    names : tuple of str
    mean : numpy.ndarray, shape (n,)
    covariance : numpy.ndarray, shape (n, n)
    """

    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray

    def contours(self, x: str, y: str) -> list[np.ndarray]:
        """Return the ellipses that hold 68% and 95% of two parameters, each of shape (2, 200)."""
        rows = [self.names.index(x), self.names.index(y)]
        factor = np.linalg.cholesky(self.covariance[np.ix_(rows, rows)])
        angle = np.linspace(0, 2 * np.pi, 200)
        circle = np.array([np.cos(angle), np.sin(angle)])
        return [self.mean[rows][:, None] + np.sqrt(level) * factor @ circle for level in LEVELS]


def published_gaussian(
    samples: Samples, reference: Reference | None, names: Sequence[str]
) -> Published | None:
    """Return what was published of some parameters as a Gaussian; None where no correlations are known.

    Correlations are published of sampled parameters. Others (H0, sigma8, ...) are nearly linear in them over a posterior
    as narrow as the CMB's: their correlations follow from the regression over this chain, scatter about it included; their
    means and errors stay the published ones.

    Parameters
    ----------
    samples : Samples
    reference : Reference or None
    names : sequence of str
        Parameters wanted; those without a published mean and error are left out.
    """
    if reference is None or reference.correlations is None:
        return None
    of, values = reference.correlations, reference.parameters
    base = [p for p in of.parameters if p in samples.names and values.get(p, (0.0, None))[1]]
    others = [p for p in names if p not in base and p in samples.names and values.get(p, (0.0, None))[1]]
    if len(base) < 2:
        return None
    rows = [of.parameters.index(p) for p in base]
    sigma = np.array([values[p][1] for p in base], dtype=float)
    covariance = np.array(of.matrix)[np.ix_(rows, rows)] * np.outer(sigma, sigma)
    x = np.column_stack([samples.column(p) for p in base])
    y = np.column_stack([samples.column(p) for p in others]) if others else np.empty((len(x), 0))
    scale = x.std(0)
    centred = (x - x.mean(0)) / scale
    slope, *_ = np.linalg.lstsq(centred, y - y.mean(0), rcond=None)
    left = y - y.mean(0) - centred @ slope
    linear = np.vstack([np.eye(len(base)), (slope / scale[:, None]).T])
    whole = linear @ covariance @ linear.T
    whole[len(base) :, len(base) :] += left.T @ left / len(left)
    width = np.sqrt(np.diag(whole))
    all_names = (*base, *others)
    sigmas = np.array([values[p][1] for p in all_names], dtype=float)
    mean = np.array([values[p][0] for p in all_names])
    return Published(all_names, mean, whole / np.outer(width, width) * np.outer(sigmas, sigmas))
