from __future__ import annotations

import healpy
import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord

from cmbfit.errors import MapError
from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.harmonic import (
    alm2cl,
    alm2stokes,
    alm_size,
    change_lmax,
    lmax_of,
    map2alm,
    scale_alm,
    stokes2alm,
)
from cmbfit.sky.maps import unit_vectors
from cmbfit.sky.rotate import euler_zyz, rotate, rotate_alm, rotate_mask, rotation_matrix

NSIDE, LMAX = 32, 64


def random_teb(seed: int, lmax: int = LMAX) -> np.ndarray:
    rng = np.random.default_rng(seed)
    teb = rng.standard_normal((3, alm_size(lmax))) + 1j * rng.standard_normal((3, alm_size(lmax)))
    teb[:, : lmax + 1] = teb[:, : lmax + 1].real
    teb[1:, [0, 1, lmax + 1]] = 0
    return teb


def pattern(axis: np.ndarray, nside: int) -> np.ndarray:
    """I = mu^2 and polarisation sin^2(angle) along the great circles to `axis`: pure E, closed form."""
    theta, phi = healpy.pix2ang(nside, np.arange(12 * nside**2))
    south = np.stack([np.cos(theta) * np.cos(phi), np.cos(theta) * np.sin(phi), -np.sin(theta)], axis=1)
    east = np.stack([-np.sin(phi), np.cos(phi), np.zeros_like(phi)], axis=1)
    x, y = south @ axis, east @ axis  # sin(angle) times the direction to the axis; COSMO: x South, y East
    return np.stack([(unit_vectors(nside) @ axis) ** 2, x**2 - y**2, 2 * x * y])


@pytest.mark.parametrize(("source", "target"), [("G", "C"), ("C", "G"), ("G", "E"), ("C", "E")])
def test_closed_form_pattern_follows_its_axis(source: str, target: str) -> None:
    axis = np.array([0.3, -0.5, np.sqrt(1 - 0.34)])
    turned = rotate(StokesMap(*pattern(axis, NSIDE), coord=source), target, lmax=8)
    expected = pattern(rotation_matrix(source, target) @ axis, NSIDE)
    # l <= 2, so only the iterated quadrature error is left; turning positions alone would be off by O(1)
    np.testing.assert_allclose(turned.iqu, expected, atol=1e-7)
    assert turned.coord == target
    assert turned.history[-1] == {"step": "rotate", "from": source, "to": target, "lmax": 8, "n_iter": 3}


def test_pole_is_where_astropy_puts_it() -> None:
    sky = SkyCoord(l=[0, 90, 263.986] * units.deg, b=[0, 30, 48.247] * units.deg, frame="galactic")
    ours = rotation_matrix("G", "C") @ np.array(sky.cartesian.xyz)
    # HEALPix and astropy use different precession constants: some 0.1 arcsec
    np.testing.assert_allclose(ours, np.array(sky.icrs.cartesian.xyz), atol=1e-6)


def test_alm_rotation_against_healpy() -> None:
    teb = random_teb(1)
    rotator = healpy.Rotator(coord=["G", "C"])
    expected = np.stack([rotator.rotate_alm(row, lmax=LMAX) for row in teb])
    np.testing.assert_allclose(rotate_alm(teb, rotation_matrix("G", "C")), expected, atol=1e-11)


def test_map_rotation_against_healpy() -> None:
    iqu = alm2stokes(random_teb(2, 40), NSIDE)
    expected = healpy.Rotator(coord=["G", "C"]).rotate_map_alms(iqu, use_pixel_weights=False, lmax=40)
    ours = rotate(StokesMap(*iqu, coord="G"), "C", lmax=40)
    np.testing.assert_allclose(ours.iqu, expected, atol=1e-9 * np.abs(iqu).max())


def test_real_map_against_healpy(wmap_maps) -> None:
    sky = wmap_maps["W"]
    expected = healpy.Rotator(coord=["G", "E"]).rotate_map_alms(sky.iqu, use_pixel_weights=False, lmax=64)
    turned = rotate(sky, "E", lmax=64)
    np.testing.assert_allclose(turned.iqu, expected, atol=1e-9 * sky.i.std())
    assert [r["step"] for r in turned.history] == ["read", "rotate"]


