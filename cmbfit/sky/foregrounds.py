"""Simple dust and synchrotron skies: Gaussian fields under a Galactic envelope, with a spectral law.

They are made to test cleaning and covariances, not to look like the Galaxy: one spectral index over
the sky, no filaments, and an intensity that may fluctuate below zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.harmonic import Alm, alm2stokes, alm_size, ell_of, stokes2alm
from cmbfit.sky.maps import Array, projected
from cmbfit.sky.rotate import rotation_matrix
from cmbfit.sky.units import rj_to_cmb, scaled_frequency


def synchrotron_law(frequency_ghz: float, reference_ghz: float, beta: float = -3.1) -> float:
    """Return T_RJ(nu) / T_RJ(nu_0) = (nu / nu_0)^beta."""
    scaled_frequency(min(frequency_ghz, reference_ghz))  # refuses frequencies that are not above 0
    return float((frequency_ghz / reference_ghz) ** beta)


def dust_law(
    frequency_ghz: float, reference_ghz: float, beta: float = 1.54, temperature_k: float = 20.0
) -> float:
    """Return T_RJ(nu) / T_RJ(nu_0) of a modified black body nu^beta B_nu(T_d).

    With B_nu ~ nu^3 / (e^x - 1), x = h nu / (k T_d), and T_RJ ~ I / nu^2:
    (nu / nu_0)^(beta + 1) (e^(x_0) - 1) / (e^x - 1).
    """
    x, x0 = (scaled_frequency(f, temperature_k) for f in (frequency_ghz, reference_ghz))
    return float((frequency_ghz / reference_ghz) ** (beta + 1) * np.expm1(x0) / np.expm1(x))


@dataclass(frozen=True, eq=False)
class Foreground:
    """A foreground with one spectral law.

    Attributes
    ----------
    name : {"dust", "synchrotron"}
        Chooses the law.
    alm : ndarray, shape (3, alm_size(lmax))
        T, E, B in uK_RJ at `reference_ghz`, no beam.
    beta, temperature_k : float
        Of the law; synchrotron ignores the temperature.
    """

    name: str
    alm: Alm
    reference_ghz: float
    beta: float
    temperature_k: float = 20.0

    def __post_init__(self) -> None:
        if self.name not in {"dust", "synchrotron"}:
            raise MapError(f"foreground {self.name!r}: expected 'dust' or 'synchrotron'")

    def factor(self, frequency_ghz: float) -> float:
        """Return uK_CMB at `frequency_ghz` per uK_RJ at the reference frequency."""
        if self.name == "dust":
            law = dust_law(frequency_ghz, self.reference_ghz, self.beta, self.temperature_k)
        else:
            law = synchrotron_law(frequency_ghz, self.reference_ghz, self.beta)
        return law * rj_to_cmb(frequency_ghz)

    def at(self, frequency_ghz: float) -> Alm:
        """Return T, E, B in uK_CMB at a frequency."""
        return self.factor(frequency_ghz) * self.alm


def envelope(nside: int, coord: str = "G", softening: float = 0.1) -> Array:
    """Return a slab seen from inside: 1 / sqrt(sin^2 b + softening^2), 1 at the poles; shape (npix,)."""
    sin_b = projected(nside, rotation_matrix("G", coord)[:, 2])
    return np.sqrt((1 + softening**2) / (sin_b**2 + softening**2))


def galactic_field(
    rng: np.random.Generator,
    nside: int,
    lmax: int,
    *,
    mean_uk: float,
    rms_uk: float,
    rms_p_uk: float,
    tilt: float = -2.4,
    bb_over_ee: float = 0.5,
    coord: str = "G",
) -> Alm:
    """Return T, E, B of envelope x (mean + Gaussian field) with C_l ~ l^tilt, shape (3, alm_size(lmax)).

    Parameters
    ----------
    mean_uk, rms_uk : float
        Of the intensity at the Galactic poles, uK_RJ.
    rms_p_uk : float
        Rms of Q, and of U, at the poles. Planck dust: tilt -2.4, BB/EE 0.5 (arXiv:1801.04945).
    """
    if lmax < 2 or min(mean_uk, rms_uk, rms_p_uk, bb_over_ee) < 0:
        raise MapError("galactic field: expected lmax >= 2 and amplitudes from 0")
    ell = np.arange(lmax + 1)
    shape = np.where(ell >= 2, np.maximum(ell, 1.0) ** tilt, 0.0)
    shape /= np.sum((2 * ell + 1) * shape) / (4 * np.pi)  # unit variance of a scalar
    # Q and U share the power of E and B: <Q^2> = sum (2l+1)(EE + BB) / 8 pi
    ee = rms_p_uk**2 * 2 / (1 + bb_over_ee)
    amplitude = np.sqrt([rms_uk**2, ee, ee * bb_over_ee])
    alm = white_alm(rng, lmax) * amplitude[:, None] * np.sqrt(shape)[ell_of(lmax)]
    iqu = alm2stokes(alm, nside)
    iqu[0] += mean_uk
    return stokes2alm(iqu * envelope(nside, coord), lmax)


def white_alm(rng: np.random.Generator, lmax: int, rows: int = 3) -> Alm:
    """Return independent Gaussian coefficients with C_l = 1, shape (rows, alm_size(lmax))."""
    parts = rng.standard_normal((rows, 2, alm_size(lmax)))
    alm = (parts[:, 0] + 1j * parts[:, 1]) / np.sqrt(2)
    alm[:, : lmax + 1] = parts[:, 0, : lmax + 1]  # m = 0 is real
    return alm


def dust_sky(rng: np.random.Generator, nside: int, lmax: int, scale: float = 1.0) -> Foreground:
    """Return dust of high-latitude strength at 353 GHz, uK_RJ: I 12 +- 6, Q and U 1.0 rms at the poles."""
    alm = galactic_field(
        rng, nside, lmax, mean_uk=12 * scale, rms_uk=6 * scale, rms_p_uk=1.0 * scale, tilt=-2.4
    )
    return Foreground("dust", alm, 353.0, 1.54, 20.0)


def synchrotron_sky(rng: np.random.Generator, nside: int, lmax: int, scale: float = 1.0) -> Foreground:
    """Return synchrotron of high-latitude strength at 23 GHz, uK_RJ: I 60 +- 20, Q and U 8 rms at the poles."""
    alm = galactic_field(
        rng,
        nside,
        lmax,
        mean_uk=60 * scale,
        rms_uk=20 * scale,
        rms_p_uk=8.0 * scale,
        tilt=-2.8,
        bb_over_ee=0.3,
    )
    return Foreground("synchrotron", alm, 23.0, -3.1)
