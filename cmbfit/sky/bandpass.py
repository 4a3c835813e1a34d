"""A map's frequency as people give it: a number, or the file of a bandpass."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from cmbfit.errors import MapError
from cmbfit.io import reading
from cmbfit.sky.maps import Array
from cmbfit.sky.table import open_table
from cmbfit.sky.units import Bandpass, Frequency
from cmbfit.units import SPEED_OF_LIGHT

_GHZ_OF = {"ghz": 1.0, "hz": 1e-9, "mhz": 1e-3, "cm": SPEED_OF_LIGHT * 100 * 1e-9}
"""GHz of one unit; "cm" is a wave number, 1/cm."""

_UNIT = re.compile(r"(?<![a-z])(ghz|mhz|hz|cm)(?![a-z])")


def read_frequency(text: str | float) -> Frequency:
    """Return the frequency that a word says: "143", "FILE", "FILE@545" or "FILE[HDU]@545".

    FILE holds frequencies and transmissions, as text with a header or as FITS (Planck's RIMO: FILE[BANDPASS_F143]); the
    number after @ is where MJy/sr are quoted.

    Raises
    ------
    MapError
        For a number that is not above 0, or a file without the unit of its frequencies.

    Examples
    --------
    >>> read_frequency("143")
    143.0
    """
    word = str(text).strip()
    if re.fullmatch(r"[-+0-9.eE]+|nan|inf", word):
        return _positive(word, word)
    file, _, at = word.partition("@")
    return read_bandpass(file, _positive(at, word) if at else None)


def _positive(number: str, word: str) -> float:
    try:
        value = float(number)
    except ValueError as error:
        raise MapError(f"frequency {word!r}: expected a number of GHz, FILE, or FILE@GHZ") from error
    if not 0 < value < np.inf:
        raise MapError(f"frequency {word!r}: expected a number of GHz above 0")
    return value


def read_bandpass(file: str | Path, reference_ghz: float | None = None) -> Bandpass:
    """Read the two columns frequency and transmission of a text file or a FITS table.

    The unit of the frequencies is in the header (GHz, MHz, Hz, cm^-1): without it a wave number would pass as GHz.
    """
    name, _, hdu = str(file).partition("[")
    path = Path(name)
    with reading(path, "the file of a bandpass", MapError), path.open("rb") as f:
        is_fits = f.read(6) == b"SIMPLE"
    if is_fits:
        with open_table(path, _hdu(hdu)) as table:
            columns = [np.asarray(table.data.field(k), dtype=np.float64).ravel() for k in (0, 1)]
            said = f"{table.columns[0].unit or ''} {table.columns[0].name}"
    else:
        with reading(path, "rows 'frequency transmission'", MapError):
            rows = np.loadtxt(path, ndmin=2)
            columns = [rows[:, 0], rows[:, 1]]
            lines = path.read_text(encoding="utf-8").splitlines()
            said = " ".join(x for x in lines if x.lstrip().startswith("#"))
    units = set(_UNIT.findall(said.lower()))
    if len(units) != 1:
        raise MapError(
            f"{path}: the header does not say the unit of the frequencies; expected one of GHz, MHz, Hz, cm^-1"
        )
    return _bandpass(columns, _GHZ_OF[units.pop()], reference_ghz, path)


def _hdu(text: str) -> int | str:
    word = text.removesuffix("]")
    return int(word) if word.isdecimal() else word or 1


def _bandpass(columns: list[Array], unit: float, reference_ghz: float | None, path: Path) -> Bandpass:
    ghz = columns[0] * unit
    used = ghz > 0  # files start at zero
    try:
        band = Bandpass(ghz[used], columns[1][used], reference_ghz)
    except MapError as error:
        raise MapError(f"{path}: {error}") from error
    centre = float(
        np.trapezoid(band.transmission * band.ghz, band.ghz) / np.trapezoid(band.transmission, band.ghz)
    )
    if reference_ghz is not None and not 0.5 < centre / reference_ghz < 2:
        raise MapError(
            f"{path}: the band lies at {centre:.4g} GHz, far from the {reference_ghz:g} GHz that were given"
        )
    return band
