"""Sparse Legendre polynomials of several parameters, batched and differentiable in torch.

The features are products of Legendre polynomials P_d(x_i) of the parameters scaled to [-1, 1]. A
term with degrees d_i is kept if its weighted degree, sum_i w_i d_i, does not exceed a limit: the
parameters on which the spectra depend more smoothly get larger weights.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from cmbfit.device import OnDevice


def weighted_degrees(weights: Sequence[float], limit: float) -> np.ndarray:
    """Return all degree tuples with sum_i weights_i d_i <= limit.

    Parameters
    ----------
    weights : sequence of float
        One positive weight per parameter.
    limit : float

    Returns
    -------
    numpy.ndarray of int, shape (n_terms, n_parameters)
        Sorted by the number of parameters involved, so that each term follows its parts.
    """
    ranges = [range(int(limit / w + 1e-9) + 1) for w in weights]
    terms = [d for d in itertools.product(*ranges) if np.dot(d, weights) <= limit + 1e-9]
    terms.sort(key=lambda d: (sum(x > 0 for x in d), d))
    return np.array(terms, dtype=np.int64)


class LegendreFeatures(OnDevice):
    """Evaluate the features of a batch of points.

    Each term is the product of an earlier term (its last parameter removed) and one Legendre
    polynomial, so a term costs one multiplication however many parameters it involves.

    Parameters
    ----------
    box : sequence of (low, high)
        Range of each parameter that is scaled to [-1, 1].
    degrees : numpy.ndarray of int, shape (n_terms, n_parameters)
        From :func:`weighted_degrees`.
    """

    def __init__(self, box: Sequence[tuple[float, float]], degrees: np.ndarray) -> None:
        self.degrees = degrees
        self.low, self.high = torch.tensor(box, dtype=torch.float64).T
        self.max_degree = int(degrees.max())
        n_parameters = degrees.shape[1]
        position = {tuple(d): i for i, d in enumerate(degrees.tolist())}
        # one level per number of parameters involved; (parent term, row of the Legendre table)
        self._levels: list[tuple[torch.Tensor, torch.Tensor]] = []
        for n_involved in range(1, n_parameters + 1):
            parents, rows = [], []
            for d in degrees.tolist():
                involved = [i for i, x in enumerate(d) if x]
                if len(involved) != n_involved:
                    continue
                last = involved[-1]
                parents.append(position[tuple(0 if i == last else x for i, x in enumerate(d))])
                rows.append((d[last] - 1) * n_parameters + last)
            if parents:
                self._levels.append((torch.tensor(parents), torch.tensor(rows)))

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (n_terms, batch): terms first, so that picking one is a contiguous copy
        """Return the features, float64."""
        x = ((2 * theta - (self.high + self.low)) / (self.high - self.low)).T  # shape: (n_parameters, batch)
        ladder = [torch.ones_like(x), x]
        for d in range(1, self.max_degree):
            # Bonnet's recursion
            ladder.append(((2 * d + 1) * x * ladder[d] - d * ladder[d - 1]) / (d + 1))
        table = torch.cat(ladder[1:], dim=0)  # row (degree - 1) * n_parameters + parameter
        done = [torch.ones_like(x[:1])]
        for level, (parents, rows) in enumerate(self._levels):
            factor = table[rows]
            done.append(factor if level == 0 else torch.cat(done, dim=0)[parents] * factor)
        return torch.cat(done, dim=0)