def test_there_and_back() -> None:
    sky = StokesMap(*alm2stokes(random_teb(3, 48), NSIDE), coord="G")
    back = rotate(rotate(sky, "C", lmax=48), "G", lmax=48)
    rms = sky.iqu.std(axis=1)
    # l <= 1.5 nside, 3 iterations: 1e-6 measured
    assert (np.std(back.iqu - sky.iqu, axis=1) < 1e-5 * rms).all()
    assert rotate(sky, "G") is sky
    assert rotate(sky, "C").history[-1]["lmax"] == 2 * NSIDE


@pytest.mark.parametrize("angles", [(0, 0, 0), (0.3, 0, 0), (0.3, np.pi, 0), (1.0, 2.0, -3.0)])
def test_euler_angles(angles) -> None:
    def rz(a):
        return np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])

    def ry(a):
        return np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])

    wanted = rz(angles[2]) @ ry(angles[1]) @ rz(angles[0])
    psi, theta, phi = euler_zyz(wanted)
    np.testing.assert_allclose(rz(phi) @ ry(theta) @ rz(psi), wanted, atol=1e-12)


def test_mask_keeps_its_shape() -> None:
    axis = np.array([0.6, 0.0, 0.8])
    cap = (unit_vectors(NSIDE) @ axis > np.cos(0.5)).astype(float)
    turned = rotate_mask(Mask(cap, coord="G"), "C")
    expected = unit_vectors(NSIDE) @ rotation_matrix("G", "C") @ axis > np.cos(0.5)
    # only pixels on the rim may differ: 2 pi sin(0.5) / (pixel size 0.032) is about 94 of them
    assert (turned.weights != expected).sum() < 94
    assert set(np.unique(turned.weights)) == {0.0, 1.0}
    assert turned.coord == "C"


def test_transforms_against_healpy() -> None:
    iqu = np.random.default_rng(4).standard_normal((3, 12 * NSIDE**2))
    expected = healpy.map2alm(iqu, lmax=LMAX, iter=3, use_pixel_weights=False)
    teb = stokes2alm(iqu, LMAX)
    np.testing.assert_allclose(teb, expected, atol=1e-12)
    np.testing.assert_allclose(alm2stokes(teb, 16), healpy.alm2map(expected, 16), atol=1e-12)
    np.testing.assert_allclose(alm2cl(teb[0], teb[1]), healpy.alm2cl(teb[0], teb[1]), rtol=1e-9, atol=1e-16)
    window = np.linspace(1, 0, LMAX + 1)
    np.testing.assert_allclose(scale_alm(teb, window)[2], healpy.almxfl(teb[2], window))
    np.testing.assert_allclose(change_lmax(teb, 20)[0], healpy.resize_alm(teb[0], LMAX, LMAX, 20, 20))
    np.testing.assert_array_equal(change_lmax(change_lmax(teb, 80), LMAX), teb)


def test_refusals() -> None:
    values = np.zeros((3, 48))
    with pytest.raises(MapError, match="'X'"):
        rotate(StokesMap(*values, coord="G"), "X")
    with pytest.raises(MapError, match="proper orthogonal"):
        rotate_alm(random_teb(1), -np.eye(3))
    with pytest.raises(MapError, match="no triangle"):
        lmax_of(np.zeros(5, dtype=complex))
    with pytest.raises(MapError, match="expected maps of shape"):
        map2alm(values, 3, 2)
    with pytest.raises(MapError, match="lmax 99"):
        map2alm(values[:1], 99, 0)
    with pytest.raises(MapError, match="window up to l = 3"):
        scale_alm(random_teb(1), np.ones(4))
    values[0, 7] = np.nan
    with pytest.raises(MapError, match="1 have no data"):
        rotate(StokesMap(*values, coord="G"), "C")
    with pytest.raises(MapError, match="1 pixels without data"):
        map2alm(values[:1], 3, 0)
