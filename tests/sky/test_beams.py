from __future__ import annotations

import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.data import fetch
from cmbfit.errors import MapError
from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.beams import Beam, beam_ratio, read_beam_fits, read_beam_text
from cmbfit.sky.harmonic import alm2stokes, scale_alm, stokes2alm
from cmbfit.sky.resolution import change_resolution, cosine_beam, cosine_window, degrade_mask
from tests.sky.test_rotate import random_teb

WINDOW = "pixel_windows/pixel_window_n0032.fits"


def table(columns: dict[str, np.ndarray], name: str = "") -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(
        [fits.Column(name=k, format="D", array=v) for k, v in columns.items()], name=name
    )


def test_gaussian_against_healpy() -> None:
    ours, theirs = Beam.gaussian(300, 90.0), healpy.gauss_beam(np.radians(1.5), 300, pol=True)
    np.testing.assert_allclose(ours.t, theirs[:, 0], rtol=1e-12)
    np.testing.assert_allclose(ours.e[2:], theirs[2:, 1], rtol=1e-12)
    np.testing.assert_array_equal(ours.p, ours.e)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_wmap_text(tmp_path, start: int) -> None:
    b = healpy.gauss_beam(np.radians(0.5), 100)
    rows = [f"  {l:5d}  {b[l]:.10f}  {1e-3 * b[l]:.6f}" for l in range(start, 101)]
    path = tmp_path / "wmap_ampl_bl_V1_9yr_v5p1.txt"
    path.write_text("\n".join(["# WMAP nine-year data", "# l, b_l, error", *rows]))
    beam = read_beam_text(path, 90)
    np.testing.assert_allclose(beam.t[start:], b[start:91], atol=1e-10)
    np.testing.assert_allclose(beam.teb[:, :2], 1, atol=1e-4)
    assert beam.lmax == 90
    assert read_beam_text(path, 90, columns=(1, 2)).b[50] == pytest.approx(1e-3 * b[50], rel=1e-2)
    with pytest.raises(MapError, match="l = 200 is needed"):
        read_beam_text(path, 200)
    with pytest.raises(MapError, match="expected rows"):
        read_beam_text(path, 90, columns=(7,))
    path.write_text("0 1\n1 1\n3 1\n")
    with pytest.raises(MapError, match="without gaps"):
        read_beam_text(path, 2)
    path.write_text("0 1e6\n1 1e6\n2 1e6\n")
    with pytest.raises(MapError, match="normalise"):
        read_beam_text(path, 2)


def test_hfi_files(tmp_path) -> None:
    t, e, b = (healpy.gauss_beam(np.radians(x), 60) for x in (0.5, 0.6, 0.7))
    bl, wl = tmp_path / "Bl_TEB_R3.01_fullsky_143x143.fits", tmp_path / "Wl_R3.01_plikmask_143x143.fits"
    fits.HDUList([fits.PrimaryHDU(), table({"T": t, "E": e, "B": b})]).writeto(bl)
    beam = read_beam_fits(bl, 50)
    for ours, wanted in zip(beam.teb, (t, e, b), strict=True):
        np.testing.assert_allclose(ours, wanted[:51])
    hdus = [
        table({f"{x}_2_{x}": v**2, f"{x}_2_TE": 1e-4 * v, f"{x}_2_TB": 2e-5 * v}, x)
        for x, v in (("TT", t), ("EE", e), ("BB", b))
    ]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(wl)
    squared = read_beam_fits(wl, 50, hdus=("TT", "EE", "BB"))
    np.testing.assert_allclose(squared.teb, beam.teb, rtol=1e-12)
    assert squared.t_to_e is None
    leaky = read_beam_fits(wl, 50, hdus=("TT", "EE", "BB"), leakage=True)
    np.testing.assert_allclose(leaky.t_to_e, 1e-4, rtol=1e-12)  # TT_2_TE = b^T times it
    windowed, p = leaky.times_pixel_window(fetch(WINDOW)), Beam.unit(50).times_pixel_window(fetch(WINDOW)).e
    np.testing.assert_allclose(windowed.t_to_e, 1e-4 * p, rtol=1e-12)
    np.testing.assert_allclose(windowed.cut(20).t_to_b, 2e-5 * p[:21], rtol=1e-12)
    np.testing.assert_allclose(leaky.cut(20).t_to_e, 1e-4, rtol=1e-12)
    with pytest.raises(MapError, match="without leakage"):
        Beam.unit(50) * leaky
    with pytest.raises(MapError, match="no column TT_2_TE"):
        read_beam_fits(bl, 50, leakage=True)
    only_t = tmp_path / "Bl_T.fits"
    fits.HDUList([fits.PrimaryHDU(), table({"TEMPERATURE": t})]).writeto(only_t)
    np.testing.assert_allclose(read_beam_fits(only_t, 50).e, t[:51])
    with pytest.raises(MapError, match="l = 61 is needed"):
        read_beam_fits(bl, 61)
    bad = tmp_path / "bad.fits"
    fits.HDUList([fits.PrimaryHDU(), table({"E": e})]).writeto(bad)
    with pytest.raises(MapError, match="no temperature beam"):
        read_beam_fits(bad, 5)
    fits.HDUList([fits.PrimaryHDU(), table({"TT_2_TT": -t})]).writeto(bad, overwrite=True)
    with pytest.raises(MapError, match="below zero"):
        read_beam_fits(bad, 5)


