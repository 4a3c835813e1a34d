"""Spectra of one potential for all N*: power depends on k only through the e-folds before the end at which the mode leaves the horizon.

One run of the mode solver serves them all, as splines; no slow-roll formula is used.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.theory.primordial.background import solve_background
from cmbfit.theory.primordial.model import LOG_A, PIVOT, Flat, Parameter, Values, amplitude
from cmbfit.theory.primordial.modes import evolve_modes
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.primordial.spline import Spline

EFOLDS = (45.0, 65.0)
"""Prior range of N*."""

_DEEPEST, _FINEST = 12.0, 7.0
"""How far, in ln k, the table goes below and above the pivots of the range of N*."""

PARAMETERS = (
    LOG_A,
    Parameter("n_star", 55.0, Flat(*EFOLDS), "", "e-folds from the exit of k* to the end of inflation"),
)


@dataclass(frozen=True)
class Tables:
    """Splines over ln(k / (aH)_end) of ln P at V0 = 1, and over N* of ln(k*/(aH)_end)."""

    scalar: Spline
    tensor: Spline
    pivot: Spline


@functools.cache
def tables(formula: str, phi_range: tuple[float, float]) -> Tables:
    """Evolve the modes of a potential, whose overall factor is V0, once."""
    potential = Potential(formula, {"V0": 1.0}, phi_range)
    background = solve_background(potential, potential.slow_roll_start(EFOLDS[1] + _DEEPEST + 10.0))
    end = background.slow_roll_end[0].item()
    efolds = np.linspace(EFOLDS[0] - 1, EFOLDS[1] + 1, 80)
    pivot = background.at(background.n_end[:, None] - torch.from_numpy(efolds)[None])[2][0].numpy() - end
    log_k = np.arange(pivot.min() - _DEEPEST, pivot.max() + _FINEST, 0.5)
    run = evolve_modes(background, torch.from_numpy(log_k + end)[None])
    return Tables(
        scalar=Spline(log_k, run.scalar[0].log().numpy()),
        tensor=Spline(log_k, run.tensor[0].log().numpy()),
        pivot=Spline(efolds, pivot),
    )


def power(
    k: torch.Tensor,
    values: Values,
    *,
    formula: str,
    phi_range: tuple[float, float],
    tensor: bool,
) -> torch.Tensor:  # shape: (batch, n_k)
    """Return P_R, or P_T over the P_R of the pivot that A_s is."""
    found = tables(formula, phi_range)
    pivot = found.pivot(values["n_star"])
    table = found.tensor if tensor else found.scalar
    shape = table(pivot + torch.log(k / PIVOT)) - found.scalar(pivot)
    return amplitude(values) * torch.exp(shape)
