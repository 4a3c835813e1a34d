"""CAR grids: where astropy.wcs has the pixels, sums that ducc0's general transform, Fubini and pixell agree with, files."""

from __future__ import annotations

from pathlib import Path

import ducc0
import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from cmbfit.errors import MapError
from cmbfit.figures.maps import mollweide_image
from cmbfit.sky import (
    Mask,
    StokesMap,
    apodise,
    read_mask,
    read_product,
    read_stokes,
    rotate,
    write_mask,
    write_product,
)
from cmbfit.sky.car import Car
from cmbfit.sky.car_fits import read_grid
from cmbfit.sky.fits import column_names, read_column, write_split
from cmbfit.sky.harmonic import alm2map, alm_size, ell_of, map2alm
from cmbfit.sky.masks import distance_to_hole
from cmbfit.sky.simulate import draw_alm

PATCH = Car(circle=144, rows=20, columns=40, top=9, left=130)  # 2.5 deg, over longitude 0


def header(**cards: object) -> fits.Header:
    """Return a header as ACT writes them: 2.5 deg pixels, longitude to the left, rows from the south."""
    head = fits.Header()
    known = {
        "NAXIS": 2, "NAXIS1": 40, "NAXIS2": 20, "CTYPE1": "RA---CAR", "CTYPE2": "DEC--CAR", "CUNIT1": "deg", "CUNIT2": "deg",
        "CDELT1": -2.5, "CDELT2": 2.5, "CRVAL1": 12.5, "CRVAL2": 0.0, "CRPIX1": 19.5, "CRPIX2": 30.0,
    }  # fmt: skip
    for key, value in (known | cards).items():
        if value is not None:
            head[key] = value
    return head


def image(path: Path, values: np.ndarray, **cards: object) -> Path:
    sizes = {"NAXIS1": values.shape[-1], "NAXIS2": values.shape[-2]}
    fits.PrimaryHDU(values, header=header(NAXIS=values.ndim, **sizes, **cards)).writeto(path, overwrite=True)
    return path


@pytest.mark.parametrize(
    "cards",
    [
        {},
        {"CDELT1": 2.5},
        {"CDELT2": -2.5, "CRPIX2": -9.5},
        {"CDELT1": 2.5, "CDELT2": -2.5, "CRPIX2": 25.25, "CRPIX1": -3.75},
        {"CRVAL1": 359.0, "CRPIX1": 1.0},
        {"LONPOLE": 180.0, "LATPOLE": 90.0},
        {"CRVAL1": -170.0, "CRPIX1": 40.0},
        {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR"},
        {"NAXIS1": 144, "NAXIS2": 73, "CRPIX2": 37.0, "CRPIX1": 72.5},
        {"CDELT1": None, "CDELT2": None, "CD1_1": -2.5, "CD2_2": 2.5, "CD1_2": 0.0},
    ],
)  # fmt: skip
def test_pixels_lie_where_astropy_has_them(cards) -> None:
    """Every pixel within 1e-9 deg, whatever the sign of CDELT and the reference pixel."""
    head = header(**cards)
    grid, coord, flips = read_grid(head, "x.fits")
    y, x = np.indices((grid.rows, grid.columns))
    longitude, latitude = np.radians(WCS(head).wcs_pix2world(x, y, 0))
    there = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1
    )
    np.testing.assert_allclose(grid.vectors(), there[flips].reshape(-1, 3), atol=2e-11)
    assert coord == ("G" if "CTYPE1" in cards else "C")
    assert (np.diff(grid.latitudes) < 0).all()


