"""Many maxima at once: a quasi-Newton method with walls, each evaluation one batch of all problems that are not done.

Bertsekas' projected method (1982, SIAM J. Control Optim. 20, 221): parameters at a wall that the slope points through are left
out of the step, the step is cut off at the walls, and a line search that halves it accepts any sufficient rise. The curvature
starts from a covariance that the caller knows and is updated by the rule of Broyden, Fletcher, Goldfarb and Shanno for each
problem by itself. A likelihood with kinks (SimAll's table has one at each row) stops such a method early; it then begins anew
from the first curvature, once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

Function = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""From points, shape (n, d), and which of the problems they belong to, shape (n,), to values (n,) and gradients (n, d)."""

_RISE = 1e-5
"""Expected rise of ln P at which a problem is done."""

_STEPS = 200
_HALVINGS = 14
_SUFFICIENT = 1e-4


class Maxima(NamedTuple):
    """Where the problems ended.

    Attributes
    ----------
    points : numpy.ndarray, shape (n, d)
    values : numpy.ndarray, shape (n,)
    done : numpy.ndarray of bool, shape (n,)
        Whether no further rise was expected; False where the steps ran out or a kink stopped them.
    evaluations : int
    """

    points: np.ndarray
    values: np.ndarray
    done: np.ndarray
    evaluations: int


def maximise(
    function: Function,
    points: np.ndarray,  # shape: (n, d)
    walls: tuple[np.ndarray, np.ndarray],  # shapes: (d,), (d,)
    covariance: np.ndarray,  # shape: (d, d)
    held: np.ndarray,  # shape: (d,), bool
) -> Maxima:
    """Maximise n problems from a point each.

    Parameters
    ----------
    function : callable
        Value and gradient of a batch; -inf is no place to go to.
    points : numpy.ndarray
        Starting points of finite value, within the walls.
    walls : pair of numpy.ndarray
        Limits, which may be infinite.
    covariance : numpy.ndarray
        A first guess of the inverse curvature, of all parameters.
    held : numpy.ndarray of bool
        Parameters that keep their value.
    """
    low, high = walls
    x, d = points.copy(), points.shape[1]
    first = np.zeros((d, d))
    free = ~held
    first[np.ix_(free, free)] = np.linalg.inv(np.linalg.inv(covariance)[np.ix_(free, free)])
    inverse = np.tile(first, (len(x), 1, 1))
    value, gradient = function(x, np.arange(len(x)))
    evaluations = len(x)
    fresh, done, going = np.ones(len(x), bool), np.zeros(len(x), bool), np.isfinite(value)
    for _ in range(_STEPS):
        rows = np.flatnonzero(going)
        if not len(rows):
            break
        at, slope = x[rows], gradient[rows]
        stuck = held | ((at <= low) & (slope < 0)) | ((at >= high) & (slope > 0))
        pull = np.where(stuck, 0.0, slope)
        step = np.where(stuck, 0.0, np.einsum("nij,nj->ni", inverse[rows], pull))
        expected = (pull * step).sum(1)
        enough = expected < _RISE
        done[rows[enough]], going[rows[enough]] = True, False
        rows, at, slope, step = (a[~enough] for a in (rows, at, slope, step))
        new, new_value, new_gradient, found, cost = _search(
            function, rows, (at, value[rows], slope), step, walls
        )
        evaluations += cost
        lost = rows[~found]
        # a second chance from the first curvature
        going[lost[fresh[lost]]] = False
        inverse[lost], fresh[lost] = first, True
        rows, at, slope = rows[found], at[found], slope[found]
        new, new_value, new_gradient = new[found], new_value[found], new_gradient[found]
        x[rows], value[rows], gradient[rows], fresh[rows] = new, new_value, new_gradient, False
        _update(inverse, rows, new - at, slope - new_gradient)
    return Maxima(x, value, done, evaluations)


def _search(
    function: Function,
    rows: np.ndarray,
    start: tuple[np.ndarray, np.ndarray, np.ndarray],
    step: np.ndarray,
    walls: tuple[np.ndarray, np.ndarray],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]:
    """Shorten steps until each rises enough; returns points, values, gradients, who succeeded, and evaluations."""
    at, value, slope = start
    new, new_value, new_gradient = at.copy(), value.copy(), slope.copy()
    found, length, cost = np.zeros(len(rows), bool), np.ones(len(rows)), 0
    for _ in range(_HALVINGS):
        todo = np.flatnonzero(~found)
        if not len(todo):
            break
        trial = np.clip(at[todo] + length[todo, None] * step[todo], *walls)
        got, rise = function(trial, rows[todo])
        cost += len(todo)
        wanted = value[todo] + _SUFFICIENT * (slope[todo] * (trial - at[todo])).sum(1)
        good = np.isfinite(got) & (got > value[todo]) & (got >= wanted)
        new[todo[good]], new_value[todo[good]], new_gradient[todo[good]] = trial[good], got[good], rise[good]
        found[todo[good]] = True
        length[todo] *= 0.4
    return new, new_value, new_gradient, found, cost


def _update(inverse: np.ndarray, rows: np.ndarray, s: np.ndarray, y: np.ndarray) -> None:
    """Update the inverse curvatures of some problems in place, where the curvature along the step is positive."""
    along = (s * y).sum(1)
    good = along > 1e-12
    rows, s, y, along = rows[good], s[good], y[good], along[good, None]
    of = inverse[rows]
    turned = np.einsum("nij,nj->ni", of, y)
    scale = (1 + (y * turned).sum(1)[:, None] / along) / along
    cross = s[:, :, None] * turned[:, None, :] / along[:, :, None]
    inverse[rows] = of + scale[:, :, None] * s[:, :, None] * s[:, None, :] - cross - cross.transpose(0, 2, 1)
