"""The skeleton of a FITS file, checked before a library parses it.

A header may promise 10^11 columns or axes, and a parser that believes it builds lists of that length. The
standard (Pence et al. 2010, A&A 524, A42, sections 4.4.1 and 7.3.1) allows 999 of each, and the data that
a header promises must be in the file.
"""

from __future__ import annotations

import gzip
import io
import math
import re
from pathlib import Path
from typing import BinaryIO

from cmbfit.errors import CmbfitError, DataError

_BLOCK, _CARD, _MOST = 2880, 80, 999
_HEADER_BLOCKS = 4096  # 12 MB; the longest headers of published maps have some hundred cards
_SIZES = re.compile(rb"NAXIS\d{0,3}|BITPIX|PCOUNT|GCOUNT|TFIELDS")


def check_structure(file: str | Path | bytes, what: str = "", kind: type[CmbfitError] = DataError) -> None:
    """Raise an error unless every header is one that the standard allows and its data are in the file.

    Parameters
    ----------
    file : path or bytes
        May be compressed with gzip.
    what : str
        What messages call it; default: the path.
    kind : type
        Of the error.
    """
    what = what or str(file)
    try:
        with io.BytesIO(file) if isinstance(file, bytes) else Path(file).open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            if zipped:
                with gzip.open(raw) as unzipped:
                    _check(unzipped, what, kind)  # type: ignore[arg-type]
            else:
                _check(raw, what, kind)
    except (OSError, EOFError, ValueError, OverflowError) as error:
        raise kind(f"{what}: expected a whole FITS file, found: {error}") from error


def _check(f: BinaryIO, what: str, kind: type[CmbfitError]) -> None:
    number = 0
    while (start := f.read(_BLOCK)).startswith((b"SIMPLE  =", b"XTENSION=")):
        sizes = _sizes(f, start)
        for key, value in sizes.items():
            if value > _MOST and key in (b"NAXIS", b"TFIELDS"):
                raise kind(
                    f"{what}: HDU {number}: {key.decode()} is {value}, FITS allows {_MOST}; the file is damaged"
                )
            if value < 0 and key != b"BITPIX":
                raise kind(f"{what}: HDU {number}: {key.decode()} is {value}, expected a count")
        axes = [sizes.get(b"NAXIS%d" % (k + 1), 0) for k in range(sizes.get(b"NAXIS", 0))]
        elements = sizes.get(b"GCOUNT", 1) * (sizes.get(b"PCOUNT", 0) + math.prod(axes)) if axes else 0
        size = abs(sizes.get(b"BITPIX", 8)) // 8 * elements
        here = f.tell()
        # the last byte of the data must be there; the padding behind them often is not
        if size and (f.seek(here + size - 1) < here + size - 1 or not f.read(1)):
            raise kind(
                f"{what}: HDU {number}: truncated: the header promises {size} bytes that are not there"
            )
        f.seek(here + -(-size // _BLOCK) * _BLOCK)
        number += 1
    if number == 0:
        raise kind(f"{what}: expected a whole FITS file, found: {start[:20]!r} at its start")


def _sizes(f: BinaryIO, block: bytes) -> dict[bytes, int]:
    """Return the whole numbers of one header that say how much follows; leave `f` behind the header."""
    found: dict[bytes, int] = {}
    for _ in range(_HEADER_BLOCKS):
        for at in range(0, len(block), _CARD):
            key = block[at : at + 8].rstrip()
            if key == b"END":
                return found
            if _SIZES.fullmatch(key) and block[at + 8 : at + 10] == b"= ":
                found[key] = int(block[at + 10 : at + _CARD].split(b"/")[0])
        block = f.read(_BLOCK)
        if not block:
            break
    raise ValueError("a header without an end")