@pytest.mark.parametrize(
    ("cards", "words"),
    [
        ({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}, "RA---TAN, DEC--TAN: expected CAR"),
        ({"CTYPE1": "RA---CEA", "CTYPE2": "DEC--CEA"}, "expected CAR"),
        ({"CTYPE1": "DEC--CAR", "CTYPE2": "RA---CAR"}, "expected CAR"),
        ({"CTYPE1": None}, "without CTYPE1"),
        ({"CRVAL2": -40.0}, "CRVAL2 is -40: .*rotated"),
        ({"LATPOLE": -90.0}, "rotated grid"),
        ({"LATPOLE": 0.0}, "rotated grid"),
        ({"PC1_2": 0.1, "PC2_1": -0.1}, "rotated"),
        ({"CDELT2": 2.0}, "not square"),
        ({"CDELT1": -2.51, "CDELT2": 2.51}, "expected a whole number"),
        ({"CRPIX2": -30.0}, "rings from .*expected -90 to 90"),
        ({"NAXIS1": 145}, "a whole ring has 144"),
        ({"RADESYS": "FK4"}, "RADESYS FK4"),
    ],
)  # fmt: skip
def test_other_grids_are_refused_by_name(cards, words) -> None:
    with pytest.raises(MapError, match=words):
        read_grid(header(**cards), "x.fits")


def random_alm(lmax: int, spin: int, seed: int = 1) -> np.ndarray:
    rng, n = np.random.default_rng(seed), 1 if spin == 0 else 2
    alm = rng.normal(size=(n, alm_size(lmax))) + 1j * rng.normal(size=(n, alm_size(lmax)))
    alm[:, : lmax + 1].imag = 0
    alm[:, ell_of(lmax) < spin] = 0
    return alm


@pytest.mark.parametrize("spin", [0, 1, 2])
@pytest.mark.parametrize("lmax", [30, 71, 140])
def test_transforms_are_those_of_single_pixels(spin, lmax) -> None:
    """ducc0's transform of arbitrary points (NUFFT, its accuracy asked for 1e-12), on the patch and for its adjoint with weights.

    140 is above the 71 that rings of 144 pixels can tell apart, as mask spectra are: sums alias as they should.
    """
    alm = random_alm(lmax, spin)
    v = PATCH.vectors()
    places = np.stack([np.arccos(v[:, 2]), np.arctan2(v[:, 1], v[:, 0]) % (2 * np.pi)], axis=1)
    made = PATCH.synthesis(alm, lmax, spin)
    exact = ducc0.sht.synthesis_general(alm=alm, spin=spin, lmax=lmax, loc=places, epsilon=1e-12)
    np.testing.assert_allclose(made, exact, atol=1e-9 * np.abs(exact).max())
    back = PATCH.analysis(made, lmax, spin)
    weighted = made * PATCH.pixel_area
    exact = ducc0.sht.adjoint_synthesis_general(map=weighted, spin=spin, lmax=lmax, loc=places, epsilon=1e-12)
    np.testing.assert_allclose(back, exact, atol=1e-9 * np.abs(exact).max())


@pytest.mark.parametrize(("top", "rows", "lmax"), [(36, 73, 36), (35.5, 72, 35)])
def test_whole_sky_is_exact(top, rows, lmax) -> None:
    """Clenshaw-Curtis and Fejer weights give a_lm back to rounding up to where degree 2 l is integrated exactly."""
    grid = Car(144, rows, 144, top, 3.3)
    for spin in (0, 2):
        alm = random_alm(lmax, spin)
        found = map2alm(alm2map(alm, grid, spin), lmax, spin, 0, grid=grid)
        np.testing.assert_allclose(found, alm, atol=1e-12)
    assert grid.covers_sky
    assert grid.mean(np.ones(grid.npix)) == pytest.approx(1, abs=1e-13)


