"""Units of sky maps: what a FITS TUNIT means and how to reach uK_CMB.

A differential thermodynamic temperature (K_CMB) needs no frequency; a Rayleigh-Jeans temperature
(K_RJ) and a surface brightness (MJy/sr) do, and are refused without one: a number, or a measured bandpass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import MapError
from cmbfit.sky.maps import Array
from cmbfit.units import BOLTZMANN, PLANCK, SPEED_OF_LIGHT, T_CMB

_PREFIX = {"": 1.0, "m": 1e-3, "u": 1e-6, "mu": 1e-6, "µ": 1e-6, "μ": 1e-6, "micro": 1e-6, "milli": 1e-3}
_TEMPERATURE = re.compile(
    r"^(?P<prefix>micro|milli|mu|m|u|µ|μ|)(?:k|kelvin)(?:[ _]?,?[ ]?\(?(?P<kind>cmb|thermo|thermodynamic|rj)\)?)?$",
    re.IGNORECASE,
)
_BRIGHTNESS = re.compile(r"^(?P<prefix>[mk]?)jy[ ]*(?:/[ ]*sr|[ ]sr-1|[ ]sr\^-1)$", re.IGNORECASE)


def scaled_frequency(frequency_ghz: float, temperature_k: float = T_CMB) -> float:
    """Return x = h nu / (k T)."""
    if not frequency_ghz > 0:
        raise MapError(f"frequency {frequency_ghz} GHz: expected a number above 0")
    return PLANCK * frequency_ghz * 1e9 / (BOLTZMANN * temperature_k)


def rj_to_cmb(frequency_ghz: float) -> float:
    """Return the factor K_RJ -> K_CMB at one frequency.

    (e^x - 1)^2 / (x^2 e^x) with x = h nu / (k T_CMB): monochromatic, no bandpass.
    """
    x = scaled_frequency(frequency_ghz)
    return float(np.expm1(x) ** 2 / (x**2 * np.exp(x)))


def mjy_to_k_cmb(frequency_ghz: float) -> float:
    """Return the factor MJy/sr -> K_CMB at one frequency, 1 / (dB_nu/dT at T_CMB)."""
    return rj_to_cmb(frequency_ghz) / _brightness_of_rj(frequency_ghz)


def _brightness_of_rj(frequency_ghz: float) -> float:
    """Return MJy/sr of 1 K_RJ, 2 k nu^2 / c^2."""
    return 2 * BOLTZMANN * (frequency_ghz * 1e9) ** 2 / SPEED_OF_LIGHT**2 * 1e20


@dataclass(frozen=True, eq=False)
class Bandpass:
    """What a detector lets through, in place of a single frequency.

    Parameters
    ----------
    ghz : ndarray, shape (n,)
        Increasing.
    transmission : ndarray, shape (n,)
        Response to the power of a source that fills the beam, in any scale.
    reference_ghz : float, optional
        Frequency nu_c at which MJy/sr of a spectrum nu I_nu = constant are quoted (545 for Planck's 545 GHz maps).
    """

    ghz: Array
    transmission: Array
    reference_ghz: float | None = None

    def __post_init__(self) -> None:
        nu, tau = self.ghz, self.transmission
        good = nu.ndim == 1 and nu.shape == tau.shape and nu.size > 1 and np.isfinite([nu, tau]).all()
        if not (good and nu[0] > 0 and (np.diff(nu) > 0).all() and np.trapezoid(tau, nu) > 0):
            raise MapError("bandpass: expected frequencies above 0 that increase, and a transmission of each")

    def _mean(self, response: Array) -> float:
        return float(np.trapezoid(self.transmission * response, self.ghz))

    def k_cmb(self, unit: str) -> float:
        """Return the factor from "K_RJ" or "MJy/sr" to K_CMB.

        What a source of 1 K_CMB puts through the band is the integral of tau dB_nu/dT; one of 1 K_RJ, of tau 2 k nu^2 / c^2;
        one of 1 MJy/sr at nu_c, of tau nu_c / nu (Planck 2013 IX, arXiv:1303.5070, section 3.2).
        """
        rj = np.array([_brightness_of_rj(x) for x in self.ghz])
        cmb = self._mean(rj / np.array([rj_to_cmb(x) for x in self.ghz]))
        if unit == "K_RJ":
            return self._mean(rj) / cmb
        if self.reference_ghz is None:
            raise MapError("MJy/sr through a bandpass needs the frequency that they are quoted at (FILE@GHZ)")
        return self._mean(self.reference_ghz / self.ghz) / cmb


Frequency = float | Bandpass
"""GHz, or a bandpass."""


def _k_cmb(unit: str, given: str, frequency: Frequency | None) -> float:
    if isinstance(frequency, Bandpass):
        return frequency.k_cmb(unit)
    if frequency is None or not frequency > 0:
        raise MapError(
            f"unit {given!r} needs a frequency in GHz to become uK_CMB, found {frequency} (--frequency; frequency_ghz and "
            "bandpass of a map in a configuration)"
        )
    return rj_to_cmb(frequency) if unit == "K_RJ" else mjy_to_k_cmb(frequency)


def factor_to_uk_cmb(unit: str, frequency: Frequency | None = None) -> float:
    """Return the factor from `unit` to uK_CMB.

    Parameters
    ----------
    unit : str
        A FITS TUNIT: K, mK, uK or muK, with or without `_CMB`, `CMB`, `thermo`; K_RJ; MJy/sr, Jy/sr.
    frequency : float or Bandpass, optional
        GHz. Needed by K_RJ and Jy/sr.

    Raises
    ------
    MapError
        When the unit is not one of these, or needs a frequency that is not given.

    Examples
    --------
    >>> factor_to_uk_cmb("mK")
    1000.0
    """
    text = unit.strip()
    if match := _TEMPERATURE.match(text):
        prefix = match["prefix"]
        if prefix.startswith("M"):  # a megakelvin is a typing error; M and m differ by nine decades
            raise MapError(f"unit {unit!r}: expected K, mK or uK; 'M' is mega")
        scale = round(_PREFIX[prefix.lower()] * 1e6, 9)
        return scale if (match["kind"] or "").lower() != "rj" else scale * _k_cmb("K_RJ", unit, frequency)
    if match := _BRIGHTNESS.match(text):
        mega = {"M": 1.0, "k": 1e-3, "": 1e-6}.get(match["prefix"])
        if mega is not None:
            return mega * 1e6 * _k_cmb("MJy/sr", unit, frequency)
    raise MapError(
        f"unit {unit!r}: expected K, mK, uK (with _CMB or _RJ), MJy/sr; where that is meant, correct the header"
    )
