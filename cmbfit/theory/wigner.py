"""Wigner's small d functions d^l_mn(beta) for all l at once, by the three-term recursion in l.

Varshalovich, Moskalev & Khersonskii 1988, section 4.8; the recursion upwards in l is stable for
the few small m, n of CMB lensing.
"""

from __future__ import annotations

import math

import numpy as np


def wigner_d(lmax: int, m: int, n: int, beta: np.ndarray) -> np.ndarray:
    """Return d^l_mn(beta) for l = 0 to `lmax`.

    Parameters
    ----------
    lmax, m, n : int
    beta : numpy.ndarray, shape (n_beta,)
        Angles in [0, pi] [rad].

    Returns
    -------
    numpy.ndarray, shape (n_beta, lmax + 1)
        Zero for l < max(|m|, |n|); at small angles d^l_mn(beta) -> J_{m-n}(l beta) for even m - n.

    Examples
    --------
    >>> bool(np.isclose(wigner_d(2, 0, 0, np.array([0.3]))[0, 2], 1.5 * np.cos(0.3) ** 2 - 0.5))
    True
    """
    start = max(abs(m), abs(n))
    out = np.zeros((lmax + 1, len(beta)))
    if start > lmax:
        return out.T
    out[start] = _lowest(start, m, n, beta)
    x = np.cos(beta)
    for l in range(start, lmax):
        # (l+1) d^(l-1), d^l and d^(l+1) are linked; the first has weight zero at l = start
        below = math.sqrt((l * l - m * m) * (l * l - n * n)) / l if l else 0.0
        above = math.sqrt(((l + 1) ** 2 - m * m) * ((l + 1) ** 2 - n * n)) / (l + 1)
        centre = x - (m * n / (l * (l + 1)) if l else 0.0)
        previous = out[l - 1] if l else 0.0
        out[l + 1] = ((2 * l + 1) * centre * out[l] - below * previous) / above
    return out.T


def _lowest(l: int, m: int, n: int, beta: np.ndarray) -> np.ndarray:
    """d^l_mn for l = max(|m|, |n|), where one term of Wigner's sum is left."""
    sign = 1.0
    # symmetries d_mn = (-1)^(m-n) d_nm = d_-n-m bring the larger index to m = l
    if abs(m) < abs(n):
        sign, m, n = (-1.0) ** (m - n), n, m
    if m < 0:
        m, n, sign = -m, -n, sign * (-1.0) ** (m - n)
    cos, sin = np.cos(beta / 2), np.sin(beta / 2)
    # binomials in exact integers; (-1)^(l-n) is Varshalovich's sign
    return sign * (-1.0) ** (l - n) * math.sqrt(math.comb(2 * l, l + n)) * cos ** (l + n) * sin ** (l - n)
