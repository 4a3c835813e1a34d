"""Maps, masks, beams and windows: FITS headers, tables and text."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from cmbfit.sky.beam_files import read_beam
from cmbfit.sky.fits import (
    column_names,
    read_column,
    read_mask,
    read_mask_product,
    read_product,
    read_stokes,
    write_mask,
    write_product,
)
from cmbfit.sky.maps import Mask, StokesMap
from cmbfit.sky.windows import read_pixel_window
from cmbfit.survey.fields import read_beam_table
from tests.fuzz.damage import damaged, damaged_fits, written
from tests.fuzz.judge import judge

NPIX = 48
_RNG = np.random.default_rng(1)


def _table(columns: dict[str, tuple[str, np.ndarray]], **header: Any) -> bytes:
    table = fits.BinTableHDU.from_columns(
        [fits.Column(name=n, format=f, array=x) for n, (f, x) in columns.items()]
    )
    table.header.update(header)
    out = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(out)
    return out.getvalue()


@cache
def good_map() -> bytes:
    i, q, u = _RNG.normal(size=(3, NPIX))
    stokes = StokesMap(i, q, u, coord="G", name="V", history=({"step": "simulated"},))
    return written(lambda path: write_product(path, stokes))


@cache
def survey_map() -> bytes:
    """A map as a survey writes it: NESTED, mK, float32, several pixels a row, IAU."""
    columns = {
        n: ("4E", _RNG.normal(size=(NPIX // 4, 4))) for n in ("I_STOKES", "Q_STOKES", "U_STOKES", "HITS")
    }
    header = {
        "ORDERING": "NESTED",
        "COORDSYS": "GALACTIC",
        "POLCCONV": "IAU",
        "NSIDE": 2,
        "PIXTYPE": "HEALPIX",
    }
    units = {f"TUNIT{k}": "mK" for k in (1, 2, 3)}
    return _table(columns, **header, **units)


@cache
def good_mask() -> bytes:
    mask = Mask((np.arange(NPIX) > 8).astype(float), coord="G", name="m", history=({"step": "made"},))
    return written(lambda path: write_mask(path, mask))


@cache
def beam_table() -> bytes:
    return _table({n: ("D", np.linspace(1, 0.5, 20)) for n in ("T", "E", "B")})


@cache
def window_table() -> bytes:
    return _table({n: ("E", np.linspace(1, 0.5, 20)) for n in ("TEMPERATURE", "POLARIZATION")})


FITS_READERS: dict[str, tuple[Callable[[], bytes], Callable[[Path], object]]] = {
    "map of a survey": (survey_map, lambda p: (read_stokes(p), read_column(p, "HITS"), column_names(p))),
    "map product": (good_map, read_product),
    "mask": (good_mask, lambda p: (read_mask(p), read_mask_product(p))),
    "FITS beam": (beam_table, lambda p: read_beam(p, 10)),
    "pixel window": (window_table, lambda p: read_pixel_window(p, 10)),
}
_TEXT = b"".join(
    b"%d %.4f %.4f %.4f\n" % (ell, 1 - ell / 99, 1 - ell / 98, 1 - ell / 97) for ell in range(15)
)
TEXT_READERS: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "text beam": (b"# l b_l e b\n" + _TEXT, lambda p: read_beam(p, 10)),
    "transfer function": (_TEXT, read_beam_table),
}


@pytest.mark.parametrize("name", FITS_READERS)
@given(st.data())
def test_fits(tmp_path: Path, name: str, data: st.DataObject) -> None:
    good, read = FITS_READERS[name]
    path = tmp_path / "x.fits"
    path.write_bytes(data.draw(damaged_fits(good())))
    judge(name, lambda: read(path))


@pytest.mark.parametrize("name", TEXT_READERS)
@given(st.data())
def test_text(tmp_path: Path, name: str, data: st.DataObject) -> None:
    good, read = TEXT_READERS[name]
    path = tmp_path / "x.txt"
    path.write_bytes(data.draw(damaged(good)))
    judge(name, lambda: read(path))


@pytest.mark.parametrize("name", [*FITS_READERS, *TEXT_READERS])
def test_the_undamaged_file_is_read(tmp_path: Path, name: str) -> None:
    """Else every damaged one would be refused for a reason that has nothing to do with its damage."""
    path = tmp_path / "x"
    good, read = FITS_READERS[name] if name in FITS_READERS else TEXT_READERS[name]
    path.write_bytes(good if isinstance(good, bytes) else good())
    read(path)
