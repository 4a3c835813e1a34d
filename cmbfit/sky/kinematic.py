"""The dipole and quadrupole that the Sun's motion puts on the CMB.

T(n) = T_0 / (gamma (1 - beta mu)), mu = n . v / v. To second order in beta the thermodynamic
temperature is T_0 (beta mu + beta^2 (mu^2 - 1/2)). A map that converts brightness to K_CMB *linearly*,
dT = dI / (dB/dT), sees instead T_0 (beta mu + beta^2 (q mu^2 - 1/2)) with q = (x/2) coth(x/2),
x = h nu / (k T_0) (Kamionkowski & Knox 2003, astro-ph/0210165; Planck 2013 XXVII, arXiv:1303.5087).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.maps import COORDINATES, Array, StokesMap, projected
from cmbfit.sky.rotate import rotation_matrix
from cmbfit.sky.units import scaled_frequency
from cmbfit.units import SPEED_OF_LIGHT, T_CMB

_C_KM_S = SPEED_OF_LIGHT / 1000


@dataclass(frozen=True)
class SolarMotion:
    """The Sun's velocity against the CMB; the default is NPIPE's dipole (Planck 2020 LVII, arXiv:2007.04997).

    Attributes
    ----------
    amplitude_uk : float
        T_0 beta in uK.
    lon_deg, lat_deg : float
        Direction of motion, Galactic.
    """

    amplitude_uk: float = 3366.6
    lon_deg: float = 263.986
    lat_deg: float = 48.247

    def __post_init__(self) -> None:
        if not (0 < self.amplitude_uk < 1e5 and -90 <= self.lat_deg <= 90 and np.isfinite(self.lon_deg)):
            raise MapError(f"solar motion {self}: expected uK above 0 and degrees")

    @property
    def beta(self) -> float:
        """Speed over the speed of light."""
        return self.amplitude_uk * 1e-6 / T_CMB

    @property
    def velocity_km_s(self) -> float:
        """Speed in km/s."""
        return self.beta * _C_KM_S

    def direction(self, coord: str) -> Array:
        """Return the unit vector of motion in coordinates "G", "C" or "E", shape (3,)."""
        lon, lat = np.radians([self.lon_deg, self.lat_deg])
        v = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        return rotation_matrix("G", coord) @ v


def quadrupole_factor(frequency_ghz: float) -> float:
    """Return q = (x/2) coth(x/2): 1 at low frequency, 1.25, 1.48, 2.00 and 3.12 at 100, 143, 217, 353 GHz."""
    half = scaled_frequency(frequency_ghz) / 2
    return float(half / np.tanh(half))


def kinematic_dipole(nside: int, coord: str, motion: SolarMotion | None = None) -> Array:
    """Return T_0 beta mu in uK on the pixel centres, shape (12 nside^2,)."""
    motion = motion or SolarMotion()
    return motion.amplitude_uk * projected(nside, motion.direction(coord))


def kinematic_quadrupole(
    nside: int, coord: str, frequency_ghz: float | None = None, motion: SolarMotion | None = None
) -> Array:
    """Return q T_0 beta^2 (mu^2 - 1/3) in uK, shape (12 nside^2,): the l = 2 part alone.

    Parameters
    ----------
    frequency_ghz : float, optional
        For linearly converted maps (Planck, WMAP); None: q = 1, the thermodynamic quadrupole.
    """
    motion = motion or SolarMotion()
    mu = projected(nside, motion.direction(coord))
    q = 1.0 if frequency_ghz is None else quadrupole_factor(frequency_ghz)
    return q * motion.amplitude_uk * motion.beta * (mu**2 - 1 / 3)


def remove_kinematic(
    stokes: StokesMap,
    *,
    dipole: bool = True,
    quadrupole: bool = False,
    frequency_ghz: float | None = None,
    motion: SolarMotion | None = None,
) -> StokesMap:
    """Subtract the kinematic dipole and, when asked, the quadrupole from I.

    The quadrupole of a linearly converted map depends on `frequency_ghz`; without a frequency the
    thermodynamic one (q = 1) is subtracted, and the record says so.
    """
    if not (dipole or quadrupole):
        raise MapError("remove kinematic: neither dipole nor quadrupole asked for")
    motion = motion or SolarMotion()
    total = np.zeros(stokes.i.size)
    if dipole:
        total += kinematic_dipole(stokes.nside, stokes.coord, motion)
    if quadrupole:
        total += kinematic_quadrupole(stokes.nside, stokes.coord, frequency_ghz, motion)
    record = {
        "step": "remove kinematic terms",
        "dipole_uk": motion.amplitude_uk if dipole else 0.0,
        "toward_galactic_deg": [motion.lon_deg, motion.lat_deg],
        "coord": COORDINATES[stokes.coord],
        "quadrupole_factor": (quadrupole_factor(frequency_ghz) if frequency_ghz else 1.0)
        if quadrupole
        else 0.0,
        "frequency_ghz": frequency_ghz,
    }
    return stokes.step(record, i=stokes.i - total)
