"""Spectra of a primordial model at one point, and those of the power law that it departs from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch

from cmbfit.errors import ParameterError, SpectrumError
from cmbfit.theory.base import point_from_values
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.model import PIVOT, PrimordialModel
from cmbfit.theory.primordial_theory import DISTANCE, PrimordialTheory, nearest_power_law, seen
from cmbfit.theory.spectra import Spectra


class Departure(NamedTuple):
    """Spectra of a model, those of its power law, and what they were made with; batches of one."""

    spectra: Spectra
    smooth: Spectra
    settings: dict[str, Any]


def scalar_model(name: str) -> PrimordialModel:
    """Return a model of scalars by name.

    Raises
    ------
    ParameterError
        For an unknown name, or a model of tensors.
    """
    model = get_model(name)
    if model.kind != "scalar":
        raise ParameterError(f"primordial {name}: a spectrum of tensors; for those use CAMB with r=...")
    return model


def with_defaults(model: PrimordialModel, values: Mapping[str, float]) -> dict[str, float]:
    """Return values with the model's defaults for those of its parameters that are not given."""
    own = model.point({p: values[p] for p in model.parameter_names if p in values})
    return {**values, **dict(zip(model.parameter_names, own[0].tolist(), strict=True))}


def departure_by_transfer(theory: PrimordialTheory, values: Mapping[str, float], lmax: int) -> Departure:
    """Return lensed spectra by transfer functions, in a second.

    Parameters
    ----------
    theory : PrimordialTheory
    values : mapping of str to float
        The background's parameters and the model's; what is not given of the model is its default.
    lmax : int
    """
    model = theory.model
    if not 2 <= lmax <= theory.lmax:
        raise SpectrumError(f"lmax: expected 2..{theory.lmax} for {model.name}, found {lmax}")
    named = with_defaults(model, values)
    point = point_from_values(theory, named)
    model.require_valid(theory.k, model.point({p: named[p] for p in model.parameter_names}), theory.seen)
    with torch.no_grad():
        whole, imprint = theory.spectra(point), theory.imprint(point)
    cut = {p: x[:, : lmax + 1] for p, x in whole.dl.items()}
    smooth = {p: x - imprint[p][:, : lmax + 1] for p, x in cut.items()}
    return Departure(Spectra(cut, whole.parameters), Spectra(smooth, whole.parameters), theory.settings)


def departure_by_camb(
    model: PrimordialModel, values: Mapping[str, float], lmax: int, preset: str
) -> Departure:
    """Return lensed spectra by CAMB with P(k) as a table, in half a minute; arguments as above."""
    from cmbfit.theory.camb_code import CambTheory, get_preset  # noqa: PLC0415 (CAMB)
    from cmbfit.theory.primordial_exact import TABLE, camb_with_power  # noqa: PLC0415

    settings = get_preset(preset)
    if lmax > settings.lmax:
        raise SpectrumError(f"lmax: expected 2..{settings.lmax} for {model.name}, found {lmax}")
    named = with_defaults(model, values)
    own = {p: named[p] for p in model.parameter_names}
    background = {p: x for p, x in named.items() if p not in own}
    theta = model.point(own)
    k = torch.from_numpy(np.geomspace(*TABLE))
    model.require_valid(k, theta, seen(k, DISTANCE, lmax))
    power = model.power(k, theta)[0].clamp_min(0.0)
    log_a, tilt = nearest_power_law(model, theta)[0].tolist()
    lcdm = CambTheory(settings)
    start = point_from_values(lcdm, {**background, "logA": log_a, "ns": tilt})
    point = dict(zip(lcdm.parameters, start[0].tolist(), strict=True))
    smooth_power = math.exp(point["logA"]) * 1e-10 * (k.numpy() / PIVOT) ** (tilt - 1)
    both = []
    for table in (torch.where(k < 1, power, torch.from_numpy(smooth_power)).numpy(), smooth_power):
        dl = camb_with_power(settings, point, k.numpy(), table)[0][:, : lmax + 1]
        pairs = zip(("tt", "te", "ee", "bb", "pp"), dl, strict=True)
        parameters = {p: torch.tensor([x], dtype=torch.float64) for p, x in (point | own).items()}
        both.append(Spectra({p: torch.from_numpy(x.copy())[None] for p, x in pairs}, parameters))
    whole, smooth = both
    return Departure(
        whole, smooth, {"code": "camb", **dataclasses.asdict(settings), "primordial": model.name}
    )
