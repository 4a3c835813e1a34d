"""Hawking radiation of a Schwarzschild black hole: semiclassical, units G = c = hbar = k_B = 1 unless named."""

from cmbfit.theory.hawking.black_hole import horizon_radius_m, temperature_gev, temperature_kelvin
from cmbfit.theory.hawking.lifetime import lifetime_massless, lifetime_standard_model, relevant_mass
from cmbfit.theory.hawking.page import PageCurve, page_curve
from cmbfit.theory.hawking.rates import FIELDS, Emission, emission
from cmbfit.theory.hawking.transmission import greybody

__all__ = [
    "FIELDS",
    "Emission",
    "PageCurve",
    "emission",
    "greybody",
    "horizon_radius_m",
    "lifetime_massless",
    "lifetime_standard_model",
    "page_curve",
    "relevant_mass",
    "temperature_gev",
    "temperature_kelvin",
]
