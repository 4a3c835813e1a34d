"""Maps and masks as healpy and surveys write them: I alone, parts of the sky, several masks in one file."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.sky import read_mask, read_product, read_stokes, remove_monopole_dipole, write_product
from cmbfit.sky.fits import grid_of, read_column
from cmbfit.sky.headers import UNSEEN
from cmbfit.sky.maps import Mask, StokesMap
from cmbfit.sky.pixelisation import Healpix
from cmbfit.sky.splits import coadd, read_detector
from tests.sky.test_fits import NPIX, NSIDE, edit, healpix_file


@pytest.fixture
def iqu() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 100, (3, NPIX))


@pytest.mark.parametrize("names", [("TEMPERATURE",), ("I_STOKES", "N_OBS"), ("TEMPERATURE", "HITS")])
def test_temperature_alone(tmp_path, iqu, names) -> None:
    """healpy's map of one column; WMAP's of temperature and observations."""
    iqu[1] = 1 + np.abs(iqu[1])
    path = healpix_file(tmp_path / "m.fits", iqu[: len(names)], column_names=names)
    stokes = read_stokes(path, name="m")
    assert not stokes.polarised
    np.testing.assert_array_equal(stokes.i, iqu[0])
    assert np.isnan(stokes.q).all()
    assert not stokes.missing.any()
    mask = Mask(np.ones(NPIX), coord="G")
    write_product(tmp_path / "p.fits", remove_monopole_dipole(stokes, mask))
    back = read_product(tmp_path / "p.fits")
    assert not back.polarised
    assert back.history[-1]["step"] == "remove monopole and dipole"
    if len(names) > 1:
        detector, weight = read_detector(path, name="m", sigma0_uk=2.0)
        np.testing.assert_allclose(weight, iqu[1] / 4)
        joined, _ = coadd([detector, detector], [weight, weight], "two")
        assert not joined.polarised
        np.testing.assert_allclose(joined.i, iqu[0])
        with pytest.raises(MapError, match="some of the maps have Q and U"):
            coadd([detector, StokesMap(*iqu, coord="G")], [weight, weight])


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("polarised", [False, True])
def test_partial_files_of_healpy(tmp_path, iqu, nest, polarised) -> None:
    """healpy's partial=True lists pixels and leaves out those that are UNSEEN; its own reader is the truth."""
    sky = iqu if polarised else iqu[:1]
    sky[:, np.arange(NPIX) % 3 == 0] = UNSEEN
    path = healpix_file(tmp_path / "m.fits", sky, nest=nest, partial=True)
    expected = np.atleast_2d(healpy.read_map(path, field=None, nest=False))
    stokes = read_stokes(path)
    found = stokes.iqu if polarised else stokes.iqu[:1]
    np.testing.assert_array_equal(found, np.where(expected == UNSEEN, np.nan, expected))
    assert 0.2 < stokes.missing.mean() < 0.4
    assert grid_of(path) == (Healpix(NSIDE), "G")


@pytest.mark.parametrize("nest", [False, True])
def test_partial_masks_are_zero_elsewhere(tmp_path, nest) -> None:
    weights = np.where(np.arange(NPIX) % 5 < 2, 0.75, UNSEEN)
    path = healpix_file(tmp_path / "w.fits", weights, nest=nest, partial=True, column_names=["MASK"])
    expected = np.where(healpy.read_map(path) == UNSEEN, 0.0, healpy.read_map(path))
    np.testing.assert_array_equal(read_mask(path).weights, expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": [1, 1, 2]}, "expected distinct pixels from 0 to 767"),
        ({"pixels": [1, 2, 768]}, "expected distinct pixels from 0 to 767"),
        ({"pixels": [0.5, 1, 2]}, "expected one whole number a row"),
        ({"name": "WHERE"}, "expected one column of pixels"),
        ({"NSIDE": None}, "NSIDE is None, expected a power of two"),
        ({"NSIDE": 12}, "NSIDE is '12', expected a power of two"),
    ],
)
def test_bad_partial_files(tmp_path, change, message) -> None:
    pixels = np.array(change.get("pixels", [1, 2, 3]))
    columns = [
        fits.Column(
            name=change.get("name", "PIXEL"), format="D" if pixels.dtype.kind == "f" else "J", array=pixels
        ),
        fits.Column(name="I_STOKES", format="D", unit="uK", array=np.ones(3)),
    ]
    table = fits.BinTableHDU.from_columns(columns)
    cards = {"ORDERING": "RING", "COORDSYS": "G", "INDXSCHM": "EXPLICIT", "NSIDE": change.get("NSIDE", NSIDE)}
    table.header.update({k: v for k, v in cards.items() if v is not None})
    table.writeto(tmp_path / "m.fits")
    with pytest.raises(MapError, match=message):
        read_stokes(tmp_path / "m.fits")


