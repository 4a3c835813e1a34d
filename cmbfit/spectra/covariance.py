"""What any covariance of bandpowers must satisfy."""

from __future__ import annotations

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array


def smallest_eigenvalue(matrix: Array) -> float:
    """Return the smallest eigenvalue of the correlation matrix of a covariance; -inf when a variance is not > 0."""
    variance = np.diag(matrix)
    if not (np.isfinite(matrix).all() and (variance > 0).all()):
        return -np.inf
    scale = 1 / np.sqrt(variance)
    return float(np.linalg.eigvalsh(matrix * np.outer(scale, scale))[0])


def require_positive(matrix: Array, what: str) -> Array:
    """Return a covariance as it is, or raise :class:`SpectrumError` when it is not positive definite.

    It is never repaired: a repaired matrix hides that the approximation failed.
    """
    smallest = smallest_eigenvalue(matrix)
    if not smallest > 0:
        raise SpectrumError(
            f"{what} is not positive definite (smallest eigenvalue of its correlation matrix {smallest:.3g}): the "
            "narrow-kernel approximation fails here; apodise the masks, widen the bins, leave spectra out, or use "
            "simulations (cmbfit.spectra.SimulatedCovariance)"
        )
    return matrix
