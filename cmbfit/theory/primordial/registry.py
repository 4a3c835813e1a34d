"""All primordial models by name."""

from __future__ import annotations

from cmbfit.errors import ParameterError
from cmbfit.theory.primordial import (
    alpha_vacuum,
    bounce_generic,
    bounce_lqc,
    cutoff_exponential,
    cutoff_kinetic,
    cutoff_radiation,
    excited,
    kink,
    monodromy,
    oscillation_linear,
    oscillation_log,
    powerlaw,
    running,
    starobinsky,
    tensors,
)
from cmbfit.theory.primordial.model import PrimordialModel

_ALL = (
    powerlaw.MODEL,
    running.MODEL,
    cutoff_exponential.MODEL,
    cutoff_kinetic.MODEL,
    cutoff_radiation.MODEL,
    kink.MODEL,
    oscillation_log.MODEL,
    oscillation_log.RUNNING,
    oscillation_linear.MODEL,
    alpha_vacuum.MODEL,
    monodromy.MODEL,
    excited.MODEL,
    bounce_generic.MODEL,
    bounce_lqc.MODEL,
    starobinsky.MODEL,
    tensors.SINGLE_FIELD,
    tensors.STRING_GAS,
    tensors.FREE,
    starobinsky.TENSOR,
)
MODELS: dict[str, PrimordialModel] = {model.name: model for model in _ALL}
"""Name to model."""


def get_model(name: str) -> PrimordialModel:
    """Return a model by name.

    Raises
    ------
    ParameterError
        If there is none; the message lists the names.
    """
    if name not in MODELS:
        raise ParameterError(f"unknown primordial model {name!r}; expected one of {', '.join(MODELS)}")
    return MODELS[name]
