"""Modes created at a fixed physical scale Lambda: alpha-vacua (Danielsson 2002).

With H = pi M_p sqrt(A_s r / 2), xi = H/Lambda and H ~ k^-epsilon, epsilon = r/16, the spectrum is a
logarithmic oscillation of amplitude xi and frequency 2 epsilon/xi. For Lambda near the Planck mass
xi ~ 1e-5: unobservable; for Lambda near H the frequency is so low that the modulation is degenerate
with A_s and n_s. A fit bounds Lambda only in between. Every bound on Lambda is one on H/Lambda, so the prior of r ends where data
exclude a larger H (4.7e13 GeV at r = 0.036), and gravitational waves in the same fit share r.
"""

from __future__ import annotations

import math

import torch

from cmbfit.theory.primordial.model import (
    LOG_A,
    NS,
    PIVOT,
    R_BOUND,
    RATIO,
    Flat,
    Parameter,
    PrimordialModel,
    Values,
    amplitude,
    feature,
)

REDUCED_PLANCK_MASS = 2.435323e18
"""M_p = sqrt(hbar c / 8 pi G) in GeV."""


def hubble_scale(scalar_amplitude: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Return H [GeV] when k* left the horizon: P_T = 2 H^2 / (pi M_p)^2 = r A_s."""
    return math.pi * REDUCED_PLANCK_MASS * torch.sqrt(scalar_amplitude * ratio / 2)


def scale_ratio(values: Values) -> torch.Tensor:  # shape: (batch, 1)
    """Return xi = H/Lambda at k*."""
    return hubble_scale(amplitude(values), values["r"]) / 10 ** values["log10_lambda"]


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return 1 - xi sin(2/xi_k), xi_k = xi (k/k*)^-epsilon."""
    xi, epsilon = scale_ratio(values), values["r"] / 16
    return 1 - xi * torch.sin(2 / xi * torch.exp(epsilon * torch.log(k / PIVOT)))


def _bound(k: torch.Tensor, values: Values) -> torch.Tensor:  # noqa: ARG001
    """Ask for modes created inside the horizon: the spectrum is an expansion in xi."""
    return scale_ratio(values) < 1


MODEL = PrimordialModel(
    name="alpha_vacuum",
    title="trans-Planckian alpha-vacuum",
    formula="P = P0 [1 - xi sin(2/xi_k)], xi = H/Lambda, xi_k = xi (k/k*)^(-r/16)",
    parameters=(
        LOG_A,
        NS,
        Parameter(RATIO.name, RATIO.default, Flat(1e-4, R_BOUND), RATIO.unit, RATIO.meaning),
        Parameter("log10_lambda", 15.0, Flat(13.0, 18.5), "log10(GeV)", "scale at which modes are created"),
    ),
    citations=("Danielsson (2002), PRD 66, 023511; hep-th/0203198",),
    function=feature(modulation),
    null={"log10_lambda": "high"},
    bound=_bound,
    note="Lambda near the Planck mass gives xi ~ 1e-5, which no CMB experiment can see",
    resolution=(130.0, 5.0),
)
