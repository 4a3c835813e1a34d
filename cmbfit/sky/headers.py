"""Conventions in FITS headers of maps: what is said, in the table or in the primary header, and what is declared.

A header that contradicts itself, another header of the same file or a declaration is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.sky.maps import COORDINATES, nside_of
from cmbfit.sky.table import headers_of

UNSEEN = -1.6375e30
"""HEALPix marker of a pixel without data."""

_COORD_WORDS = {
    "G": "G", "GALACTIC": "G", "GAL": "G",
    "C": "C", "CELESTIAL": "C", "EQUATORIAL": "C", "Q": "C", "EQ": "C", "J2000": "C", "ICRS": "C", "FK5": "C",
    "E": "E", "ECLIPTIC": "E", "ECL": "E",
}  # fmt: skip


@dataclass(frozen=True)
class Headers:
    """The header of a table and the primary header of its file.

    Attributes
    ----------
    table, primary : fits.Header
    path : Path
        For messages.
    """

    table: fits.Header
    primary: fits.Header
    path: Path

    @classmethod
    def of(cls, path: str | Path, hdu: int | str = 1) -> Headers:
        """Read the headers of a file; errors as :func:`~cmbfit.sky.table.open_table`."""
        table, primary = headers_of(path, hdu)
        return cls(table, primary, Path(path))

    def values(self, *keys: str) -> set[str]:
        """Return what both headers say under any of these keys, upper case."""
        cards = [c for header in (self.table, self.primary) for c in header.cards if c.keyword in keys]
        return {str(card.value).strip().upper() for card in cards} - {""}

    def one(self, *keys: str) -> str | None:
        """Return what is said under these keys, None where nothing is; an error where it contradicts itself."""
        found = self.values(*keys)
        if len(found) > 1:
            raise MapError(f"{self.path}: contradictory {' / '.join(keys)} in the headers: {sorted(found)}")
        return found.pop() if found else None

    def ordering(self, declared: str | None) -> tuple[str, str]:
        """Return RING or NESTED, and where it is said."""
        aliases = {"NEST": "NESTED"}
        found, declared = self.one("ORDERING"), declared.upper() if declared else None
        found, declared = (aliases.get(x, x) if x else x for x in (found, declared))
        value, source = self._decide(found, declared, "ORDERING")
        if value is None:
            raise MapError(
                f"{self.path}: no ORDERING in the header, expected RING or NESTED; declare ordering if you know it "
                "(--ordering, or maps.declare)"
            )
        if value not in {"RING", "NESTED"}:
            raise MapError(f"{self.path}: ORDERING is {value!r}, expected RING or NESTED")
        return value, source

    def coordinates(self, declared: str | None, otherwise: str | None = None) -> tuple[str, str]:
        """Return G, C or E, and where it is said; `otherwise` where it is neither said nor declared."""
        found = self.one("COORDSYS")
        if found == "UNKNOWN":  # HEALPix Fortran writes this when it was not told
            found = None
        if found and found not in _COORD_WORDS:
            raise MapError(f"{self.path}: COORDSYS is {found!r}, expected one of {sorted(set(_COORD_WORDS))}")
        value, source = self._decide(_COORD_WORDS[found] if found else None, declared, "COORDSYS")
        if value is None and otherwise is not None:
            return otherwise, "absent: that of the maps"
        if value not in COORDINATES:
            raise MapError(
                f"{self.path}: no COORDSYS in the header, expected G, C or E; declare coord if you know it (--coord, or "
                "maps.declare)"
            )
        return value, source

    def polcconv(self, declared: str | None) -> tuple[str, str]:
        """Return COSMO or IAU, and where it is said; COSMO where it is not (HEALPix documentation, "intro", node 12).

        POLCONV is how some programs spell POLCCONV.
        """
        found = self.one("POLCCONV", "POLCONV")
        value, source = self._decide(found, declared.upper() if declared else None, "POLCCONV")
        if value is None:
            return "COSMO", "absent: HEALPix default"
        if value not in {"COSMO", "IAU"}:
            raise MapError(f"{self.path}: POLCCONV is {value!r}, expected COSMO or IAU")
        return value, source

    def bad_data(self) -> list[float]:
        """Return the values of pixels without data: UNSEEN, and those of BAD_DATA."""
        out = [UNSEEN]
        for text in self.values("BAD_DATA"):
            try:
                value = float(text)
            except ValueError as error:
                raise MapError(f"{self.path}: BAD_DATA is {text!r}, expected a number") from error
            if np.isfinite(value) and value != UNSEEN:
                out.append(value)
        return out

    def is_explicit(self) -> bool:
        """Return whether a column lists the pixels of the rows; refuse what is no HEALPix map."""
        scheme = self.one("INDXSCHM") or "IMPLICIT"
        if scheme not in {"IMPLICIT", "EXPLICIT"}:
            raise MapError(f"{self.path}: INDXSCHM is {scheme!r}, expected IMPLICIT or EXPLICIT")
        if (self.one("PIXTYPE") or "HEALPIX") != "HEALPIX":
            raise MapError(f"{self.path}: PIXTYPE is {self.one('PIXTYPE')!r}, expected HEALPIX")
        return scheme == "EXPLICIT"

    def nside(self, rows: int | None = None) -> int:
        """Return nside: of `rows` pixels of a whole sky, which NSIDE must agree with, or NSIDE itself."""
        said = self.one("NSIDE")
        number = None if said is None else int(said) if said.isdecimal() else 0
        if rows is not None:
            found = nside_of(rows, str(self.path))
            if number not in {None, found}:
                raise MapError(f"{self.path}: NSIDE is {said} but {rows} pixels make nside {found}")
            return found
        if number is None or number < 1 or number & (number - 1):
            raise MapError(f"{self.path}: NSIDE is {said!r}, expected a power of two beside a list of pixels")
        return number

    def _decide(self, found: str | None, declared: str | None, key: str) -> tuple[str | None, str]:
        if found and declared and found != declared:
            raise MapError(
                f"{self.path}: {key} is {found!r} in the file but declared as {declared!r}: which is right?"
            )
        if found:
            return found, "file"
        return declared, "declared" if declared else "absent"
