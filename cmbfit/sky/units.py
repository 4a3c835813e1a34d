"""Units of sky maps: what a FITS TUNIT means and how to reach uK_CMB.

A differential thermodynamic temperature (K_CMB) needs no frequency; a Rayleigh-Jeans temperature
(K_RJ) and a surface brightness (MJy/sr) do, and are refused without one.
"""

from __future__ import annotations

import re

import numpy as np

from cmbfit.errors import MapError
from cmbfit.units import BOLTZMANN, PLANCK, SPEED_OF_LIGHT, T_CMB

_PREFIX = {"": 1.0, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "micro": 1e-6, "milli": 1e-3}
_TEMPERATURE = re.compile(
    r"^(?P<prefix>micro|milli|m|u|µ|μ|)(?:k|kelvin)(?:[ _]?,?[ ]?\(?(?P<kind>cmb|thermo|thermodynamic|rj)\)?)?$",
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
    brightness = 2 * BOLTZMANN * (frequency_ghz * 1e9) ** 2 / SPEED_OF_LIGHT**2 * 1e20  # MJy/sr for 1 K_RJ
    return rj_to_cmb(frequency_ghz) / brightness


def factor_to_uk_cmb(unit: str, frequency_ghz: float | None = None) -> float:
    """Return the factor from `unit` to uK_CMB.

    Parameters
    ----------
    unit : str
        A FITS TUNIT: K, mK, uK, with or without `_CMB`, `CMB`, `thermo`; K_RJ; MJy/sr, Jy/sr.
    frequency_ghz : float, optional
        Needed by K_RJ and Jy/sr.

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
        if prefix == "M":  # a megakelvin is a typing error; M and m differ by nine decades
            raise MapError(f"unit {unit!r}: expected K, mK or uK; 'M' is mega")
        scale = round(_PREFIX[prefix.lower()] * 1e6, 9)
        if (match["kind"] or "").lower() != "rj":
            return scale
        return scale * rj_to_cmb(_frequency(unit, frequency_ghz))
    if match := _BRIGHTNESS.match(text):
        mega = {"M": 1.0, "k": 1e-3, "": 1e-6}.get(match["prefix"])
        if mega is not None:
            return mega * 1e6 * mjy_to_k_cmb(_frequency(unit, frequency_ghz))
    raise MapError(
        f"unit {unit!r}: expected K, mK, uK (with _CMB or _RJ), MJy/sr; where that is meant, correct the header"
    )


def _frequency(unit: str, frequency_ghz: float | None) -> float:
    if frequency_ghz is None or not frequency_ghz > 0:
        raise MapError(f"unit {unit!r} needs a frequency in GHz to become uK_CMB, found {frequency_ghz}")
    return frequency_ghz
