"""Headers as people's programs write them: conventions in the primary header, bad pixels of any marker."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.sky import fill_missing, read_mask, read_stokes, remove_monopole_dipole
from cmbfit.sky.headers import UNSEEN
from cmbfit.sky.maps import Mask
from tests.sky.test_fits import NPIX, edit, healpix_file


@pytest.fixture
def iqu() -> np.ndarray:
    return np.random.default_rng(4).normal(0, 100, (3, NPIX))


def primary(path: Path, **cards) -> Path:
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(cards)
    return path


@pytest.mark.parametrize("key", ["POLCCONV", "POLCONV"])
@pytest.mark.parametrize("place", [primary, edit])
def test_sign_of_u_wherever_it_is_said(tmp_path, iqu, key, place) -> None:
    path = place(healpix_file(tmp_path / "m.fits", iqu), **{key: "IAU"})
    np.testing.assert_allclose(read_stokes(path).u, -iqu[2])
    with pytest.raises(MapError, match="POLCCONV is 'IAU' in the file but declared as 'COSMO'"):
        read_stokes(path, polcconv="cosmo")


def test_two_headers_that_disagree(tmp_path, iqu) -> None:
    path = primary(edit(healpix_file(tmp_path / "m.fits", iqu), POLCCONV="COSMO"), POLCONV="IAU")
    with pytest.raises(
        MapError, match=r"contradictory POLCCONV / POLCONV in the headers: \['COSMO', 'IAU'\]"
    ):
        read_stokes(path)


def test_other_conventions_in_the_primary_header(tmp_path, iqu) -> None:
    path = edit(healpix_file(tmp_path / "m.fits", iqu), COORDSYS=None, ORDERING=None)
    stokes = read_stokes(primary(path, COORDSYS="ICRS", ORDERING="NESTED"))
    assert stokes.coord == "C"
    assert stokes.history[0]["ordering"] == "NESTED"


@pytest.mark.parametrize("place", [primary, edit])
@pytest.mark.parametrize("marker", [-9999.0, 0.0, -1.6375e29])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bad_data_of_the_header(tmp_path, iqu, place, marker, dtype) -> None:
    iqu[0, 3], iqu[1, 5], iqu[2, 7] = marker, UNSEEN, marker
    path = place(healpix_file(tmp_path / "m.fits", iqu, dtype=dtype), BAD_DATA=marker)
    assert np.flatnonzero(read_stokes(path).missing).tolist() == [3, 5, 7]
    mask = np.ones(NPIX)
    mask[9] = marker if marker else UNSEEN
    path = place(healpix_file(tmp_path / "w.fits", mask, dtype=dtype), BAD_DATA=marker)
    with pytest.raises(MapError, match=f"{1} NaN or UNSEEN"):
        read_mask(path)


@pytest.mark.parametrize(
    "value", [UNSEEN / 4, UNSEEN * 1e-3, 0.75 * UNSEEN, UNSEEN / 4096, -UNSEEN, 1e-6 * UNSEEN]
)
def test_what_is_left_of_a_marker_is_no_sky(tmp_path, iqu, value) -> None:
    """Averages of four, 64^2 pixels with some UNSEEN, maps scaled before they were written."""
    iqu[2, 17] = value
    stokes = read_stokes(healpix_file(tmp_path / "m.fits", iqu), name="m")
    with pytest.raises(MapError, match=r"U of 1 pixels where mask 'all' is above zero.*RING pixel 17"):
        remove_monopole_dipole(stokes, Mask(np.ones(NPIX), coord="G", name="all"))
    with pytest.raises(MapError, match=r"U of 1 pixels with data is no sky's"):
        fill_missing(stokes)
    cut = np.ones(NPIX)
    cut[17] = 0
    remove_monopole_dipole(stokes, Mask(cut, coord="G"))  # behind the mask it does no harm


def test_the_brightest_sky_is_a_sky(tmp_path, iqu) -> None:
    """The Galactic centre at 857 GHz, 1e4 MJy/sr, in K_CMB."""
    iqu[0, 17] = 1e4
    path = healpix_file(tmp_path / "m.fits", iqu, column_units="MJy/sr")
    stokes = read_stokes(path, frequency=857.0)
    assert stokes.i[17] > 1e9
    remove_monopole_dipole(stokes, Mask(np.ones(NPIX), coord="G"))


def test_bad_data_that_is_no_number(tmp_path, iqu) -> None:
    with pytest.raises(MapError, match="BAD_DATA is 'UNSEEN', expected a number"):
        read_stokes(edit(healpix_file(tmp_path / "m.fits", iqu), BAD_DATA="UNSEEN"))
