from __future__ import annotations

import time

import healpy
import numpy as np
import pytest
from scipy.special import ndtr

from cmbfit.errors import MapError
from cmbfit.sky import Mask, apodise
from cmbfit.sky.cuts import galactic_cut
from cmbfit.sky.maps import unit_vectors
from cmbfit.sky.masks import distance_to_hole, moments
from cmbfit.sky.quality import combine_masks
from cmbfit.sky.rotate import rotate_mask


def random_mask(nside: int, seed: int, n: int = 30) -> Mask:
    rng = np.random.default_rng(seed)
    centres = healpy.ang2vec(rng.uniform(0, 360, n), rng.uniform(-90, 90, n), lonlat=True)
    holes = np.ones(12 * nside**2)
    for centre, radius in zip(centres, np.radians(rng.uniform(0, 4, n)), strict=True):
        holes[healpy.query_disc(nside, centre, radius)] = 0.0
    return combine_masks([galactic_cut(nside, 15.0), Mask(holes, coord="G", name="sources")])


@pytest.mark.parametrize("nside", [8, 16, 32])
def test_distance_against_all_pairs(nside: int) -> None:
    """The rim of the holes is enough, whatever their shape: compare with every pair of pixels."""
    mask = random_mask(nside, nside)
    v = unit_vectors(nside)
    chord2 = np.full(v.shape[0], np.inf)
    for hole in v[~mask.support]:
        chord2 = np.minimum(chord2, ((v - hole) ** 2).sum(axis=1))
    expected = 2 * np.arcsin(np.sqrt(chord2) / 2)
    np.testing.assert_allclose(distance_to_hole(mask), expected, atol=1e-12)
    near = distance_to_hole(mask, 10.0)
    inside = expected <= np.radians(10.0)
    np.testing.assert_allclose(near[inside], expected[inside], atol=1e-12)
    assert np.isinf(near[~inside]).all()


def test_galactic_cut() -> None:
    mask = galactic_cut(64, 30.0)
    # 1 - sin 30 = 1/2; pixels on the edge: 2 rings of 256 among 49152
    assert mask.fsky == pytest.approx(0.5, abs=2 * 256 / 49152)
    theta, _ = healpy.pix2ang(64, np.arange(49152))
    np.testing.assert_array_equal(mask.support, np.abs(90 - np.degrees(theta)) > 30 + 1e-9)
    celestial = galactic_cut(64, 30.0, "C")
    differ = (celestial.weights != rotate_mask(mask, "C").weights).sum()
    assert differ < 4 * 2 * np.pi * np.cos(np.pi / 6) / np.sqrt(4 * np.pi / 49152)  # rims only
    assert galactic_cut(8, 0).fsky > 0.9
    for bad in (-1, 90, np.nan):
        with pytest.raises(MapError, match="galactic cut"):
            galactic_cut(8, bad)


def test_smooth_apodisation_is_an_error_function() -> None:
    """Along an edge that is straight on the scale of the taper, the weight is Phi((d - R/2) / (R/5))."""
    mask = galactic_cut(128, 10.0)
    out = apodise(mask, 10.0, "smooth")
    theta, _ = healpy.pix2ang(128, np.arange(mask.weights.size))
    d = np.abs(90 - np.degrees(theta)) - 10.0
    expected = np.where(d > 0, ndtr((d - 5.0) / 2.0), 0.0)
    # the distance counts from pixel centres (0.46 deg apart): up to 0.25 deg times slope 0.2 per deg
    np.testing.assert_allclose(out.weights, expected, atol=0.06)
    assert (out.weights[~mask.support] == 0).all()
    assert out.weights[d > 13].min() > 0.999
    with pytest.raises(MapError, match="narrower than a pixel"):
        apodise(mask, 1.0, "smooth")
    with pytest.raises(MapError, match="'smooth'"):
        apodise(mask, 1.0, "gaussian")


def test_moments() -> None:
    mask = Mask(np.repeat([0.0, 0.5, 1.0], 16), coord="G")
    found = moments(mask)
    assert found["w1"] == pytest.approx(0.5)
    assert found["w2"] == pytest.approx(1.25 / 3)
    assert found["support"] == pytest.approx(2 / 3)
    assert found["fsky_modes"] == pytest.approx((1.25 / 3) ** 2 / (1.0625 / 3))


def test_apodisation_is_fast() -> None:
    """nside 256 in well under what NaMaster takes (17 s at 512); a slow path would take a minute here."""
    mask = random_mask(256, 1, 100)
    start = time.process_time()
    apodise(mask, 2.0, "C1")
    assert time.process_time() - start < 5
