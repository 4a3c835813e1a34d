"""Sums over every multipole from a few: an interpolative decomposition of lensing's kernels in l.

Within an angle theta_max, functions like d^l(beta) exp(-l(l+1) sigma^2/2) oscillate in l no faster than J(l theta_max):
up to lmax about lmax theta_max / pi of them are independent (Slepian & Pollak 1961; 116 for pi/32 and 3700). A
column-pivoted QR of random combinations (Cheng, Gimbutas, Martinsson & Rokhlin 2005, SIAM J. Sci. Comput. 26, 1389) picks
multipoles that stand for all, and the weights with which every other one counts there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.linalg import qr, solve_triangular

SIGMA2_MAX = 2.5e-6
"""Largest variance of the deflections' difference [rad^2] the nodes are made for: four times LCDM's."""

_TOLERANCE = 1e-11  # of the largest kernel; 140 nodes for 3700 multipoles, 133 at 1e-8
_DAMPINGS = 8  # variances from 0 to SIGMA2_MAX


def choose_nodes(
    kernels: Mapping[str, np.ndarray],  # name -> shape (3, n_angle, n_ell)
    square: np.ndarray,  # shape: (n_ell,)
    scale: np.ndarray,  # shape: (n_ell,)
) -> tuple[np.ndarray, np.ndarray]:
    """Return multipoles that stand for all in the sums of lensing, and how.

    Parameters
    ----------
    kernels : mapping of str to numpy.ndarray, shape (3, n_angle, n_ell)
        Correlation functions of order 0, 1 and 2 in C_gl,2 per unit of a source.
    square : numpy.ndarray, shape (n_ell,)
        l(l+1).
    scale : numpy.ndarray, shape (n_ell,)
        Size of the source; at least a thousand-millionth of the largest is kept apart from zero.

    Returns
    -------
    nodes : numpy.ndarray, shape (n_nodes,), int
    gather : numpy.ndarray, shape (n_ell, n_nodes)
        ``sum_l source_l f_l = sum_j (source @ gather)_j f_nodes[j]`` for each kernel f at any damping up to
        :data:`SIGMA2_MAX`, to 1e-11 of the largest term.
    """
    rows = _combinations(kernels, square) * scale
    triangle, order = qr(rows, mode="r", pivoting=True, check_finite=False)
    size = np.abs(np.diag(triangle))
    n = int((size > _TOLERANCE * size[0]).sum())
    weights = np.zeros((len(square), n))
    weights[order[:n]] = np.eye(n)
    weights[order[n:]] = solve_triangular(triangle[:n, :n], triangle[:n, n:]).T
    nodes = order[:n]
    # what a source without scale gathers: nothing where the scale is zero
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    rising = np.argsort(nodes)
    return nodes[rising], (inverse[:, None] * weights * scale[nodes])[:, rising]


def _combinations(kernels: Mapping[str, np.ndarray], square: np.ndarray) -> np.ndarray:
    """Random combinations of what sources are summed with: twice as many as are independent, shape (n, n_ell)."""
    rng = np.random.default_rng(1)
    n_angle = next(iter(kernels.values())).shape[1]
    each = n_angle // (len(kernels) * _DAMPINGS) * 2 + 8
    out = []
    for sigma2 in SIGMA2_MAX * np.linspace(0.02, 1, _DAMPINGS):
        damping = np.exp(-sigma2 / 2 * square)
        # as they count: C_gl,2 is a fraction of the variance
        factors = (np.expm1(-sigma2 / 2 * square), sigma2 / 4 * damping, (sigma2 / 4) ** 2 * damping)
        for orders in kernels.values():
            mixed = (rng.normal(size=(each, n_angle)) @ k * f for k, f in zip(orders, factors, strict=True))
            out.append(np.sum(list(mixed), axis=0))
    return np.concatenate(out)
