"""Primordial power spectra: closed-form models, bounces and numerical inflation, one interface.

>>> from cmbfit.theory.primordial import MODELS
>>> MODELS["cutoff_kinetic"].parameter_names
('logA', 'ns', 'ln_kc')
"""

from cmbfit.theory.primordial.model import PIVOT, Flat, Parameter, PrimordialModel
from cmbfit.theory.primordial.registry import MODELS, get_model

__all__ = ["MODELS", "PIVOT", "Flat", "Parameter", "PrimordialModel", "get_model"]
