"""Excited initial states: a Bogoliubov rotation of the Bunch-Davies vacuum.

v = alpha u + beta u*, |alpha|^2 - |beta|^2 = 1 and N = |beta|^2 quanta per mode:
P/P0 = |alpha - beta|^2 = 1 + 2N + 2 sqrt(N(N+1)) cos(angle), with N_k = N0 exp(-k^2/k_M^2).

Back-reaction (Holman & Tolley 2008): the energy of the quanta when the state is set, at the time when
k_i = aH, is rho = N0 k_M^4 / (4 pi^2 a^4) = N0 (k_M/k_i)^4 H^4 / 4 pi^2. Inflation stays undisturbed for
rho << epsilon H^2 M_p^2. With H^2 = pi^2 A_s r M_p^2 / 2 and epsilon = r/16 the ratio is

    rho / (epsilon H^2 M_p^2) = 2 A_s N0 (k_M/k_i)^4,

whatever r. The state must be set before the largest observable scale leaves the horizon:
k_i = 2e-4 / Mpc is the latest, most permissive choice.
"""

from __future__ import annotations

import math

import torch

from cmbfit.theory.primordial.model import (
    LOG_A,
    NS,
    Flat,
    Parameter,
    PrimordialModel,
    Values,
    amplitude,
    feature,
)

K_INITIAL = 2e-4
"""Comoving Hubble scale [1/Mpc] at which the state is set: about today's horizon."""


def rotated_power(root: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Return |alpha - beta|^2 for root = sqrt(N) = |beta| and angle = arg(-alpha beta*).

    In terms of the root, whose derivative stays finite where N vanishes.
    """
    return 1 + 2 * root.square() + 2 * root * torch.sqrt(root.square() + 1) * torch.cos(angle)


def root_quanta(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return sqrt(N_k), N_k = N0 exp(-k^2/k_M^2)."""
    return 10 ** (values["log10_quanta"] / 2) * torch.exp(-(k.square()) / 2 * torch.exp(-2 * values["ln_km"]))


def back_reaction(values: Values) -> torch.Tensor:  # shape: (batch, 1)
    """Return the energy of the quanta over epsilon H^2 M_p^2; the model needs it well below 1."""
    return (
        2 * amplitude(values) * 10 ** values["log10_quanta"] * (torch.exp(values["ln_km"]) / K_INITIAL) ** 4
    )


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return P/P0."""
    return rotated_power(root_quanta(k, values), values["angle"])


def _bound(k: torch.Tensor, values: Values) -> torch.Tensor:  # noqa: ARG001
    return back_reaction(values) < 1


MODEL = PrimordialModel(
    name="excited_state",
    title="excited initial state",
    formula="P = P0 [1 + 2N + 2 sqrt(N(N+1)) cos(angle)], N = N0 exp(-k^2/k_M^2)",
    parameters=(
        LOG_A,
        NS,
        Parameter("log10_quanta", -3.0, Flat(-6.0, 0.0), "", "log10 of N0"),
        Parameter("ln_km", -4.0, Flat(-8.0, 0.0), "ln(1/Mpc)", "ln of the cut-off k_M of the excitation"),
        Parameter("angle", 0.0, Flat(0.0, 2 * math.pi), "rad", "relative phase of alpha and beta"),
    ),
    citations=("Holman & Tolley (2008), JCAP 05, 001; arXiv:0710.1302",),
    function=feature(modulation),
    null={"log10_quanta": "low"},
    bound=_bound,
    note="the energy of the quanta must stay below epsilon H^2 M_p^2: 2 A_s N0 (k_M/k_i)^4 < 1",
    resolution=(20.0, 10.0),
)
