"""The numbers of :class:`~cmbfit.likelihood.polynomial_rows.PolynomialRows` in numpy, for a few points at a time.

A point takes 200 launches of torch, microseconds each, for arithmetic of a tenth of that. numpy's calls are cheaper, and
fewer: a point's whole table of Legendre polynomials is one small matrix times cos(d arccos x), the Chebyshev polynomials, and the
pull-back's sums over groups are one `add.reduceat` each over terms in the groups' order. All arrays have the points as their
last axis, or no such axis for a single point, whose vectors are quicker still.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.polynomial import legendre

if TYPE_CHECKING:
    from cmbfit.likelihood.polynomial_rows import PolynomialRows


class FewRows:
    """matrix @ h(x) and its pull-back.

    Parameters
    ----------
    rows : PolynomialRows
        On the CPU; its matrices are shared, not copied.
    """

    def __init__(self, rows: PolynomialRows) -> None:
        self._slope, self._offset = rows._slope.numpy(), rows._offset.numpy()
        top, norms = rows._max_degree, np.array(rows._norms)
        self._degrees = np.arange(top + 1.0)
        nodes = np.cos(np.pi * (np.arange(top + 1) + 0.5) / (top + 1))
        chebyshev = np.cos(self._degrees[:, None] * np.arccos(nodes))
        self._of_chebyshev = np.linalg.solve(chebyshev.T, legendre.legvander(nodes, top) / norms).T
        self._bonnet = [(2 * d + 1) * norms[d] / ((d + 1) * norms[d + 1]) for d in range(1, top)]
        self._slopes = rows._slopes.numpy()
        self._factors = rows._factors.numpy()
        k = np.arange(len(self._factors))
        self._others = [np.roll(k, -shift) for shift in k[1:]]
        self._both = np.stack([rows._first.numpy(), rows._second.numpy()])
        self._of_rows = [(r, t, m.numpy()) for r, t, m in rows._of_rows]
        self._of_terms = [(t, r, m.numpy()) for t, r, m in rows._of_terms]
        self.n_rows, self.n_terms = rows.n_rows, rows.n_terms
        self.blocks: Mapping[str, slice] = rows._blocks
        self._groups = [_Groups(index) for index in self._both]
        # the pull-back's last sums: of each factor of each half's products, for the factor's parameter
        n, (one, _) = self._factors.shape[1], rows._lengths
        starts = [(k * n, k * n + one) for k in range(len(self._factors))]
        pieces = [(part[k], starts[k][h]) for h, part in enumerate(rows._halves) for k in range(len(part))]
        self._edges = np.array(sorted({x for pair in starts for x in pair if x < n * len(self._factors)}))
        self._column = np.array([np.searchsorted(self._edges, start) for _, start in sorted(pieces)])

    def values(
        self,
        x: np.ndarray,  # shape: (n_parameters[, batch])
    ) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:  # shape: (n_rows[, batch])
        """Return the rows of all blocks, one below the other, and what :meth:`pull_back` wants of the way."""
        table = self._legendre(x)
        factors = table.take(self._factors, 0)
        products = factors[0] * factors[1] if len(factors) > 1 else factors[0]
        for factor in factors[2:]:
            products *= factor
        features, second = products.take(self._both, 0)
        features *= second
        out = np.empty((self.n_rows, *x.shape[1:]))
        for rows, terms, matrix in self._of_rows:
            np.dot(matrix, features[terms], out=out[rows])
        return out, (table, products, factors)

    def _legendre(self, x: np.ndarray) -> np.ndarray:  # shape: ((max_degree + 1) n_parameters[, batch])
        """P_d(x) / norm_d, row d n_parameters + parameter."""
        if x.ndim == 1:
            # a point on the box's edge may lie beyond it by rounding
            angle = np.arccos(np.minimum(np.maximum(x * self._slope + self._offset, -1.0), 1.0))
            return (self._of_chebyshev @ np.cos(self._degrees[:, None] * angle)).ravel()
        # cosines cost more than Bonnet's recursion from some points on
        out = np.empty((len(self._degrees), *x.shape))
        out[0] = 1.0
        scaled = np.multiply(x, self._slope[:, None], out=out[1])
        scaled += self._offset[:, None]
        for d, weight in enumerate(self._bonnet, start=1):
            np.multiply(scaled, weight, out=out[d + 1])
            out[d + 1] *= out[d]
            out[d + 1] += out[d - 1]
        return out.reshape(-1, x.shape[1])

    def pull_back(
        self,
        way: tuple[np.ndarray, ...],
        gradient: np.ndarray,  # shape: (n_rows[, batch])
    ) -> np.ndarray:  # shape: (n_parameters[, batch])
        """Return d(sum gradient . rows)/dx."""
        table, products, factors = way
        tail = gradient.shape[1:]
        of_terms = np.empty((self.n_terms, *tail))
        for terms, rows, matrix in self._of_terms:
            np.dot(matrix, gradient[rows], out=of_terms[terms])
        of_products = np.empty(products.shape)
        for groups, other in zip(self._groups, self._both[::-1], strict=True):
            weighted = products.take(other, 0)
            weighted *= of_terms
            groups.put(of_products, weighted)
        slopes = (self._slopes @ table.reshape(len(self._degrees), -1)).reshape(table.shape)
        changes = slopes.take(self._factors, 0)
        changes *= of_products
        for others in self._others:
            changes *= factors.take(others, 0)
        sums = np.add.reduceat(changes.reshape(-1, *tail), self._edges, axis=0)
        out = sums.take(self._column, 0)
        out *= self._slope if not tail else self._slope[:, None]
        return out


class _Groups:
    """Sums of terms over the groups that an index puts them into; each half's products, a run of them, all occur."""

    def __init__(self, index: np.ndarray) -> None:
        order = np.argsort(index, kind="stable")
        self._order = None if (order == np.arange(len(order))).all() else order
        targets, self._starts = np.unique(index[order], return_index=True)
        self._run = slice(int(targets[0]), int(targets[-1]) + 1)

    def put(self, out: np.ndarray, terms: np.ndarray) -> None:
        """Write the groups' rows of `out`."""
        ordered = terms if self._order is None else terms.take(self._order, 0)
        np.add.reduceat(ordered, self._starts, axis=0, out=out[self._run])
