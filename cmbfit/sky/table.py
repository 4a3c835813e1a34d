"""Opening a FITS table so that a damaged file becomes one typed error and never half a map."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning

from cmbfit.errors import MapError
from cmbfit.fits_structure import check_structure
from cmbfit.io import reading


@contextlib.contextmanager
def open_table(path: str | Path, hdu: int | str = 1) -> Iterator[fits.BinTableHDU]:
    """Yield one binary table of a FITS file with its data loaded.

    Raises
    ------
    MapError
        When the file is missing, not FITS, truncated or holds no such table.
    """
    path = Path(path)
    check_structure(path, kind=MapError)
    # astropy only warns of truncation, and of a damaged column only when it is used: hence around the body too
    # the file is opened here, since astropy leaves it open when it fails
    with reading(path, f"a whole FITS file with a table as HDU {hdu}", MapError), path.open("rb") as raw:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)
            handle = fits.open(raw, memmap=True)  # columns that nobody asks for are not read
        with handle:
            with warnings.catch_warnings():
                warnings.simplefilter("error", AstropyUserWarning)
                table = handle[hdu]
                if not isinstance(table, fits.BinTableHDU):
                    raise MapError(f"{path}: HDU {hdu} is {type(table).__name__}, expected a binary table")
                rows = len(table.data)
            if rows == 0:
                raise MapError(f"{path}: HDU {hdu} is empty")
            yield table
            for column in table.columns:
                column.array = (
                    None  # or astropy copies every column when it closes the file, asked for or not
                )


@dataclass(frozen=True)
class TableName:
    """A binary table of a file: its number, its EXTNAME, and whether it says that it is a HEALPix map."""

    number: int
    name: str
    is_map: bool


def table_names(path: str | Path) -> list[TableName]:
    """Return the binary tables of a FITS file; errors as :func:`open_table`."""
    path = Path(path)
    check_structure(path, kind=MapError)
    with (
        reading(path, "a whole FITS file", MapError),
        path.open("rb") as raw,
        fits.open(raw, memmap=True) as handle,
    ):
        return [
            TableName(k, h.name, "ORDERING" in h.header or "PIXTYPE" in h.header)
            for k, h in enumerate(handle)
            if isinstance(h, fits.BinTableHDU)
        ]


def headers_of(path: str | Path, hdu: int | str = 1) -> tuple[fits.Header, fits.Header]:
    """Return the header of a table and the primary header; errors as :func:`open_table`."""
    with open_table(path, hdu) as table:
        own = table.header.copy()
    with reading(path, "a whole FITS file", MapError):
        return own, fits.getheader(path, 0)
