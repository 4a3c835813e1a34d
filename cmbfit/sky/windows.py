"""Beams and pixel windows."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.maps import Array
from cmbfit.sky.table import open_table


def gaussian_beam(lmax: int, fwhm_arcmin: float) -> Array:
    """Return b_l = exp(-l (l + 1) sigma^2 / 2), sigma = FWHM / sqrt(8 ln 2); shape (lmax + 1,).

    Used for T, E and B alike. The exact spin-2 beam is larger by exp(2 sigma^2): 3e-5 at 30 arcmin.
    """
    if not 0 <= fwhm_arcmin < 180 * 60:
        raise MapError(f"beam FWHM {fwhm_arcmin} arcmin: expected a number from 0")
    ell = np.arange(lmax + 1)
    sigma = np.radians(fwhm_arcmin / 60) / np.sqrt(8 * np.log(2))
    return np.exp(-0.5 * ell * (ell + 1) * sigma**2)


def read_pixel_window(path: str | Path, lmax: int) -> tuple[Array, Array]:
    """Read a HEALPix `pixel_window_n*.fits`: columns TEMPERATURE and POLARIZATION.

    Returns
    -------
    temperature, polarisation : ndarray, shape (lmax + 1,)
        The polarisation window is zero at l = 0 and 1.
    """
    with open_table(path) as hdu:
        names = [c.name.upper() for c in hdu.columns]
        if names != ["TEMPERATURE", "POLARIZATION"]:
            raise MapError(f"{path}: expected the columns TEMPERATURE and POLARIZATION, found {names}")
        window = [np.asarray(hdu.data[c.name], dtype=np.float64).ravel() for c in hdu.columns]
    if window[0].size <= lmax:
        raise MapError(f"{path}: pixel window up to l = {window[0].size - 1}, l = {lmax} is needed")
    if not np.isfinite(window).all() or (window[0][: lmax + 1] <= 0).any():
        raise MapError(f"{path}: the pixel window must be finite and above zero")
    return window[0][: lmax + 1], window[1][: lmax + 1]
