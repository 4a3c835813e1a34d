"""Oscillations in k: a feature at one time (sharp turn, step; Planck 2018 X, section 7)."""

from __future__ import annotations

import torch

from cmbfit.theory.primordial.model import LOG_A, NS, PIVOT, Flat, Parameter, PrimordialModel, Values, feature
from cmbfit.theory.primordial.oscillation_log import AMPLITUDE, LOG_FREQUENCY, PHASE


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return 1 + A (k/k*)^n cos(omega k/k* + phase)."""
    x = k / PIVOT
    size = values["amplitude"] * torch.exp(values["growth"] * torch.log(x))
    return 1 + size * torch.cos(10 ** values["log10_omega"] * x + values["phase"])


MODEL = PrimordialModel(
    name="oscillation_linear",
    title="linear oscillations",
    formula="P = P0 [1 + A (k/k*)^growth cos(omega k/k* + phase)]",
    parameters=(
        LOG_A,
        NS,
        AMPLITUDE,
        LOG_FREQUENCY,
        PHASE,
        Parameter(
            "growth", 0.0, Flat(-1.0, 1.0), "", "exponent n of the envelope; fix at 0 for the plain model"
        ),
    ),
    citations=("Planck Collaboration X (2020), A&A 641, A10; arXiv:1807.06211",),
    function=feature(modulation),
    null={"amplitude": 0.0},
    resolution=(20.0, 130.0),
)