def test_each_place_is_in_its_pixel() -> None:
    """Of points within 0.49 pixels of each centre the pixel is that one; points beyond the edge have none, nor do maps show any."""
    off = 0.49 * PATCH.step_deg * np.random.default_rng(1).uniform(-1, 1, size=(2, PATCH.npix))
    latitude = np.radians(np.repeat(PATCH.latitudes, PATCH.columns) + off[0])
    longitude = np.radians(np.tile(PATCH.longitudes, PATCH.rows) + off[1])
    v = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
    np.testing.assert_array_equal(PATCH.pixels_at(v), np.arange(PATCH.npix))
    assert (PATCH.pixels_at(PATCH.outside()) == -1).all()
    assert (PATCH.pixels_at(-v) == -1).all()
    image = mollweide_image(np.repeat(PATCH.latitudes, PATCH.columns), PATCH)
    latitude, longitude = np.linspace(-90, 90, 301)[:-1] + 0.3, -(np.linspace(-180, 180, 601)[:-1] + 0.3)
    rows, columns = np.nonzero(np.isfinite(image))
    assert np.abs(image[rows, columns] - latitude[rows]).max() < 1.25 + 1e-6
    from_west = (longitude[columns] - (325 - 1.25)) % 360
    assert from_west.max() < 100
    assert len(np.unique(columns)) == pytest.approx(100 / 0.6, abs=1)


def test_areas() -> None:
    """Those of zones of a sphere; quadrature weights differ from them by less than the curvature of a pixel."""
    zone = 2 * np.pi * (np.sin(np.radians(23.75)) + np.sin(np.radians(26.25))) * 40 / 144
    assert PATCH.areas.sum() * 40 == pytest.approx(zone, rel=1e-13)
    np.testing.assert_allclose(PATCH.ring_weights, PATCH.areas, rtol=np.radians(2.5) ** 2)
    between = Car(144, 20, 40, 9.2, 130)  # rings of no known quadrature
    np.testing.assert_array_equal(between.ring_weights, between.areas)


@pytest.mark.parametrize(
    ("dec", "skies"),
    [
        (-20.0, 6),
        pytest.param(-40.0, 40, marks=pytest.mark.slow),
        pytest.param(-60.0, 40, marks=pytest.mark.slow),
    ],
)
def test_pixel_window(dec, skies) -> None:
    """Spectra of skies averaged over each pixel (16 x 16 points) over those of the same skies at the centres of pixels.

    Under a wide smooth mask, l 60-100 and 100-140, where the window takes 10-14 % and 20-30 % of the power: within four
    errors of the mean and 0.3 % of the power. The 0.3 % were set after 0.13-0.3 % had been seen; points, which are sharper
    than a pixel, make up half a permille of it, the rest is what the mask couples. Above l = 140 (1 degree pixels: Nyquist is
    180) it is off by 0.5 to 1.3 %.
    """
    fine = 16
    grid = Car(360, 40, 90, dec + 20, 10)
    sub = Car(360 * fine, 40 * fine, 90 * fine, fine * grid.top + (fine - 1) / 2, fine * 10 - (fine - 1) / 2)
    b, x = np.meshgrid(np.linspace(-1, 1, 40), np.linspace(-1, 1, 90), indexing="ij")
    weights = (np.cos(np.pi * b / 2) * np.cos(np.pi * x / 2)).ravel() ** 2
    lmax = 200
    window = grid.window(weights, lmax) ** 2
    off, ranges = [], ((60, 100), (100, 140))
    for k in range(skies):
        alm = draw_alm({"tt": 1.0 * (np.arange(lmax + 1) > 1)}, lmax, np.random.default_rng(k))[:1]
        averaged = alm2map(alm, sub, 0).reshape(40, fine, 90, fine).mean(axis=(1, 3)).ravel()
        power = [
            np.bincount(ell_of(lmax), np.abs(map2alm((v * weights)[None], lmax, 0, 0, grid=grid)[0]) ** 2)
            for v in (averaged, alm2map(alm, grid, 0)[0])
        ]
        off.append([(power[0] - window * power[1])[i:j].sum() / power[1][i:j].sum() for i, j in ranges])
    error = np.std(off, axis=0, ddof=1) / np.sqrt(skies)
    assert (np.abs(np.mean(off, axis=0)) < 4 * error + 3e-3).all()
    assert (window[[80, 120]] < (0.93, 0.84)).all()


def cube(seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, 20, 40)).astype("f4")