def test_beam_refuses() -> None:
    with pytest.raises(MapError, match="one length"):
        Beam(np.ones(3), np.ones(4), np.ones(3))
    with pytest.raises(MapError, match="1 non-finite"):
        Beam(np.ones(3), np.ones(3), np.array([1, np.nan, 1]))
    with pytest.raises(MapError, match="l = 9 is needed"):
        Beam.unit(5).cut(9)


def test_pixel_window_enters_t_and_p_apart() -> None:
    beam = Beam.unit(64).times_pixel_window(fetch(WINDOW))
    with fits.open(fetch(WINDOW)) as hdus:
        np.testing.assert_allclose(beam.t, hdus[1].data["TEMPERATURE"][:65])
        np.testing.assert_allclose(beam.b, hdus[1].data["POLARIZATION"][:65])
    assert (beam.e[2:] != beam.t[2:]).all()


def test_ratio_and_floor() -> None:
    wide, narrow = Beam.gaussian(400, 60.0), Beam.gaussian(400, 30.0)
    # two Gaussian beams divide into one of the difference in quadrature
    np.testing.assert_allclose(
        beam_ratio(narrow, wide, 400).t, Beam.gaussian(400, np.sqrt(60**2 - 30**2)).t, rtol=1e-10
    )
    with pytest.raises(MapError, match="wider target"):
        beam_ratio(wide, narrow, 400, floor=0.03)
    ratio = beam_ratio(narrow, wide, 400, floor=0.3)
    assert (ratio.t[narrow.t < 0.3] == 0).all()
    assert (ratio.e[:2] == 0).all()
    with pytest.raises(MapError, match="floor 0"):
        beam_ratio(wide, narrow, 10, floor=0)


def test_change_resolution_keeps_every_mode() -> None:
    """A band-limited sky comes out on the coarse grid as if it had been made there with the new beam."""
    truth = random_teb(5, 24)
    old, new = Beam.gaussian(95, 120.0), Beam.gaussian(48, 600.0)
    seen = np.stack([scale_alm(a, f) for a, f in zip(truth, old.teb, strict=True)])
    wanted = np.stack([scale_alm(a, f) for a, f in zip(truth, new.teb, strict=True)])
    out = change_resolution(StokesMap(*alm2stokes(seen, 32), coord="G"), 16, old, new)
    expected = alm2stokes(wanted, 16)
    np.testing.assert_allclose(out.iqu, expected, atol=1e-4 * expected.std())
    assert out.history[-1]["lmax"] == 48


def test_pure_e_stays_pure_e_and_averaging_does_not() -> None:
    teb = random_teb(6, 64)
    teb[2] = 0
    fine = StokesMap(*alm2stokes(teb, 64), coord="G")
    out = stokes2alm(change_resolution(fine, 16, Beam.unit(191), cosine_beam(16)).iqu, 24, 10)
    averaged = healpy.ud_grade(np.array(fine.iqu), 16)
    wrong = stokes2alm(averaged, 24, 10)
    leak, wrong_leak = (np.sum(np.abs(x[2]) ** 2) / np.sum(np.abs(x[1]) ** 2) for x in (out, wrong))
    assert wrong_leak > 100 * leak
    assert leak < 1e-3  # aliases of 24 < l <= 48 into l <= 24 at nside 16


def test_cosine_window() -> None:
    w = cosine_window(16)
    assert (w[:17] == 1).all()
    assert w[32] == pytest.approx(0.5)
    assert w[48] == pytest.approx(0, abs=1e-15)
    assert (np.diff(w) <= 0).all()
    with pytest.raises(MapError, match="power of two"):
        cosine_window(12)


def test_masks_are_averaged_and_maps_refused() -> None:
    weights = np.ones(12 * 32**2)
    weights[healpy.nest2ring(32, np.arange(8))] = 0  # half of the first nside-8 pixel (16 children)
    mask = Mask(weights, coord="G")
    np.testing.assert_allclose(degrade_mask(mask, 8, None).weights, healpy.ud_grade(weights, 8))
    assert degrade_mask(mask, 8).weights.sum() == 12 * 8**2 - 1
    with pytest.raises(MapError, match="mixes E and B"):
        degrade_mask(StokesMap(*np.zeros((3, 48)), coord="G"), 1)
    with pytest.raises(MapError, match="finer"):
        degrade_mask(mask, 64)
    stokes = np.zeros((3, 48))
    stokes[1, 0] = np.nan
    with pytest.raises(MapError, match="have no data"):
        change_resolution(StokesMap(*stokes, coord="G"), 1, Beam.unit(8), cosine_beam(1))
