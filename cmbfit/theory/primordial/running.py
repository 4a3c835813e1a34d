"""Power law with running and running of the running (Kosowsky & Turner 1995, astro-ph/9504071)."""

from __future__ import annotations

import torch

from cmbfit.theory.primordial.model import (
    LOG_A,
    NS,
    PIVOT,
    Flat,
    Parameter,
    PrimordialModel,
    Values,
    amplitude,
)


def _power(k: torch.Tensor, values: Values) -> torch.Tensor:
    log_k = torch.log(k / PIVOT)
    tilt = values["ns"] - 1 + (values["nrun"] / 2 + values["nrunrun"] / 6 * log_k) * log_k
    return amplitude(values) * torch.exp(tilt * log_k)


MODEL = PrimordialModel(
    name="running",
    title="power law with runnings",
    formula="ln P = ln A_s + [n_s - 1 + nrun/2 L + nrunrun/6 L^2] L, L = ln(k/k*)",
    parameters=(
        LOG_A,
        NS,
        Parameter("nrun", 0.0, Flat(-0.1, 0.1), "", "dn_s/dlnk at k*"),
        Parameter("nrunrun", 0.0, Flat(-0.1, 0.1), "", "d^2n_s/dlnk^2 at k*"),
    ),
    citations=("Kosowsky & Turner (1995), PRD 52, 1739; astro-ph/9504071",),
    function=_power,
    null={"nrun": 0.0, "nrunrun": 0.0},
    resolution=(20.0, 5.0),
)
