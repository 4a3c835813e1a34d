from __future__ import annotations

import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.data import fetch
from cmbfit.errors import MapError
from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.beams import Beam, beam_ratio
from cmbfit.sky.harmonic import alm2stokes, scale_alm, stokes2alm
from cmbfit.sky.resolution import change_resolution, cosine_beam, cosine_window, degrade_mask
from tests.sky.test_rotate import random_teb

WINDOW = "pixel_windows/pixel_window_n0032.fits"


def test_gaussian_against_healpy() -> None:
    ours, theirs = Beam.gaussian(300, 90.0), healpy.gauss_beam(np.radians(1.5), 300, pol=True)
    np.testing.assert_allclose(ours.t, theirs[:, 0], rtol=1e-12)
    np.testing.assert_allclose(ours.e[2:], theirs[2:, 1], rtol=1e-12)
    np.testing.assert_array_equal(ours.p, ours.e)


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
