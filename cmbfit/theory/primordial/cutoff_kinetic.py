"""Inflation that starts kinetically dominated (Contaldi et al. 2003; Hergt et al. 2019).

The published amplitudes C and D cancel to order x^3 at small x = k/k_c. Combined by hand,

    C - D = -2i [sin x H_0(x/2) - x j_1(x) H_1(x/2)],

so that Y = (pi/4) x |sin x H_0(x/2) - x j_1(x) H_1(x/2)|^2, of which no term cancels.
"""

from __future__ import annotations

import math

import torch

from cmbfit.theory.primordial.bessel import bessel_j, bessel_y, j1_over_x
from cmbfit.theory.primordial.cutoff import LN_KC, scaled
from cmbfit.theory.primordial.model import LOG_A, NS, PrimordialModel, Values, feature


def late_amplitude(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return real and imaginary part of M = sin x H_0(x/2) - x j_1(x) H_1(x/2), what de Sitter makes of the kinetic vacuum."""
    sine, cross = torch.sin(x), x.square() * j1_over_x(x)
    real, minus_imaginary = (sine * f(0, x / 2) - cross * f(1, x / 2) for f in (bessel_j, bessel_y))
    return real, -minus_imaginary


def transfer(x: torch.Tensor) -> torch.Tensor:
    """Return Y(x) = P/P0 at x = k/k_c > 0, elementwise."""
    real, imaginary = late_amplitude(x)
    return math.pi / 4 * x * (real.square() + imaginary.square())


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return Y(k/k_c)."""
    return transfer(scaled(k, values))


MODEL = PrimordialModel(
    name="cutoff_kinetic",
    title="kinetic start (KD)",
    formula="P = P0 (pi/16) x |C - D|^2, x = k/k_c, with Hankel functions H_0, H_1 of x/2",
    parameters=(LOG_A, NS, LN_KC),
    citations=(
        "Contaldi et al. (2003), JCAP 07, 002; astro-ph/0303636",
        "Hergt et al. (2019), PRD 100, 023501; arXiv:1809.07737",
    ),
    function=feature(modulation),
    null={"ln_kc": "low"},
    resolution=(60.0, 5.0),
)
