"""Oscillations in ln k, with a running frequency (Planck 2018 X, section 7)."""

from __future__ import annotations

import math

import torch

from cmbfit.theory.primordial.model import LOG_A, NS, PIVOT, Flat, Parameter, PrimordialModel, Values, feature

AMPLITUDE = Parameter("amplitude", 0.03, Flat(0.0, 0.5), "", "A; the power is positive for A < 1")
LOG_FREQUENCY = Parameter("log10_omega", 1.0, Flat(0.0, 2.1), "", "log10 of the frequency")
PHASE = Parameter("phase", 0.0, Flat(0.0, 2 * math.pi), "rad", "phase at k* (log) or k = 0 (linear)")


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return 1 + A cos(omega L (1 + a L) + phase), L = ln(k/k*)."""
    log_k = torch.log(k / PIVOT)
    angle = 10 ** values["log10_omega"] * log_k
    if "drift" in values:
        angle = angle * (1 + values["drift"] * log_k)
    return 1 + values["amplitude"] * torch.cos(angle + values["phase"])


_CITATIONS = (
    "Planck Collaboration X (2020), A&A 641, A10; arXiv:1807.06211",
    "Martin & Brandenberger (2001), PRD 63, 123501; hep-th/0005209",
)
MODEL = PrimordialModel(
    name="oscillation_log",
    title="logarithmic oscillations",
    formula="P = P0 [1 + A cos(omega L + phase)], L = ln(k/k*)",
    parameters=(LOG_A, NS, AMPLITUDE, LOG_FREQUENCY, PHASE),
    citations=_CITATIONS,
    function=feature(modulation),
    null={"amplitude": 0.0},
    resolution=(130.0, 5.0),
)
RUNNING = PrimordialModel(
    name="oscillation_running",
    title="running oscillations",
    formula="P = P0 [1 + A cos(omega L (1 + drift L) + phase)], L = ln(k/k*)",
    parameters=(
        LOG_A,
        NS,
        AMPLITUDE,
        LOG_FREQUENCY,
        PHASE,
        Parameter("drift", 0.0, Flat(-0.1, 0.1), "", "running of the frequency"),
    ),
    citations=_CITATIONS,
    function=feature(modulation),
    null={"amplitude": 0.0},
    resolution=(130.0, 5.0),
)
