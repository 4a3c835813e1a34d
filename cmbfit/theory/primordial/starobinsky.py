"""Starobinsky's R^2 inflation, whose potential is also that of Higgs inflation (non-minimal coupling).

V = V0 (1 - exp(-sqrt(2/3) phi))^2. Power depends on k only through the e-folds before the end at which
the mode leaves the horizon, so one run of the mode solver serves all N*: no slow-roll formula is used.
First order would be n_s = 1 - 2/N*, r = 12/N*^2.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.theory.primordial.background import solve_background
from cmbfit.theory.primordial.model import LOG_A, PIVOT, Flat, Parameter, PrimordialModel, Values, amplitude
from cmbfit.theory.primordial.modes import evolve_modes
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.primordial.spline import Spline

FORMULA = "V0 * (1 - exp(-sqrt(2/3) * phi))**2"
PHI_RANGE = (0.05, 9.0)
_EFOLDS = (45.0, 65.0)
_DEEPEST, _FINEST = 12.0, 7.0
"""How far, in ln k, the table goes below and above the pivots of the range of N*."""


@dataclass(frozen=True)
class _Tables:
    """Splines over ln(k / (aH)_end) and, for the pivot, over N*."""

    scalar: Spline
    tensor: Spline
    pivot: Spline


@functools.cache
def _tables() -> _Tables:
    potential = Potential(FORMULA, {"V0": 1.0}, PHI_RANGE)
    background = solve_background(potential, potential.slow_roll_start(_EFOLDS[1] + _DEEPEST + 10.0))
    end = background.slow_roll_end[0].item()
    efolds = np.linspace(_EFOLDS[0] - 1, _EFOLDS[1] + 1, 80)
    pivot = background.at(background.n_end[:, None] - torch.from_numpy(efolds)[None])[2][0].numpy() - end
    log_k = np.arange(pivot.min() - _DEEPEST, pivot.max() + _FINEST, 0.5)
    run = evolve_modes(background, torch.from_numpy(log_k + end)[None])
    return _Tables(
        scalar=Spline(log_k, run.scalar[0].log().numpy()),
        tensor=Spline(log_k, run.tensor[0].log().numpy()),
        pivot=Spline(efolds, pivot),
    )


def _power(k: torch.Tensor, values: Values, *, tensor: bool) -> torch.Tensor:
    tables = _tables()
    pivot = tables.pivot(values["n_star"])
    table = tables.tensor if tensor else tables.scalar
    shape = table(pivot + torch.log(k / PIVOT)) - tables.scalar(pivot)
    return amplitude(values) * torch.exp(shape)


_PARAMETERS = (
    LOG_A,
    Parameter("n_star", 55.0, Flat(*_EFOLDS), "", "e-folds from the exit of k* to the end of inflation"),
)
_CITATIONS = (
    "Starobinsky (1980), Phys. Lett. B 91, 99",
    "Bezrukov & Shaposhnikov (2008), Phys. Lett. B 659, 703; arXiv:0710.3755",
)
MODEL = PrimordialModel(
    name="starobinsky",
    title="Starobinsky / Higgs inflation",
    formula="modes of V = V0 (1 - exp(-sqrt(2/3) phi))^2, k* leaving the horizon N* e-folds before the end",
    parameters=_PARAMETERS,
    citations=_CITATIONS,
    function=functools.partial(_power, tensor=False),
    resolution=(20.0, 5.0),
)
TENSOR = PrimordialModel(
    name="tensor_starobinsky",
    title="tensors, Starobinsky / Higgs inflation",
    formula="tensor modes of the same potential; r is predicted",
    parameters=_PARAMETERS,
    citations=_CITATIONS,
    function=functools.partial(_power, tensor=True),
    kind="tensor",
)
