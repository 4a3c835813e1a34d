"""Axion monodromy, V = mu^3 [phi + b f cos(phi/f)] (Flauger et al. 2010, eq. 2.31 ff.).

A linear potential makes gravitational waves, whatever its oscillation: r = 0.066 at N* = 60, which data exclude.
"""

from __future__ import annotations

import math

import torch

from cmbfit.theory.primordial.model import (
    LOG_A,
    NS,
    PIVOT,
    R_BOUND,
    Flat,
    Parameter,
    PrimordialModel,
    Values,
    feature,
)
from cmbfit.theory.primordial.oscillation_log import PHASE

PHI_PIVOT = 10.8813
"""Field [M_p] in V ~ phi when k* = aH, 60 e-folds before inflation ends (checked against the solver in the tests)."""


RATIO_LINEAR = 0.06636
"""r of V ~ phi at N* = 60 (solved, in the tests)."""


def modulation_depth(b: torch.Tensor, f: torch.Tensor, phi: float = PHI_PIVOT) -> torch.Tensor:
    """Return the amplitude dn of the oscillation of P for monotonicity b < 1 and decay constant f [M_p].

    dn = 12 b / sqrt(1 + (3 f phi)^2) sqrt((pi/8) coth(pi/(2 f phi)) f phi), first order in b.
    """
    x = f * phi
    root = torch.sqrt(math.pi / 8 / torch.tanh(math.pi / (2 * x)) * x)
    return 12 * b / torch.sqrt(1 + 9 * x.square()) * root


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return 1 + dn cos(phi_k/f + phase), phi_k^2 = phi*^2 - 2 ln(k/k*); phase 0 is a maximum at k*."""
    field = torch.sqrt(PHI_PIVOT**2 - 2 * torch.log(k / PIVOT))
    angle = (field - PHI_PIVOT) / 10 ** values["log10_f"]
    return 1 + values["depth"] * torch.cos(angle + values["phase"])


def _bound(k: torch.Tensor, values: Values) -> torch.Tensor:
    """Modes must leave the horizon before the end, and b < 1 (else the potential is not monotonic)."""
    f = 10 ** values["log10_f"]
    monotonic = values["depth"] < modulation_depth(torch.ones_like(f), f)
    return monotonic & (torch.log(k.max() / PIVOT) < PHI_PIVOT**2 / 2)


MODEL = PrimordialModel(
    name="axion_monodromy",
    title="axion monodromy",
    formula="P = P0 [1 + depth cos((phi_k - phi*)/f + phase)], phi_k = sqrt(phi*^2 - 2 ln(k/k*)), N* = 60",
    parameters=(
        LOG_A,
        NS,
        Parameter("depth", 0.02, Flat(0.0, 0.7), "", "amplitude dn of the oscillation"),
        Parameter("log10_f", -2.0, Flat(-4.0, -1.0), "log10(M_p)", "axion decay constant"),
        PHASE,
    ),
    citations=("Flauger et al. (2010), JCAP 06, 009; arXiv:0907.2916",),
    function=feature(modulation),
    null={"depth": 0.0},
    bound=_bound,
    note=f"its linear potential makes r = {RATIO_LINEAR:.3f} at N* = 60, which BICEP/Keck exclude (r < {R_BOUND:g}, 95%, "
    "arXiv:2110.00483): a limit on the depth is one on oscillations of this shape",
    resolution=(130.0, 5.0),
)
