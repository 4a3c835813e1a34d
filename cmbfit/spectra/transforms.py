"""Harmonic transforms on the HEALPix grid with ducc0, and pseudo-spectra.

Signs follow HEALPix: (Q +- iU)(n) = -sum_lm (E_lm +- i B_lm) +-2Y_lm(n), U in the COSMO convention.
Coefficients are stored as healpy stores them: m-major, m >= 0, l from 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ducc0
import numpy as np
from numpy.typing import NDArray

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask, StokesMap, nside_of
from cmbfit.sky.preprocess import require_data

Alm = NDArray[np.complex128]

SPECTRA = ("tt", "te", "et", "ee", "eb", "be", "bb", "tb", "bt")
"""The nine spectra of maps a and b; the first letter is the field of a."""


@lru_cache(maxsize=8)
def _geometry(nside: int) -> dict[str, Any]:
    return ducc0.healpix.Healpix_Base(nside, "RING").sht_info()


def map2alm(maps: Array, lmax: int, spin: int, n_iter: int = 0, nthreads: int = 1) -> Alm:
    """Return the coefficients of a spin-0 map or of the pair (Q, U).

    Parameters
    ----------
    maps : ndarray, shape (1, npix) for spin 0, (2, npix) for spin 2
        RING.
    n_iter : int
        Jacobi iterations a <- a + A (m - S a), as HEALPix anafast does (3 by default there). With 0
        the transform is the plain pixel sum (4 pi / npix) sum_p m_p Y*_lm(p), for which the coupling
        matrix of the pixel-sum mask spectrum is exact; that is what :mod:`cmbfit.spectra.master` uses.

    Returns
    -------
    ndarray, shape (1 or 2, (lmax + 1)(lmax + 2) / 2)
        a_lm, or (E_lm, B_lm).
    """
    expected = 1 if spin == 0 else 2
    if maps.ndim != 2 or maps.shape[0] != expected:
        raise SpectrumError(f"spin {spin}: expected maps of shape ({expected}, npix), found {maps.shape}")
    nside = nside_of(maps.shape[1], "transform")
    if not np.isfinite(maps).all():
        raise SpectrumError("transform: the map has non-finite pixels; multiply by the mask first")
    geometry = _geometry(nside)
    area = 4 * np.pi / maps.shape[1]
    values = np.ascontiguousarray(maps, dtype=np.float64)

    def analyse(x: Array) -> Alm:
        return area * ducc0.sht.adjoint_synthesis(map=x, lmax=lmax, spin=spin, nthreads=nthreads, **geometry)

    alm = analyse(values)
    for _ in range(n_iter):
        alm += analyse(values - alm2map(alm, nside, lmax, spin, nthreads))
    return alm


def alm2map(alm: Alm, nside: int, lmax: int, spin: int, nthreads: int = 1) -> Array:
    """Return the map(s) of coefficients: inverse of :func:`map2alm`, shape (1 or 2, npix)."""
    return ducc0.sht.synthesis(alm=alm, lmax=lmax, spin=spin, nthreads=nthreads, **_geometry(nside))


def alm2cl(a: Alm, b: Alm, lmax: int) -> Array:
    """Return C_l = sum_m Re(a_lm b*_lm) / (2 l + 1), shape (lmax + 1,)."""
    product = 2 * (a.real * b.real + a.imag * b.imag)
    product[: lmax + 1] *= 0.5  # m = 0 stands once, every other m for itself and for -m
    return np.bincount(_multipoles(lmax), product) / (2 * np.arange(lmax + 1) + 1)


@lru_cache(maxsize=4)
def _multipoles(lmax: int) -> NDArray[np.int64]:
    """Return l of every stored coefficient."""
    return np.concatenate([np.arange(m, lmax + 1) for m in range(lmax + 1)])


@dataclass(frozen=True, eq=False)
class FieldAlms:
    """Coefficients of one masked map, each of shape ((lmax + 1)(lmax + 2) / 2,), in uK."""

    t: Alm
    e: Alm
    b: Alm
    lmax: int


def masked_alms(stokes: StokesMap, mask: Mask, lmax: int, n_iter: int = 0) -> FieldAlms:
    """Multiply I, Q, U by the mask's weights and transform them.

    Raises
    ------
    MapError
        When the mask keeps a pixel without data, or map and mask differ in nside or coordinates.
    """
    require_data(stokes, mask)
    iqu = np.where(mask.support, np.nan_to_num(stokes.iqu), 0.0) * mask.weights
    t = map2alm(iqu[:1], lmax, 0, n_iter)
    e, b = map2alm(iqu[1:], lmax, 2, n_iter)
    return FieldAlms(t[0], e, b, lmax)


def pseudo_spectra(a: FieldAlms, b: FieldAlms) -> Mapping[str, Array]:
    """Return the nine pseudo-C_l of maps a and b in uK^2, not divided by any sky fraction."""
    if a.lmax != b.lmax:
        raise SpectrumError(f"pseudo-spectra: lmax {a.lmax} and {b.lmax} differ")
    return {s: alm2cl(getattr(a, s[0]), getattr(b, s[1]), a.lmax) for s in SPECTRA}


def mask_spectrum(mask: Mask, lmax: int, power: int = 1) -> Array:
    """Return the pseudo-spectrum of weights^power, from pixel sums; shape (lmax + 1,)."""
    alm = map2alm(mask.weights[None] ** power, lmax, 0)[0]
    return alm2cl(alm, alm, lmax)


def mask_cross_spectrum(a: Mask, b: Mask | None, lmax: int) -> Array:
    """Return the cross pseudo-spectrum of two masks (of one mask when `b` is None), shape (lmax + 1,)."""
    if b is None or b is a:
        return mask_spectrum(a, lmax)
    if a.nside != b.nside or a.coord != b.coord:
        raise SpectrumError(
            f"masks {a.name!r} (nside {a.nside}, {a.coord}) and {b.name!r} (nside {b.nside}, {b.coord}) "
            "must share nside and coordinates"
        )
    first, second = (map2alm(m.weights[None], lmax, 0)[0] for m in (a, b))
    return alm2cl(first, second, lmax)
