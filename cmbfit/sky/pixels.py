"""Pixels of a FITS table: native RING arrays of the whole sky, NaN where there are no data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import healpy
import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from cmbfit.errors import MapError
from cmbfit.sky.headers import Headers
from cmbfit.sky.maps import Array

INDEX_COLUMNS = ("PIXEL", "PIXELS", "PIXEL_INDEX", "PIX", "IPIX", "HPX_INDEX")
"""Names of the column of pixels where INDXSCHM is EXPLICIT."""
STOKES_NAMES = {
    "I": {"I_STOKES", "TEMPERATURE", "INTENSITY", "I", "T", "SIGNAL", "TEMPERATUR"},
    "Q": {"Q_STOKES", "Q_POLARISATION", "Q_POLARIZATION", "Q-POLARISATION", "Q-POLARIZATION", "Q"},
    "U": {"U_STOKES", "U_POLARISATION", "U_POLARIZATION", "U-POLARISATION", "U-POLARIZATION", "U"},
}
NO_UNIT = {"", "unknown", "none"}
"""TUNIT of programs that were not told."""
_ROUNDING = 1e-5
"""By how much a weight of a mask may leave [0, 1]: single precision, smoothing."""


@dataclass(frozen=True, eq=False)
class Grid:
    """How the rows of a table lie on the sphere.

    Attributes
    ----------
    nside : int
    ordering : str
    pixels : ndarray of int, optional
        Of each row, RING; all in order when omitted.
    index : int, optional
        The column of these pixels.
    """

    nside: int
    ordering: str
    pixels: NDArray[np.int64] | None = None
    index: int | None = None

    @classmethod
    def of(cls, table: fits.BinTableHDU, headers: Headers, ordering: str | None, column: int) -> Grid:
        """Return the grid of a table of which `column` holds values, one a pixel."""
        order, _ = headers.ordering(ordering)
        names = [n.strip().upper() for n in table.columns.names]
        rows = int(np.asarray(table.data.field(column)).size)
        if not headers.is_explicit():
            return cls(headers.nside(rows), order)
        found = [k for k, n in enumerate(names) if n in INDEX_COLUMNS]
        if len(found) != 1:
            raise MapError(
                f"{headers.path}: INDXSCHM is EXPLICIT: expected one column of pixels ({', '.join(INDEX_COLUMNS)}), found "
                f"{len(found)} among {names}"
            )
        nside = headers.nside()
        pixels = np.asarray(table.data.field(found[0])).ravel()
        whole = pixels.astype(np.int64)
        if whole.size != rows or (whole != pixels).any():
            raise MapError(f"{headers.path}: column {names[found[0]]}: expected one whole number a row")
        if whole.min() < 0 or whole.max() >= 12 * nside**2 or np.unique(whole).size != whole.size:
            raise MapError(
                f"{headers.path}: column {names[found[0]]}: expected distinct pixels from 0 to {12 * nside**2 - 1}"
            )
        if order == "NESTED":
            whole = healpy.nest2ring(nside, whole)
        return cls(nside, order, whole, found[0])

    def spread(self, values: NDArray[Any], headers: Headers, what: str, empty: float = np.nan) -> Array:
        """Return a column as float64 on the whole sky, RING; NaN where the file has no data, `empty` where no row is."""
        out = np.array(values, dtype=np.float64).ravel()
        if np.isinf(out).any():
            raise MapError(f"{headers.path}: column {what} has {int(np.isinf(out).sum())} infinite values")
        out[is_bad(out, headers.bad_data())] = np.nan
        if self.pixels is None:
            return healpy.reorder(out, n2r=True) if self.ordering == "NESTED" else out
        whole = np.full(12 * self.nside**2, empty)
        whole[self.pixels] = out
        return whole


def is_bad(values: Array, markers: Sequence[float]) -> NDArray[np.bool_]:
    """Return where values are one of the markers, as float32 or float64 write it, or NaN."""
    out = np.isnan(values)
    for marker in markers:
        out |= (
            np.abs(values - marker) <= 1e-3 * abs(marker)
            if abs(marker) > 1e20
            else np.isclose(values, marker, rtol=1e-6, atol=0)
        )
    return out


def weights_of(values: Array, path: Path) -> Array:
    """Return the weights of a mask, rounding outside [0, 1] taken off; :class:`MapError` where there are none."""
    if np.isnan(values).any():
        raise MapError(
            f"{path}: mask with {int(np.isnan(values).sum())} NaN or UNSEEN pixels, expected [0, 1]"
        )
    values = np.where((values > 1) & (values <= 1 + _ROUNDING), 1.0, values)
    return np.where((values < 0) & (values >= -_ROUNDING), 0.0, values)
