from __future__ import annotations

import tracemalloc
import warnings
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.sky import read_mask, read_mask_product, read_product, read_stokes, write_mask, write_product
from cmbfit.sky.fits import UNSEEN, read_column
from cmbfit.sky.maps import Mask, StokesMap

NSIDE = 8
NPIX = 12 * NSIDE**2


@pytest.fixture
def iqu() -> np.ndarray:
    return np.random.default_rng(3).normal(0, 100, (3, NPIX))


def healpix_file(path: Path, iqu: np.ndarray, **kwargs) -> Path:
    """Write with healpy, the outside truth for the format."""
    extra = kwargs.pop("extra", [])
    options = {"coord": "G", "column_units": "uK", "dtype": np.float64, "overwrite": True} | kwargs
    healpy.write_map(path, iqu, extra_header=extra, **options)
    return path


def edit(path: Path, **cards) -> Path:
    """Change header cards of the table; None removes one."""
    with fits.open(path, mode="update") as hdus:
        for key, value in cards.items():
            if value is None:
                hdus[1].header.remove(key)
            else:
                hdus[1].header[key] = value
    return path


@pytest.mark.parametrize("nest", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ordering_and_type(tmp_path, iqu, nest, dtype) -> None:
    written = healpy.reorder(iqu, r2n=True) if nest else iqu
    path = healpix_file(tmp_path / "m.fits", written, nest=nest, dtype=dtype)
    stokes = read_stokes(path)
    np.testing.assert_allclose(stokes.iqu, iqu, rtol=1e-6 if dtype is np.float32 else 1e-15)
    assert stokes.i.dtype == np.dtype("=f8")  # FITS is big-endian
    assert stokes.i.dtype.isnative
    assert stokes.coord == "G"
    assert stokes.history[0]["ordering"] == ("NESTED" if nest else "RING")


@pytest.mark.parametrize(("unit", "scale"), [("K_CMB", 1e-6), ("mK", 1e-3), ("uK", 1.0)])
def test_units_are_converted(tmp_path, iqu, unit, scale) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu * scale, column_units=unit)
    np.testing.assert_allclose(read_stokes(path).iqu, iqu, rtol=1e-13)


@pytest.mark.parametrize(("convention", "sign"), [("COSMO", 1), ("IAU", -1), (None, 1)])
def test_polcconv(tmp_path, iqu, convention, sign) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu, extra=[("POLCCONV", convention)] if convention else [])
    stokes = read_stokes(path)
    np.testing.assert_allclose(stokes.u, sign * iqu[2])
    np.testing.assert_allclose(stokes.q, iqu[1])
    assert stokes.history[0]["polcconv_source"].startswith("file" if convention else "absent")


def test_real_wmap_file_says_neither_unit_nor_coordinates(wmap_maps) -> None:
    record = wmap_maps["V"].history[0]
    assert record["units_source"] == record["coord_source"] == "declared"
    assert record["ordering_source"] == "file"
    assert 50 < np.std(wmap_maps["V"].i[wmap_maps["V"].i < 300]) < 150  # uK, not mK


def test_unseen_and_nan_become_nan(tmp_path, iqu) -> None:
    iqu[0, 3], iqu[1, 5], iqu[2, 7] = UNSEEN, np.nan, np.float32(UNSEEN)
    stokes = read_stokes(healpix_file(tmp_path / "m.fits", iqu))
    assert np.flatnonzero(stokes.missing).tolist() == [3, 5, 7]
    assert stokes.history[0]["missing_pixels"] == [1, 1, 1]


def test_columns_by_name_and_choice(tmp_path, iqu) -> None:
    path = healpix_file(
        tmp_path / "m.fits", iqu[[2, 0, 1]], column_names=["U_STOKES", "I_STOKES", "Q_STOKES"]
    )
    np.testing.assert_allclose(read_stokes(path).iqu, iqu)
    np.testing.assert_allclose(read_stokes(path, columns=["u_stokes", 1, 2]).i, iqu[2])
    with pytest.raises(MapError, match="declared columns"):
        read_stokes(path, columns=["A", "B", "C"])


def test_product_round_trip(tmp_path, iqu) -> None:
    iqu[:, 4] = np.nan
    made = StokesMap(*iqu, coord="C", name="V", history=({"step": "read"},)).step(
        {"step": "x" * 200, "value": 0.1}
    )
    write_product(tmp_path / "p.fits", made)
    again = read_product(tmp_path / "p.fits", "V")
    np.testing.assert_array_equal(again.iqu, made.iqu)
    assert again.history == made.history
    assert (again.coord, again.nside) == ("C", NSIDE)
    # healpy reads it as well, in the same order
    outside = healpy.read_map(tmp_path / "p.fits", field=(0, 1, 2))
    np.testing.assert_array_equal(np.ma.masked_values(outside, UNSEEN).filled(np.nan), made.iqu)


def test_products_are_reproducible_and_atomic(tmp_path, iqu) -> None:
    made = StokesMap(*iqu, coord="G")
    for name in "ab":
        write_product(tmp_path / f"{name}.fits", made)
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.fits", "b.fits"]


def test_mask_round_trip(tmp_path) -> None:
    mask = Mask(np.linspace(0, 1, NPIX), coord="G", history=({"step": "read"},))
    write_mask(tmp_path / "mask.fits", mask)
    again = read_mask_product(tmp_path / "mask.fits")
    np.testing.assert_array_equal(again.weights, mask.weights)
    assert again.history == mask.history


