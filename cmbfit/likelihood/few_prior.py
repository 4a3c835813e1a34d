"""Priors of a few points in numpy, and the sums over first axes that :mod:`cmbfit.likelihood.few_points` shares with them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from cmbfit.likelihood.prior_table import PriorTable


def of(x: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return a vector that broadcasts with points; an array with a column for each point as it is."""
    return x if theta.ndim == 1 or x.ndim == 2 else x[:, None]


def products(a: np.ndarray, b: np.ndarray) -> Any:  # shape: (batch,) or ()
    """Return the sum of a b over the first axis."""
    return a.dot(b) if a.ndim == 1 else np.einsum("ij,ij->j", a, b)


def squares(x: np.ndarray) -> Any:  # shape: (batch,) or ()
    """Return the sum of x^2 over the first axis."""
    return products(x, x)


class FewPrior:
    """Uniform, normal and joint normal priors; see :class:`~cmbfit.likelihood.prior_table.PriorTable`."""

    def __init__(self, table: PriorTable) -> None:
        self._walls = table._low.numpy(), table._high.numpy()
        self._box = (table._box_low.numpy(), table._box_high.numpy()) if table._box_cuts else None
        self._offset, self._weight = table._offset.numpy(), table._weight.numpy()
        self._constant = float(table._constant)
        self._joint = [(c.tolist(), m.numpy(), w.numpy().T) for c, m, w in table._joint]

    @property
    def normal(self) -> np.ndarray:  # shape: (n_parameters,), bool
        """Which parameters have normal priors of their own."""
        return self._weight != 0

    def around(self, theta: np.ndarray, rng: np.random.Generator) -> FewPrior:
        """Return normal priors as measurements repeated at points, shape (n_parameters, batch): with other means."""
        out = copy.copy(self)
        noise = np.where(self.normal[:, None], rng.standard_normal(theta.shape), 0.0)
        out._offset = noise - theta * self._weight[:, None]
        out._joint = [
            (c, theta[c] + np.linalg.solve(w, rng.standard_normal((len(c), theta.shape[1]))), w)
            for c, _, w in self._joint
        ]
        return out

    def of_rows(self, rows: np.ndarray) -> FewPrior:
        """Return the priors of some of the points that :meth:`around` made them for."""
        out = copy.copy(self)
        out._offset, out._joint = self._offset[:, rows], [(c, m[:, rows], w) for c, m, w in self._joint]
        return out

    def __call__(
        self,
        theta: np.ndarray,  # shape: (n_parameters[, batch])
        *,
        slope: bool,
    ) -> tuple[Any, np.ndarray | None, Any, Any]:
        """Return the log prior and its gradient, who is inside the priors' support, and who is inside the box too."""
        allowed = _between(theta, *self._walls)
        inside = allowed if self._box is None else allowed & _between(theta, *self._box)
        weight = of(self._weight, theta)
        white = theta * weight
        white += of(self._offset, theta)
        value = self._constant - 0.5 * squares(white)
        gradient = -white * weight if slope else None
        for columns, mean, whitening in self._joint:
            residual = whitening @ (theta[columns] - of(mean, theta))
            value = value - 0.5 * squares(residual)
            if gradient is not None:
                gradient[columns] -= whitening.T @ residual
        return value, gradient, allowed, inside


def _between(theta: np.ndarray, low: np.ndarray, high: np.ndarray) -> Any:
    return ((theta >= of(low, theta)) & (theta <= of(high, theta))).all(0)
