"""Broken power law of a generic bounce before inflation (Agullo, Kranas & Sreenath 2020)."""

from __future__ import annotations

import math

import torch

from cmbfit.theory.primordial.model import LOG_A, NS, Flat, Parameter, PrimordialModel, Values, feature

EXCLUSION = (
    "bounces strong enough to explain the large-angle anomalies are excluded by Planck's bispectrum at 5.4-14 sigma "
    "(van Tent, Delgado & Durrer 2023, arXiv:2212.05977)"
)


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return 1 above k_b, (k/k_b)^q down to k_i = k_b/10, (k/k_i)^2 (k_i/k_b)^q below."""
    x = torch.log(k) - values["ln_kb"]
    inner = x.clamp(min=-math.log(10.0), max=0.0)
    return torch.exp(values["q"] * inner + 2 * (x + math.log(10.0)).clamp(max=0.0))


MODEL = PrimordialModel(
    name="bounce_generic",
    title="generic bounce",
    formula="P = P0 {1 (k > k_b); (k/k_b)^q; (k/k_i)^2 (k_i/k_b)^q (k < k_i = k_b/10)}",
    parameters=(
        LOG_A,
        NS,
        Parameter("ln_kb", math.log(0.002), Flat(-12.0, -3.0), "ln(1/Mpc)", "ln of the bounce scale k_b"),
        Parameter("q", -0.7, Flat(-2.0, 1.0), "", "exponent between k_i and k_b"),
    ),
    citations=(
        "Agullo, Kranas & Sreenath (2021), Gen. Rel. Grav. 53, 17; arXiv:2005.01796",
        "van Tent, Delgado & Durrer (2023), PRL 130, 191002; arXiv:2212.05977",
    ),
    function=feature(modulation),
    null={"ln_kb": "low"},
    note=EXCLUSION,
    resolution=(60.0, 5.0),
)