def test_columns_that_nobody_asks_for_stay_on_the_disk(tmp_path) -> None:
    """Of a table of 20 columns one is read: memory of a few columns, not of the table (2 GB of Planck's maps)."""
    npix = 12 * 64**2
    columns = [fits.Column(name=f"C{k}", format="D", array=np.full(npix, k)) for k in range(20)]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["ORDERING"] = "RING"
    table.writeto(tmp_path / "m.fits")
    read_column(tmp_path / "m.fits", "C7")  # astropy's own first use
    tracemalloc.start()
    values, _ = read_column(tmp_path / "m.fits", "C7")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (values == 7).all()
    assert peak < 6 * values.nbytes


# ---- bad input ----


@pytest.mark.parametrize("unit", [None, "unknown"])
def test_no_unit(tmp_path, iqu, unit) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu, column_units=unit)
    with pytest.raises(MapError, match="no TUNIT"):
        read_stokes(path)
    np.testing.assert_allclose(read_stokes(path, unit="mK").iqu, 1e3 * iqu)


def test_unknown_unit(tmp_path, iqu) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu, column_units="counts")
    with pytest.raises(MapError, match="'counts'"):
        read_stokes(path)


def test_declared_unit_contradicts(tmp_path, iqu) -> None:
    with pytest.raises(MapError, match="declared as 'mK'"):
        read_stokes(healpix_file(tmp_path / "m.fits", iqu), unit="mK")


def test_missing_ordering(tmp_path, iqu) -> None:
    path = edit(healpix_file(tmp_path / "m.fits", iqu), ORDERING=None)
    with pytest.raises(MapError, match="no ORDERING"):
        read_stokes(path)
    np.testing.assert_allclose(read_stokes(path, ordering="RING").iqu, iqu)


def test_contradictory_ordering(tmp_path, iqu) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu)
    with pytest.raises(MapError, match="declared as 'NESTED'"):
        read_stokes(path, ordering="nested")
    with fits.open(path, mode="update") as hdus:
        hdus[1].header.append(("ORDERING", "NESTED"), end=True)
    with pytest.raises(MapError, match="contradictory ORDERING"):
        read_stokes(path)


@pytest.mark.parametrize(
    ("card", "value", "message"),
    [("ORDERING", "SPIRAL", "expected RING or NESTED"), ("POLCCONV", "LEFT", "expected COSMO or IAU"),
     ("COORDSYS", "MARS", "expected one of"), ("NSIDE", 16, "make nside 8"), ("INDXSCHM", "EXPLICIT", "one column of pixels"), ("INDXSCHM", "SPARSE", "IMPLICIT or EXPLICIT"),
     ("PIXTYPE", "CAR", "expected HEALPIX")],
)  # fmt: skip
def test_unknown_header_value(tmp_path, iqu, card, value, message) -> None:
    path = edit(healpix_file(tmp_path / "m.fits", iqu), **{card: value})
    with pytest.raises(MapError, match=message):
        read_stokes(path)


def test_missing_coordinates(tmp_path, iqu) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu, coord=None)
    with pytest.raises(MapError, match="no COORDSYS"):
        read_stokes(path)
    assert read_stokes(path, coord="E").coord == "E"


@pytest.mark.parametrize("keep", [0.3, 0.8])
def test_truncated(tmp_path, iqu, keep) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    with warnings.catch_warnings(), pytest.raises(MapError, match=r"truncated|whole FITS"):
        read_stokes(path)


def test_not_fits_and_missing(tmp_path) -> None:
    (tmp_path / "m.fits").write_text("not a map")
    for name in ("m.fits", "absent.fits"):
        with pytest.raises(MapError, match="expected a whole FITS file"):
            read_stokes(tmp_path / name)


@pytest.mark.parametrize("names", [("I_STOKES", "Q_STOKES"), ("Q_STOKES", "U_STOKES"), ("SKY",)])
def test_wrong_columns(tmp_path, iqu, names) -> None:
    path = healpix_file(tmp_path / "m.fits", iqu[: len(names)], column_names=names)
    with pytest.raises(MapError, match=f"among the {len(names)} columns"):
        read_stokes(path)


def test_wrong_pixel_count(tmp_path) -> None:
    columns = [fits.Column(name=n, format="D", unit="uK", array=np.zeros(700)) for n in ("I", "Q", "U")]
    table = fits.BinTableHDU.from_columns(columns)
    table.header["ORDERING"], table.header["COORDSYS"] = "RING", "G"
    table.writeto(tmp_path / "m.fits")
    with pytest.raises(MapError, match="700"):
        read_stokes(tmp_path / "m.fits")


def test_infinite_values(tmp_path, iqu) -> None:
    iqu[1, 10] = np.inf
    with pytest.raises(MapError, match="column Q has 1 infinite"):
        read_stokes(healpix_file(tmp_path / "m.fits", iqu))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.full(NPIX, 2.0), "expected \\[0, 1\\]"),
        (np.full(NPIX, UNSEEN), "NaN or UNSEEN"),
        (np.zeros(NPIX), "no sky"),
    ],
)
def test_bad_masks(tmp_path, values, message) -> None:
    path = healpix_file(tmp_path / "m.fits", values)
    with pytest.raises(MapError, match=message):
        read_mask(path)


def test_mask_of_differing_columns(tmp_path) -> None:
    path = healpix_file(
        tmp_path / "m.fits", np.stack([np.ones(NPIX), np.zeros(NPIX)]), column_names=["T", "P"]
    )
    with pytest.raises(MapError, match="differ"):
        read_mask(path)
    assert read_mask(path, column="T").fsky == 1
    with pytest.raises(MapError, match="no column"):
        read_mask(path, column="X")
