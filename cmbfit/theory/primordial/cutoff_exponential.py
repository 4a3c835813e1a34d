"""Exponential cut-off (Contaldi et al. 2003)."""

from __future__ import annotations

import torch

from cmbfit.theory.primordial.cutoff import LN_KC, scaled
from cmbfit.theory.primordial.model import LOG_A, NS, Flat, Parameter, PrimordialModel, Values, feature


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return 1 - exp(-(k/k_c)^steepness)."""
    exponent = torch.exp(values["steepness"] * torch.log(scaled(k, values)))
    return -torch.expm1(-exponent)


MODEL = PrimordialModel(
    name="cutoff_exponential",
    title="exponential cut-off",
    formula="P = P0 [1 - exp(-(k/k_c)^steepness)]",
    parameters=(
        LOG_A,
        NS,
        LN_KC,
        Parameter("steepness", 3.35, Flat(0.0, 15.0), "", "exponent of k/k_c (3.35 fits kinetic starts)"),
    ),
    citations=("Contaldi et al. (2003), JCAP 07, 002; astro-ph/0303636",),
    function=feature(modulation),
    null={"ln_kc": "low"},
    resolution=(60.0, 5.0),
)
