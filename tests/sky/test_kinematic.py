from __future__ import annotations

import healpy
import numpy as np
import pytest
from astropy import constants
from astropy.coordinates import SkyCoord
from astropy.modeling.physical_models import BlackBody
from astropy.units import GHz, K, deg

from cmbfit.errors import MapError
from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.kinematic import (
    SolarMotion,
    kinematic_dipole,
    kinematic_quadrupole,
    quadrupole_factor,
    remove_kinematic,
)
from cmbfit.sky.preprocess import fit_monopole_dipole
from cmbfit.units import T_CMB

NSIDE = 16
NPIX = 12 * NSIDE**2


def doppler_temperature(coord: str = "G") -> np.ndarray:
    motion = SolarMotion()
    mu = np.stack(healpy.pix2vec(NSIDE, np.arange(NPIX)), axis=1) @ motion.direction(coord)
    return T_CMB * np.sqrt(1 - motion.beta**2) / (1 - motion.beta * mu)


@pytest.mark.parametrize("ghz", [30.0, 143.0, 353.0])
def test_against_astropy_black_body(ghz: float) -> None:
    """The exact Doppler-shifted brightness, converted linearly, is dipole + quadrupole + a constant."""
    body = [BlackBody(t * K)(ghz * GHz).value for t in (T_CMB - 1e-4, T_CMB, T_CMB + 1e-4)]
    seen = BlackBody(doppler_temperature() * K)(ghz * GHz).value
    linear = (seen - body[1]) / (body[2] - body[0]) * 2e-4 * 1e6  # uK
    left = linear - kinematic_dipole(NSIDE, "G") - kinematic_quadrupole(NSIDE, "G", ghz)
    # what remains beside the mean is of third order, T beta^3 ~ 0.005 uK times x^2; the quadrupole is 1.4-9 uK
    assert left.std() < 0.02
    thermodynamic = 1e6 * (doppler_temperature() - T_CMB)
    left = thermodynamic - kinematic_dipole(NSIDE, "G") - kinematic_quadrupole(NSIDE, "G")
    assert left.std() < 0.01


def test_factors_and_velocity() -> None:
    assert quadrupole_factor(1.0) == pytest.approx(1, abs=1e-4)
    # a pure quadrupole has no mean; T beta^2 is 4.2 uK, pixel sums at nside 16 are good to 1e-3
    assert abs(kinematic_quadrupole(NSIDE, "G", 143.0).mean()) < 5e-3
    motion = SolarMotion()
    assert motion.velocity_km_s == pytest.approx(3366.6e-6 / T_CMB * constants.c.to("km/s").value, rel=1e-12)
    assert motion.velocity_km_s == pytest.approx(370, abs=1)  # Planck 2018: 369.82 +- 0.11 with 3362.08 uK


@pytest.mark.parametrize("coord", ["G", "C"])
def test_dipole_is_fitted_where_it_points(coord: str) -> None:
    sky = kinematic_dipole(NSIDE, coord)
    c, _ = fit_monopole_dipole(sky, Mask(np.ones(NPIX), coord=coord))
    lon, lat = healpy.vec2ang(c[1:], lonlat=True)
    there = SkyCoord(l=263.986 * deg, b=48.247 * deg, frame="galactic")
    wanted = (there.l.deg, there.b.deg) if coord == "G" else (there.icrs.ra.deg, there.icrs.dec.deg)
    np.testing.assert_allclose(
        [lon[0], lat[0]], wanted, atol=1e-4
    )  # HEALPix and astropy differ by 0.1 arcsec
    assert np.linalg.norm(c[1:]) == pytest.approx(3366.6, rel=1e-12)


def test_step() -> None:
    rng = np.random.default_rng(0)
    cmb = rng.standard_normal((3, NPIX))
    moving = cmb.copy()
    moving[0] += kinematic_dipole(NSIDE, "G") + kinematic_quadrupole(NSIDE, "G", 143.0)
    out = remove_kinematic(StokesMap(*moving, coord="G"), quadrupole=True, frequency_ghz=143.0)
    np.testing.assert_allclose(out.iqu, cmb, atol=1e-11)
    assert out.history[-1]["quadrupole_factor"] == quadrupole_factor(143.0)
    only = remove_kinematic(StokesMap(*moving, coord="G"))
    assert only.history[-1]["quadrupole_factor"] == 0
    assert np.std(only.i - cmb[0]) == pytest.approx(
        4.158 * 1.48 * np.sqrt(4 / 45), rel=0.01
    )  # std of mu^2 is sqrt(4/45)
    with pytest.raises(MapError, match="neither"):
        remove_kinematic(only, dipole=False)
    with pytest.raises(MapError, match="solar motion"):
        SolarMotion(amplitude_uk=-1)
    with pytest.raises(MapError, match="frequency -5"):
        quadrupole_factor(-5)
