"""The pixel covariance of I, Q, U the classical way: Legendre sums in the frame of the great circle, then rotation.

<T T'> = sum (2l+1)/4pi TT P_l; with P = Q + iU measured along the arc that joins two points,
<P P'*> = sum (EE + BB) d_22, <P P'> = sum (EE - BB + 2i EB) d_2-2, <T P'> = -sum (TE + i TB) d_20 (HEALPix signs),
Zaldarriaga & Seljak 1997 (astro-ph/9609170); Tegmark & de Oliveira-Costa 2001 (astro-ph/0012120). Wigner's d by
Jacobi polynomials of scipy. Shares no line with cmbfit, which multiplies spherical harmonics of ducc0.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import lgamma

import healpy
import numpy as np
from scipy.special import eval_jacobi, eval_legendre


def _frames(nside: int, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors n, e_theta (south), e_phi (east) of pixels."""
    theta, phi = healpy.pix2ang(nside, pixels)
    n = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], 1)
    south = np.stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)], 1)
    east = np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], 1)
    return n, south, east


def _angle(tangent: np.ndarray, south: np.ndarray, east: np.ndarray) -> np.ndarray:
    return np.arctan2((tangent * east).sum(-1), (tangent * south).sum(-1))


def covariance(
    nside: int, t: np.ndarray, p: np.ndarray, cl: Mapping[str, np.ndarray], lmin: int, lmax: int
) -> np.ndarray:
    """Covariance of (I at t, Q at p, U at p) for C_l from l = 0 (beams included); no antipodal pixels."""
    pixels = np.concatenate([t, p]).astype(int)
    n, south, east = _frames(nside, pixels)
    c = np.clip(n @ n.T, -1, 1)
    assert c.min() > -1 + 1e-9, "antipodal pixels: the joining arc is not unique"
    arc = n[None, :, :] - c[:, :, None] * n[:, None, :]  # at pixel 1, towards pixel 2
    onward = c[:, :, None] * n[None, :, :] - n[:, None, :]  # at pixel 2, away from pixel 1
    psi1 = _angle(arc, south[:, None], east[:, None])
    psi2 = _angle(onward, south[None], east[None])
    same = np.isclose(c, 1.0, atol=1e-12)
    psi1[same] = psi2[same] = 0.0
    tt, plus, minus, cross = (np.zeros(c.shape, dtype=complex) for _ in range(4))
    for ell in range(lmin, lmax + 1):
        norm = (2 * ell + 1) / (4 * np.pi)
        get = {k: norm * v[ell] for k, v in cl.items()}
        tt += get.get("tt", 0.0) * eval_legendre(ell, c)
        if ell < 2:
            continue
        ratio = np.exp(0.5 * (lgamma(ell + 3) + lgamma(ell - 1)) - lgamma(ell + 1))
        d22 = ((1 + c) / 2) ** 2 * eval_jacobi(ell - 2, 0, 4, c)
        d2m2 = ((1 - c) / 2) ** 2 * eval_jacobi(ell - 2, 4, 0, c)
        d20 = ratio * (1 - c**2) / 4 * eval_jacobi(ell - 2, 2, 2, c)
        ee, bb, eb = (get.get(k, 0.0) for k in ("ee", "bb", "eb"))
        plus += (ee + bb) * d22
        minus += (ee - bb + 2j * eb) * d2m2
        cross += -(get.get("te", 0.0) + 1j * get.get("tb", 0.0)) * d20
    pp_star = plus * np.exp(2j * (psi1 - psi2))
    pp = minus * np.exp(2j * (psi1 + psi2))
    tp = cross * np.exp(2j * psi2)
    a, b = slice(0, len(t)), slice(len(t), None)
    qq, uu = 0.5 * (pp_star + pp).real[b, b], 0.5 * (pp_star - pp).real[b, b]
    qu = 0.5 * (pp - pp_star).imag[b, b]  # <Q1 U2>
    top = np.hstack([tt.real[a, a], tp.real[a, b], tp.imag[a, b]])
    middle = np.hstack([tp.real[a, b].T, qq, qu])
    bottom = np.hstack([tp.imag[a, b].T, qu.T, uu])
    return np.vstack([top, middle, bottom])