def test_a_file_as_act_writes_it(tmp_path) -> None:
    """IAU on disk: U turns its sign, and each value is where astropy.wcs has its pixel."""
    values = cube()
    stokes = read_stokes(image(tmp_path / "m.fits", values, BUNIT="uK", POLCCONV="IAU"), name="pa5")
    longitude, latitude = WCS(header()).wcs_pix2world(7, 3, 0)
    v = stokes.grid.vectors()
    k = int(np.argmax(v @ [
        np.cos(np.radians(latitude)) * np.cos(np.radians(longitude)),
        np.cos(np.radians(latitude)) * np.sin(np.radians(longitude)),
        np.sin(np.radians(latitude)),
    ]))  # fmt: skip
    assert (stokes.i[k], stokes.q[k], -stokes.u[k]) == tuple(values[:, 3, 7])
    assert stokes.history[0]["polcconv"] == "IAU"
    assert stokes.coord == "C"
    milli = read_stokes(image(tmp_path / "k.fits", values, BUNIT="mK", POLCCONV="COSMO"))
    np.testing.assert_allclose(milli.u, -1000 * stokes.u)
    with pytest.raises(MapError, match="made for HEALPix maps"):
        rotate(stokes, "G")


@pytest.mark.parametrize(
    ("cards", "declared", "words"),
    [
        ({"BUNIT": "uK"}, {}, "no POLCCONV in the header of a CAR map"),
        ({"POLCCONV": "IAU"}, {}, "no BUNIT"),
        ({"POLCCONV": "IAU", "BUNIT": "uK"}, {"polcconv": "COSMO"}, "declared as 'COSMO'"),
        ({"POLCCONV": "IAU", "BUNIT": "uK"}, {"unit": "K"}, "declared as 'K'"),
        ({"POLCCONV": "IAU", "BUNIT": "uK"}, {"coord": "G"}, "declared as 'G'"),
        ({"POLCCONV": "IAU", "BUNIT": "uK"}, {"ordering": "RING"}, "ordering are for HEALPix"),
        (
            {"POLCCONV": "IAU", "BUNIT": "uK", "CTYPE3": "STOKES", "CRVAL3": 2.0},
            {},
            "STOKES axis starts at 2",
        ),
    ],
)
def test_what_a_file_leaves_open(tmp_path, cards, declared, words) -> None:
    path = image(tmp_path / "m.fits", cube(), **cards)
    with pytest.raises(MapError, match=words):
        read_stokes(path, **declared)


def test_images_of_each_stokes(tmp_path) -> None:
    """I, Q, U as named images of one file, with hits beside them; unnamed ones are refused."""
    values = cube()
    cards = {"BUNIT": "uK", "POLCCONV": "COSMO"}
    hdus = [fits.PrimaryHDU()]
    for name, plane in zip(("T", "Q", "U", "IVAR"), [*values, np.abs(values[0])], strict=True):
        hdus.append(fits.ImageHDU(plane, header=header(**cards), name=name))
    fits.HDUList(hdus).writeto(tmp_path / "m.fits")
    one = read_stokes(tmp_path / "m.fits")
    two = read_stokes(image(tmp_path / "cube.fits", values, **cards))
    np.testing.assert_array_equal(one.iqu, two.iqu)
    assert column_names(tmp_path / "m.fits") == ("IVAR",)
    np.testing.assert_array_equal(read_column(tmp_path / "m.fits", "IVAR")[0], np.abs(one.i))
    for hdu in hdus[1:]:
        hdu.name = ""
    fits.HDUList(hdus).writeto(tmp_path / "n.fits")
    with pytest.raises(MapError, match="EXTNAME I"):
        read_stokes(tmp_path / "n.fits")


