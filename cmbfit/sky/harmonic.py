"""Harmonic transforms with ducc0: a_lm of I, Q, U and back, and their spectra.

The one transform layer of the package: preparation of maps and estimation of spectra both stand on it.
Signs follow HEALPix: (Q +- iU)(n) = -sum_lm (E_lm +- i B_lm) +-2Y_lm(n), U in the COSMO convention.
Coefficients are stored as healpy stores them: m-major, m >= 0, l from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.maps import Array, StokesMap
from cmbfit.sky.pixelisation import Alm, Healpix, Pixelisation, grid_of_nside, nside_of


def alm_size(lmax: int) -> int:
    """Return the number of coefficients up to `lmax`."""
    return (lmax + 1) * (lmax + 2) // 2


def lmax_of(alm: Alm) -> int:
    """Return the lmax of coefficients along the last axis, or raise :class:`MapError`."""
    lmax = round((np.sqrt(8 * alm.shape[-1] + 1) - 3) / 2)
    if alm_size(lmax) != alm.shape[-1]:
        raise MapError(f"a_lm: {alm.shape[-1]} coefficients are no triangle (lmax + 1)(lmax + 2) / 2")
    return lmax


@lru_cache(maxsize=8)
def ell_of(lmax: int) -> NDArray[np.int64]:
    """Return the l of every coefficient, shape (alm_size(lmax),)."""
    out = np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])
    out.flags.writeable = False
    return out


def scale_alm(alm: Alm, window: Array) -> Alm:
    """Return a_lm f_l; `window` has shape (>= lmax + 1,) and acts on the last axis."""
    lmax = lmax_of(alm)
    if window.size <= lmax:
        raise MapError(f"window up to l = {window.size - 1}, the a_lm reach {lmax}")
    return alm * window[ell_of(lmax)]


def change_lmax(alm: Alm, lmax: int) -> Alm:
    """Return the coefficients cut to, or zero-padded up to, `lmax`."""
    old = lmax_of(alm)
    out = np.zeros((*alm.shape[:-1], alm_size(lmax)), dtype=np.complex128)
    low = min(old, lmax)
    for m in range(low + 1):
        source, target = m * (2 * old + 1 - m) // 2 + m, m * (2 * lmax + 1 - m) // 2 + m
        out[..., target : target + low + 1 - m] = alm[..., source : source + low + 1 - m]
    return out


def alm2cl(a: Alm, b: Alm) -> Array:
    """Return C_l = sum_m Re(a_lm b*_lm) / (2 l + 1), shape (lmax + 1,)."""
    lmax = lmax_of(a)
    one, two = (np.ascontiguousarray(x, dtype=np.complex128).view(np.float64) for x in (a, b))
    power = np.zeros(2 * (lmax + 1))  # of real and of imaginary parts, in turn
    start = 0
    for m in range(lmax + 1):  # in pieces that stay in the cache
        size = 2 * (lmax + 1 - m)
        part = one[start : start + size] * two[start : start + size]
        power[2 * m :] += part if m == 0 else 2 * part  # m < 0
        start += size
    return (power[::2] + power[1::2]) / (2 * np.arange(lmax + 1) + 1)


def map2alm(
    maps: Array, lmax: int, spin: int, n_iter: int = 3, nthreads: int = 1, grid: Pixelisation | None = None
) -> Alm:
    """Return the coefficients of a spin-0 map, shape (1, npix), or of the pair (Q, U), shape (2, npix).

    Parameters
    ----------
    lmax : int
        At most 4 nside, above which iterations do not converge; at most 6 nside - 2 without iterations:
        twice 3 nside - 1, what the mode coupling of a mask asks for.
    n_iter : int
        Jacobi iterations a <- a + A (m - S a), as in HEALPix anafast. With 0 the transform is the plain
        pixel sum (4 pi / npix) sum_p m_p Y*_lm(p), for which the coupling matrix of the pixel-sum mask
        spectrum is exact: pseudo-spectra (:mod:`cmbfit.spectra`) are taken without iterations.
    grid : Pixelisation, optional
        HEALPix of this many pixels when omitted.

    Returns
    -------
    ndarray, shape (1 or 2, alm_size(lmax))
        a_lm, or (E_lm, B_lm).

    Raises
    ------
    MapError
        For wrong shapes, pixels without data, or an lmax beyond the pixels.
    """
    expected = 1 if spin == 0 else 2
    if maps.ndim != 2 or maps.shape[0] != expected:
        raise MapError(f"spin {spin}: expected maps of shape ({expected}, npix), found {maps.shape}")
    if grid is None:
        grid = Healpix(nside_of(maps.shape[1], "transform"))
    elif grid.npix != maps.shape[1]:
        raise MapError(f"transform: {maps.shape[1]} pixels, {grid.name} has {grid.npix}")
    if not np.isfinite(maps).all():
        raise MapError(
            f"transform: {int((~np.isfinite(maps)).sum())} pixels without data; fill them or apply a mask first"
        )
    top = grid.highest(n_iter)
    if not 0 <= lmax <= top:
        raise MapError(f"transform: lmax {lmax} at {grid.name} with {n_iter} iterations, expected 0 to {top}")
    values = np.ascontiguousarray(maps, dtype=np.float64)

    def analyse(x: Array) -> Alm:
        # ducc0 wants lmax >= spin
        top = max(lmax, spin)
        alm = grid.analysis(x, top, spin, nthreads)
        return alm if top == lmax else change_lmax(alm, lmax)

    alm = analyse(values)
    for _ in range(n_iter):
        residual = alm2map(alm, grid, spin, nthreads)
        alm += analyse(np.subtract(values, residual, out=residual))
    return alm


def pixel_sum(maps: Array, grid: Pixelisation, lmax: int, spin: int, nthreads: int = 1) -> Alm:
    """Return sum_p m_p Y*_lm(p), without areas: the scalar product with a band-limited sky that is a sum over its pixels."""
    if isinstance(area := grid.pixel_area, float):
        return map2alm(maps, lmax, spin, 0, nthreads, grid) * (maps.shape[1] / (4 * np.pi))
    return map2alm(maps / area, lmax, spin, 0, nthreads, grid)


def alm2map(alm: Alm, nside: int | Pixelisation, spin: int, nthreads: int = 1) -> Array:
    """Return the map(s) of coefficients of shape (1 or 2, n): shape (1 or 2, npix) of an nside or any other grid."""
    lmax = lmax_of(alm)
    if lmax < spin:
        alm, lmax = change_lmax(alm, spin), spin
    return grid_of_nside(nside).synthesis(np.ascontiguousarray(alm), lmax, spin, nthreads)


def stokes2alm(iqu: Array, lmax: int, n_iter: int = 3, nthreads: int = 1) -> Alm:
    """Return (T, E, B) coefficients of I, Q, U of shape (3, npix); shape (3, alm_size(lmax))."""
    return np.concatenate(
        [map2alm(iqu[:1], lmax, 0, n_iter, nthreads), map2alm(iqu[1:], lmax, 2, n_iter, nthreads)]
    )


def alm2stokes(teb: Alm, nside: int | Pixelisation, nthreads: int = 1) -> Array:
    """Return I, Q, U of (T, E, B) coefficients: inverse of :func:`stokes2alm`, shape (3, npix)."""
    return np.concatenate([alm2map(teb[:1], nside, 0, nthreads), alm2map(teb[1:], nside, 2, nthreads)])


def require_full_sky(stokes: StokesMap, what: str) -> None:
    """Raise :class:`MapError` when a harmonic step meets a map with missing pixels."""
    if stokes.missing.any():
        raise MapError(
            f"map {stokes.name!r}: {what} works on a_lm and needs every pixel, {int(stokes.missing.sum())} have no "
            "data; use fill_missing for few isolated pixels, or do this before cutting to a mask"
        )


def common_grid(maps: Sequence[StokesMap], what: str) -> Pixelisation:
    """Return the grid that all maps share, or raise :class:`MapError`; coordinates must agree too."""
    if not maps:
        raise MapError(f"{what}: no map given")
    if len({(m.grid, m.coord) for m in maps}) != 1:
        found = sorted({(m.grid.name.removeprefix("nside "), m.coord) for m in maps})
        raise MapError(f"{what}: maps must share nside and coordinates, found {found}")
    return maps[0].grid


def common_nside(maps: Sequence[StokesMap], what: str) -> int:
    """Return the nside that all maps share, or raise :class:`MapError`; coordinates must agree too."""
    common_grid(maps, what)
    return maps[0].nside
