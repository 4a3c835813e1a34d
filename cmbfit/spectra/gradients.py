"""Derivatives of masks: where leaked power lies, and what purification multiplies the sky with."""

from __future__ import annotations

import numpy as np

from cmbfit.sky.harmonic import Alm, alm2map, map2alm, scale_alm
from cmbfit.sky.maps import Array, Mask
from cmbfit.sky.pixelisation import Pixelisation


def eth_norm(lmax: int) -> Array:
    """Return 1 / N_l = sqrt((l + 2)! / (l - 2)!), zero at l = 0 and 1; shape (lmax + 1,)."""
    ell = np.arange(lmax + 1.0)
    return np.sqrt(np.maximum((ell + 2) * (ell + 1) * ell * (ell - 1), 0))


def gradient_lmax(grid: Pixelisation, lmax: int) -> int:
    """Return the band limit of a gradient: above 2 nside pixel sums alias, and a derivative amplifies that."""
    return min(lmax, grid.derivative_lmax)


def gradient(weights: Array, grid: Pixelisation, lmax: int, nthreads: int = 1) -> Array:
    """Return (d/d theta, 1/sin(theta) d/d phi) of a mask, band-limited at lmax and 2 nside, shape (2, npix).

    One Jacobi iteration refines the pixel sum, since a gradient weighs the small scales of the map: the mean of its
    square is then good to 1e-6 (7e-5 without). Zero on rings where the mask is.
    """
    lmax = gradient_lmax(grid, lmax)
    alm = map2alm(weights[None], lmax, 0, grid.refinements(1), nthreads, grid)
    return grid.synthesis_where(alm, lmax, weights, "DERIV1", nthreads)


def gradient_product(one: Array, two: Array) -> Array:
    """Return grad(one) . grad(two) of two gradients, shape (npix,)."""
    out: Array = one[0] * two[0]
    out += one[1] * two[1]
    return out


def potential(vector: Array, grid: Pixelisation, lmax: int, nthreads: int = 1) -> Alm:
    """Return the coefficients of h whose gradient is the curl-free part of a vector field.

    Parameters
    ----------
    vector : ndarray, shape (2, npix)
        Components along theta and phi, as :func:`gradient` has them.

    Returns
    -------
    ndarray, shape ((lmax + 1)(lmax + 2) / 2,)
        Zero at l = 0.
    """
    alm = grid.analysis(np.ascontiguousarray(vector), lmax, 1, nthreads, mode="DERIV1")[0]
    ell = np.arange(lmax + 1.0)
    # the adjoint of grad is -div, of grad h it is l (l + 1) h
    return scale_alm(alm, np.divide(1, ell * (ell + 1), out=np.zeros(lmax + 1), where=ell > 0))


def mask_derivatives(mask: Mask) -> tuple[Array, Array]:
    """Return -eth(w) and -eth^2(w) as (real, imaginary) maps, each of shape (2, npix).

    From the mask's coefficients up to l = 2 nside, refined by three Jacobi iterations: above, the
    pixel sums alias, and derivatives amplify that (at l = 3 nside - 1 the poles are off by 0.4).
    """
    grid = mask.grid
    lmax = grid.derivative_lmax
    alm = map2alm(mask.weights[None], lmax, 0, grid.refinements(3), grid=grid)[0]
    ell = np.arange(lmax + 1.0)
    out = []
    for spin, factor in ((1, np.sqrt(ell * (ell + 1))), (2, eth_norm(lmax))):
        scaled = scale_alm(alm, factor)
        out.append(alm2map(np.stack([scaled, np.zeros_like(scaled)]), grid, spin))
    return out[0], out[1]
