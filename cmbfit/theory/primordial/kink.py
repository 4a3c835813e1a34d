"""A kink in the slope of the potential (Starobinsky 1992).

With j = j_1(x)/x the published trigonometric sum is exactly

    Y = 1 + 6 (R-1) j (x sin x + cos x) + 9 (R-1)^2 j^2 (1 + x^2),

whose limit Y(0) = R^2 is manifest.
"""

from __future__ import annotations

import torch

from cmbfit.theory.primordial.bessel import j1_over_x
from cmbfit.theory.primordial.cutoff import LN_KC, scaled
from cmbfit.theory.primordial.model import LOG_A, NS, Flat, Parameter, PrimordialModel, Values, feature


def transfer(x: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Return Y(x) = P/P0 at x = k/k_c for slopes in the ratio R = A_-/A_+ (after / before the kink)."""
    j, step = j1_over_x(x), ratio - 1
    linear = 6 * step * j * (x * torch.sin(x) + torch.cos(x))
    return 1 + linear + 9 * (step * j).square() * (1 + x.square())


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return Y(k/k_c)."""
    return transfer(scaled(k, values), values["slope_ratio"])


MODEL = PrimordialModel(
    name="kink",
    title="kink of the potential",
    formula="P = P0 Y(k/k_c, R), Starobinsky's step between two slopes",
    parameters=(
        LOG_A,
        NS,
        LN_KC,
        Parameter("slope_ratio", 0.9, Flat(0.05, 2.0), "", "R = A_-/A_+: slope after / before; Y(0) = R^2"),
    ),
    citations=("Starobinsky (1992), JETP Lett. 55, 489",),
    function=feature(modulation),
    null={"slope_ratio": 1.0},
    resolution=(130.0, 5.0),
)
