"""Pseudo-spectra: coefficients of masked maps, and spectra of masks.

Transforms are those of :mod:`cmbfit.sky.harmonic` without iterations: for the plain pixel sum the
coupling matrix of the pixel-sum mask spectrum is exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.harmonic import Alm, alm2cl, map2alm
from cmbfit.sky.maps import Array, Mask, StokesMap
from cmbfit.sky.preprocess import require_data

SPECTRA = ("tt", "te", "et", "ee", "eb", "be", "bb", "tb", "bt")
"""The nine spectra of maps a and b; the first letter is the field of a."""


@dataclass(frozen=True, eq=False)
class FieldAlms:
    """Coefficients of one masked map, each of shape ((lmax + 1)(lmax + 2) / 2,), in uK; e and b zero of a map of I alone."""

    t: Alm
    e: Alm
    b: Alm
    lmax: int
    polarised: bool = True


def masked_alms(
    stokes: StokesMap, mask: Mask, lmax: int, n_iter: int = 0, nthreads: int = 1, mask_p: Mask | None = None
) -> FieldAlms:
    """Multiply I, Q, U by the mask's weights and transform them.

    Parameters
    ----------
    mask_p : Mask, optional
        Of Q and U; `mask` when omitted.

    Raises
    ------
    MapError
        When a mask keeps a pixel without data, or map and masks differ in nside or coordinates.
    """
    mask_p = mask if mask_p is None else mask_p
    require_data(stokes, mask)
    t = map2alm(_masked(mask, stokes.i), lmax, 0, n_iter, nthreads, mask.grid)
    if not stokes.polarised:
        return FieldAlms(t[0], np.zeros_like(t[0]), np.zeros_like(t[0]), lmax, polarised=False)
    if mask_p is not mask:
        require_data(stokes, mask_p)
    e, b = map2alm(_masked(mask_p, stokes.q, stokes.u), lmax, 2, n_iter, nthreads, mask.grid)
    return FieldAlms(t[0], e, b, lmax)


def _masked(mask: Mask, *maps: Array) -> Array:
    """Return maps times the weights, zero outside, shape (maps, npix): no more memory than that."""
    out, support = np.zeros((len(maps), mask.weights.size)), mask.support
    for row, values in zip(out, maps, strict=True):
        np.multiply(values, mask.weights, out=row, where=support)
    return out


def pseudo_spectra(a: FieldAlms, b: FieldAlms) -> Mapping[str, Array]:
    """Return the nine pseudo-C_l of maps a and b in uK^2, not divided by any sky fraction."""
    if a.lmax != b.lmax:
        raise SpectrumError(f"pseudo-spectra: lmax {a.lmax} and {b.lmax} differ")
    return {s: alm2cl(getattr(a, s[0]), getattr(b, s[1])) for s in SPECTRA}


def mask_spectrum(mask: Mask, lmax: int, power: int = 1, nthreads: int = 1) -> Array:
    """Return the pseudo-spectrum of weights^power, from pixel sums; shape (lmax + 1,)."""
    alm = map2alm(mask.weights[None] ** power, lmax, 0, 0, nthreads, mask.grid)[0]
    return alm2cl(alm, alm)


def mask_cross_spectrum(a: Mask, b: Mask | None, lmax: int, nthreads: int = 1) -> Array:
    """Return the cross pseudo-spectrum of two masks (of one mask when `b` is None), shape (lmax + 1,)."""
    if b is None or b is a:
        return mask_spectrum(a, lmax, nthreads=nthreads)
    require_same_grid(a, b)
    first, second = (map2alm(m.weights[None], lmax, 0, 0, nthreads, m.grid)[0] for m in (a, b))
    return alm2cl(first, second)


def require_same_grid(a: Mask, b: Mask) -> None:
    """Raise :class:`SpectrumError` where two masks differ in grid or coordinates."""
    if a.grid != b.grid or a.coord != b.coord:
        raise SpectrumError(
            f"masks {a.name!r} ({a.grid.name}, {a.coord}) and {b.name!r} ({b.grid.name}, {b.coord}) "
            "must share nside and coordinates"
        )
