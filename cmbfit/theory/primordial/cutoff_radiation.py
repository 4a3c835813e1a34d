"""Inflation after a radiation era (Vilenkin & Ford 1982).

|1 + (2x^2 - 2ix - 1) e^{-2ix}|^2 / 4x^4 = (x j_1)^2 + (sin x - j_1)^2 with the spherical Bessel function j_1,
which shows Y -> 4x^2/9 without cancellation.
"""

from __future__ import annotations

import torch

from cmbfit.theory.primordial.bessel import j1_over_x
from cmbfit.theory.primordial.cutoff import LN_KC, scaled
from cmbfit.theory.primordial.model import LOG_A, NS, PrimordialModel, Values, feature


def transfer(x: torch.Tensor) -> torch.Tensor:
    """Return Y(x) = P/P0 at x = k/k_c > 0, elementwise."""
    j1 = x * j1_over_x(x)
    return (x * j1).square() + (torch.sin(x) - j1).square()


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return Y(k/k_c)."""
    return transfer(scaled(k, values))


MODEL = PrimordialModel(
    name="cutoff_radiation",
    title="radiation start (RD)",
    formula="P = P0 |1 + (2x^2 - 2ix - 1) e^{-2ix}|^2 / 4x^4, x = k/k_c",
    parameters=(LOG_A, NS, LN_KC),
    citations=("Vilenkin & Ford (1982), PRD 26, 1231",),
    function=feature(modulation),
    null={"ln_kc": "low"},
    resolution=(60.0, 5.0),
)