def test_products_come_back(tmp_path) -> None:
    rng = np.random.default_rng(2)
    i = rng.normal(size=PATCH.npix)
    i[5] = np.nan
    stokes = StokesMap(
        i, *rng.normal(size=(2, PATCH.npix)), coord="G", history=({"step": "x"},), pixelisation=PATCH
    )
    write_product(tmp_path / "m.fits", stokes)
    again = read_product(tmp_path / "m.fits")
    np.testing.assert_array_equal(again.iqu, stokes.iqu)
    assert (again.grid, again.coord, again.history) == (PATCH, "G", ({"step": "x"},))
    mask = Mask(rng.uniform(size=PATCH.npix), "G", pixelisation=PATCH)
    write_mask(tmp_path / "w.fits", mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "w.fits").weights, mask.weights)
    write_split(tmp_path / "s.fits", stokes, mask.weights)
    np.testing.assert_allclose(read_column(tmp_path / "s.fits", "WEIGHT")[0], mask.weights, rtol=1e-7)


def test_apodisation_starts_at_the_edge_of_a_patch() -> None:
    """The distance to the nearest pixel without data, over all pairs: those of a mask's holes and those beyond the edge."""
    weights = np.ones((20, 40))
    weights[4, 30:33] = 0
    mask = Mask(weights.ravel(), "C", pixelisation=PATCH)
    wide = Car(144, 22, 42, 10, 129)
    inside = np.zeros((22, 42))
    inside[1:-1, 1:-1] = weights
    v = wide.vectors()
    holes = v[inside.ravel() == 0]
    chord = np.linalg.norm(v[inside.ravel() > 0][:, None] - holes, axis=-1).min(axis=1)
    np.testing.assert_allclose(distance_to_hole(mask)[mask.support], 2 * np.arcsin(chord / 2), atol=1e-12)
    assert apodise(mask, 10, "C1").weights.reshape(20, 40)[0].max() < 0.1


@pytest.mark.slow
def test_pixell_agrees(tmp_path) -> None:
    """pixell's positions, areas and coefficients (weights of its own, no iterations) of its own files.

    Whole skies and patches of both of its ways to lay rings, one over longitude 180.
    """
    enmap = pytest.importorskip("pixell.enmap", reason="pixell is not installed: an oracle, no dependency")
    from pixell import curvedsky

    deg, rng = np.pi / 180, np.random.default_rng(0)
    for shape, wcs in (
        enmap.fullsky_geometry(res=0.5 * deg, variant="CC"),
        enmap.fullsky_geometry(res=0.5 * deg, variant="fejer1"),
        enmap.band_geometry(np.array([-63, 23]) * deg, res=0.5 * deg),
        enmap.geometry(np.array([[-20, 170], [5, -170]]) * deg, res=0.5 * deg, proj="car"),
        enmap.geometry(np.array([[-65, 20], [-45, -30]]) * deg, res=0.5 * deg, proj="car"),
    ):
        theirs = enmap.ndmap(rng.normal(size=(3, *shape[-2:])), wcs)
        enmap.write_map(str(tmp_path / "x.fits"), theirs)
        stokes = read_stokes(tmp_path / "x.fits", unit="uK", polcconv="COSMO")
        grid, _, flips = read_grid(fits.getheader(tmp_path / "x.fits"), "x")
        latitude, longitude = theirs.posmap()
        there = np.stack(
            [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], -1
        )
        np.testing.assert_allclose(grid.vectors(), there[flips].reshape(-1, 3), atol=1e-14)
        area = np.asarray(theirs.pixsizemap())[flips]
        np.testing.assert_allclose(np.broadcast_to(grid.areas[:, None], area.shape), area, rtol=1e-12)
        method = "cyl" if grid.whole_rings else "auto"
        alm = curvedsky.map2alm(theirs, lmax=150, spin=[0, 2], niter=0, method=method)
        i, qu = stokes.i[None], np.stack([stokes.q, stokes.u])
        mine = np.concatenate([map2alm(x, 150, s, 0, grid=grid) for x, s in ((i, 0), (qu, 2))])
        np.testing.assert_allclose(mine, alm, atol=1e-11 * np.abs(alm).max())
