"""Priors and starting points that a fit takes over from its model: a primordial one, or evaporating holes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmbfit.errors import ConfigError
from cmbfit.theory.hawking.response import FRACTION, response_of
from cmbfit.theory.primordial import get_model

_SCALES = 20.0  # prior widths in the starting scale of a parameter


def sampled_parameters(fit: Mapping[str, Any], base: tuple[str, ...]) -> tuple[str, ...]:
    """Return the parameters of a fit's theory.

    `base`, or with its primordial model's in place of ln A_s and n_s and those of its tensors, or with the
    fraction of holes.
    """
    if "evaporation" in fit.get("theory", {}):
        return (*base, FRACTION)
    name = fit.get("theory", {}).get("primordial")
    if name is None:
        return base
    own = get_model(name).parameter_names
    waves = get_model(fit["theory"]["tensors"]).parameter_names if "tensors" in fit["theory"] else ()
    return (*(p for p in base if p not in ("logA", "ns")), *own, *(p for p in waves if p not in own))


def complete_fit(fit: Mapping[str, Any]) -> dict[str, Any]:
    """Return a fit with its model's own priors and starts filled in where it gives none.

    A primordial parameter's start is the registry's default, kept off the prior's edges, and its scale a
    twentieth of the prior; a fraction of evaporating holes is flat up to the largest that was computed.

    Raises
    ------
    ConfigError
        If the model has no parameter n_s and the fit has a prior for it.
    ParameterError
        If there is no such model, or no response to holes of the mass.

    Examples
    --------
    >>> fit = complete_fit({"theory": {"primordial": "cutoff_kinetic"}, "priors": {}, "start": {}})
    >>> fit["priors"]["ln_kc"], fit["start"]["ln_kc"]
    ({'uniform': [-12.0, -3.0]}, [-7.6, 0.45])
    """
    theory = fit.get("theory", {})
    if "evaporation" in theory:
        top = response_of(theory["evaporation"]).box[FRACTION][1]
        prior, beginning = {"uniform": [0.0, top]}, [0.1 * top, top / _SCALES]
        return {
            **fit,
            "priors": {**fit["priors"], FRACTION: fit["priors"].get(FRACTION, prior)},
            "start": {**fit["start"], FRACTION: fit["start"].get(FRACTION, beginning)},
        }
    name = theory.get("primordial")
    if name is None:
        return dict(fit)
    model = get_model(name)
    priors, start = dict(fit["priors"]), dict(fit["start"])
    if "ns" not in model.parameter_names and ("ns" in priors or "ns" in start):
        raise ConfigError(
            f"theory: {{primordial: {name}}}: this model predicts n_s: remove the prior and the start of ns"
        )
    waves = get_model(theory["tensors"]).parameters if "tensors" in theory else ()
    for parameter in (*model.parameters, *waves):
        if parameter.name not in priors:
            priors[parameter.name] = parameter.prior.describe()
        if parameter.name not in start:
            low, high = parameter.prior.low, parameter.prior.high
            scale = (high - low) / _SCALES
            # a default may be an edge, such as no amplitude at all; walkers start inside
            start[parameter.name] = [min(max(parameter.default, low + scale), high - scale), scale]
    return {**fit, "priors": priors, "start": start}
