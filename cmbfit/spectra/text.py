"""Spectra as text, and beside them the windows that say what each number is a mean of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy.io import fits

from cmbfit.errors import SpectrumError
from cmbfit.io import atomic_file, reading
from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins, dl_factor

Windows = Mapping[tuple[str, str], Array]


def windows_path(path: str | Path) -> Path:
    """Return where the windows of a text file of spectra lie.

    Examples
    --------
    >>> windows_path("run/spectra.txt").name
    'spectra.windows.fits'
    """
    return Path(path).with_suffix(".windows.fits")


def write_text(
    path: str | Path,
    bins: Bins,
    values: Mapping[str, Array],
    windows: Windows,
    errors: Mapping[str, Array] | None = None,
    *,
    in_cl: bool = False,
) -> None:
    """Publish bandpowers as text with one header line, and their windows as FITS (:func:`windows_path`).

    A beam or pixel window that falls inside a bin, and the mask, weigh its multipoles: a theory D_l from l = 0 is to be
    compared as sum over sources of window @ D_l, not as its mean in the bin. The FITS file has an image TT_TT, EE_BB, ...
    for each response of a column to a source.

    Parameters
    ----------
    values, errors : mapping name -> ndarray, shape (n,)
        D_b in uK^2.
    windows : mapping (to, source) -> ndarray, shape (n, lmax + 1)
    in_cl : bool
        Write C_l in place of D_l; windows then give it from D_l.
    """
    scale = cl_over_dl(bins) if in_cl else np.ones(bins.n)
    columns = {"ell_eff": bins.centres} | {n: v * scale for n, v in values.items()}
    if errors is not None:
        columns |= {f"err_{n}": errors[n] * scale for n in values}
    hdus = [fits.PrimaryHDU()]
    hdus[0].header["COMMENT"] = "column = sum over sources of image (bin, l) times D_l [uK^2], l from 0"
    hdus += [
        fits.ImageHDU(scale[:, None] * w, name=f"{to}_{source}".upper())
        for (to, source), w in windows.items()
        if to in values
    ]
    with atomic_file(windows_path(path)) as f:
        fits.HDUList(hdus).writeto(f)
    with atomic_file(path) as f:
        np.savetxt(f, np.column_stack(list(columns.values())), header=" ".join(columns), fmt="%.10g")


def read_windows(path: str | Path) -> dict[tuple[str, str], Array]:
    """Return the windows beside a text file of spectra, (to, source) -> shape (bins, lmax + 1)."""
    file = windows_path(path)
    with reading(file, "windows of spectra", SpectrumError), fits.open(file, memmap=False) as hdus:
        named = [(h.name.lower().split("_"), h.data) for h in hdus[1:]]
        return {(to, source): np.asarray(w, dtype=np.float64) for (to, source), w in named}


def cl_over_dl(bins: Bins) -> Array:
    """Return what turns D_b into the mean of C_l: over modes, or over multipoles of uniform bins."""
    if bins.weighting == "uniform":
        return 1 / bins.scale
    modes = bins.indicator(bins.lmax)[:, 2:] * (2 * np.arange(2, bins.lmax + 1) + 1)
    return np.asarray((modes / dl_factor(bins.lmax)[2:]).sum(axis=1) / modes.sum(axis=1))