def test_planck_masks_by_name(tmp_path) -> None:
    """HFI_Mask_GalPlane: GAL020 to GAL099 in one table, one coordinate system."""
    names = ("GAL020", "GAL040", "GAL060")
    weights = np.array([np.arange(NPIX) % 10 < k for k in (2, 4, 6)], dtype=np.float64)
    path = healpix_file(tmp_path / "w.fits", weights, column_names=names, column_units="none")
    for name, k in zip(names, (0.2, 0.4, 0.6), strict=True):
        mask = read_mask(path, column=name.lower())
        assert mask.fsky == pytest.approx(k, abs=0.01)
        assert mask.history[0]["column"] == name
    assert read_mask(path, column=1).history[0]["column"] == "GAL040"
    with pytest.raises(MapError, match=r"\['GAL020', 'GAL040', 'GAL060'\] differ; say which"):
        read_mask(path)
    with pytest.raises(MapError, match="no column 'GAL070'"):
        read_mask(path, column="GAL070")


@pytest.mark.parametrize(
    ("word", "coord"),
    [("ICRS", "C"), ("FK5", "C"), ("fk5", "C"), ("Q", "C"), ("J2000", "C"), ("GALACTIC", "G")],
)
def test_names_of_coordinates(tmp_path, iqu, word, coord) -> None:
    assert read_stokes(edit(healpix_file(tmp_path / "m.fits", iqu), COORDSYS=word)).coord == coord


def test_a_mask_that_is_silent_has_the_maps_coordinates(tmp_path) -> None:
    path = edit(healpix_file(tmp_path / "w.fits", np.ones(NPIX)), COORDSYS=None)
    with pytest.raises(MapError, match="no COORDSYS"):
        read_mask(path)
    mask = read_mask(path, otherwise="C")
    assert mask.coord == "C"
    assert mask.history[0]["coord_source"] == "absent: that of the maps"
    assert read_mask(path, coord="E", otherwise="C").coord == "E"


@pytest.mark.parametrize("excess", [1e-7, 1.2e-7, -1e-9])
def test_weights_off_by_rounding(tmp_path, excess) -> None:
    weights = np.ones(NPIX)
    weights[0], weights[1] = 1 + max(excess, 0), min(excess, 0)
    mask = read_mask(healpix_file(tmp_path / "w.fits", weights))
    assert mask.weights.max() == 1
    assert mask.weights[1] == 0
    weights[2] = 1.001
    with pytest.raises(MapError, match=r"expected \[0, 1\]"):
        read_mask(healpix_file(tmp_path / "w.fits", weights))


def test_hits_of_a_partial_file(tmp_path, iqu) -> None:
    iqu[1] = np.arange(NPIX)
    iqu[:, :100] = UNSEEN
    path = healpix_file(tmp_path / "m.fits", iqu[:2], partial=True, column_names=["I_STOKES", "HITS"])
    hits, _ = read_column(path, "HITS")
    np.testing.assert_array_equal(hits[100:], np.arange(100, NPIX))
    assert np.isnan(hits[:100]).all()
