from __future__ import annotations

import json

import healpy
import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.calibrate import calibrate
from cmbfit.sky.harmonic import stokes2alm
from cmbfit.sky.quality import combine_masks, data_mask, fill_missing

NPIX = 12 * 16**2


def smooth_sky() -> np.ndarray:
    return np.stack([1.0 + 0.1 * np.array(healpy.pix2vec(16, np.arange(NPIX)))[k] for k in range(3)])


def test_each_kind_of_bad_pixel_is_cut() -> None:
    iqu = smooth_sky()
    iqu[1, 3] = np.nan
    hits, variance = np.full(NPIX, 5.0), np.full(NPIX, 100.0)
    hits[[4, 5]] = 0, np.nan
    variance[[6, 7, 8]] = -1, 2e6, np.nan
    mask = data_mask(
        StokesMap(*iqu, coord="G", name="hm1"),
        hits,
        variances=[np.ones(NPIX), variance],
        max_variance_uk2=1e6,
    )
    assert np.flatnonzero(mask.weights == 0).tolist() == [3, 4, 5, 6, 7, 8]
    record = mask.history[0]
    assert (record["missing"], record["few_hits"], record["bad_variance_0"], record["bad_variance_1"]) == (
        1,
        2,
        0,
        3,
    )
    assert data_mask(StokesMap(*iqu, coord="G"), variances=[variance]).weights[7] == 1  # no limit given
    json.dumps(data_mask(StokesMap(*iqu, coord="G"), variances=[variance]).history, allow_nan=False)
    with pytest.raises(MapError, match="hits of shape"):
        data_mask(StokesMap(*iqu, coord="G"), np.ones(3))


def test_union_of_holes() -> None:
    a, b = np.ones(NPIX), np.ones(NPIX)
    a[:10], b[5:20] = 0, 0.5
    both = combine_masks([Mask(a, coord="G", name="a"), Mask(b, coord="G", name="b")])
    np.testing.assert_array_equal(both.weights[:21], [0] * 10 + [0.5] * 10 + [1])
    assert both.name == "a+b"
    with pytest.raises(MapError, match="none"):
        combine_masks([])
    with pytest.raises(MapError, match="nside 16, C"):
        combine_masks([Mask(a, coord="G"), Mask(b, coord="C")])
    with pytest.raises(MapError, match="no sky"):
        combine_masks([Mask(a, coord="G"), Mask(1 - a, coord="G")])


def test_isolated_pixels_are_filled() -> None:
    truth = smooth_sky()
    iqu = truth.copy()
    iqu[:, [500, 501, 1500]] = np.nan
    filled = fill_missing(StokesMap(*iqu, coord="G"))
    # the field is linear in the vector: a neighbour mean is off by curvature only, pixel^2 ~ 0.004
    np.testing.assert_allclose(filled.iqu, truth, atol=2e-3)
    np.testing.assert_array_equal(np.delete(filled.i, [500, 501, 1500]), np.delete(iqu[0], [500, 501, 1500]))
    assert filled.history[-1]["pixels"] == 3
    iqu[:, :100] = np.nan
    with pytest.raises(MapError, match="inventing"):
        fill_missing(StokesMap(*iqu, coord="G"))
    with pytest.raises(MapError, match="deeper than 1"):
        fill_missing(StokesMap(*iqu, coord="G"), max_fraction=0.5, max_rounds=1)


def test_calibration_and_efficiency() -> None:
    sky = StokesMap(*smooth_sky(), coord="G", name="143")
    out = calibrate(sky, gain=1.02, efficiency=0.98)
    np.testing.assert_allclose(out.i, 1.02 * sky.i)
    np.testing.assert_allclose(out.u, 1.02 / 0.98 * sky.u, rtol=1e-14)
    assert out.history[-1] == {"step": "calibrate", "gain": 1.02, "efficiency": 0.98, "angle_deg": 0.0}
    for bad in ({"gain": 0.0}, {"efficiency": np.nan}, {"angle_deg": np.inf}):
        with pytest.raises(MapError, match="map '143'"):
            calibrate(sky, **bad)


def test_angle_turns_e_into_b() -> None:
    """E' = E cos 2psi - B sin 2psi is what a mis-set angle does; calibrating undoes it."""
    alm = np.zeros((3, healpy.Alm.getsize(32)), dtype=complex)
    alm[1, healpy.Alm.getidx(32, 5, 2)] = 1.0 + 0.5j
    sky = StokesMap(*healpy.alm2map(alm, 16), coord="G")
    wrong = calibrate(sky, angle_deg=-10.0)  # puts +10 deg in
    e, b = stokes2alm(wrong.iqu, 32)[1:, healpy.Alm.getidx(32, 5, 2)]
    np.testing.assert_allclose(
        e, (1 + 0.5j) * np.cos(np.radians(20)), rtol=1e-5
    )  # quadrature error after 3 iterations
    np.testing.assert_allclose(b, (1 + 0.5j) * np.sin(np.radians(20)), rtol=1e-5)
    np.testing.assert_allclose(calibrate(wrong, angle_deg=10.0).iqu, sky.iqu, atol=1e-14)
