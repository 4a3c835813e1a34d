"""Opening a FITS table so that a damaged file becomes one typed error and never half a map."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from cmbfit.errors import MapError


@contextlib.contextmanager
def open_table(path: str | Path, hdu: int | str = 1) -> Iterator[fits.BinTableHDU]:
    """Yield one binary table of a FITS file with its data loaded.

    Raises
    ------
    MapError
        When the file is missing, not FITS, truncated or holds no such table.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)  # astropy only warns of truncation
            handle = fits.open(path, memmap=True)  # columns that nobody asks for are not read
    except (OSError, AstropyUserWarning) as error:
        raise MapError(f"{path}: expected a whole FITS file, found: {error}") from error
    with handle:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", AstropyUserWarning)
                table = handle[hdu]
                if not isinstance(table, fits.BinTableHDU):
                    raise MapError(f"{path}: HDU {hdu} is {type(table).__name__}, expected a binary table")
                rows = len(table.data)
        except (OSError, TypeError, ValueError, IndexError, KeyError, AstropyUserWarning) as error:
            raise MapError(f"{path}: truncated or damaged, HDU {hdu} cannot be read: {error}") from error
        if rows == 0:
            raise MapError(f"{path}: HDU {hdu} is empty")
        yield table
