"""The mean spectrum of the sky: Planck's law, spectral distortions, and the fit of COBE/FIRAS."""

from cmbfit.theory.blackbody.distortions import (
    mu_shape,
    mu_shape_fixed_temperature,
    temperature_shape,
    y_shape,
)
from cmbfit.theory.blackbody.firas import FirasData, FirasFit, fit_firas, load_firas
from cmbfit.theory.blackbody.law import planck, wavenumber_to_hz

__all__ = [
    "FirasData",
    "FirasFit",
    "fit_firas",
    "load_firas",
    "mu_shape",
    "mu_shape_fixed_temperature",
    "planck",
    "temperature_shape",
    "wavenumber_to_hz",
    "y_shape",
]
