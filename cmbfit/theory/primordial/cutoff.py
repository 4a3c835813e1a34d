"""What the models with a suppression of large scales share: the scale of the cut-off."""

from __future__ import annotations

import torch

from cmbfit.theory.primordial.model import Flat, Parameter, Values

LN_KC = Parameter("ln_kc", -7.6, Flat(-12.0, -3.0), "ln(1/Mpc)", "ln of the cut-off scale k_c")


def scaled(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return x = k / k_c."""
    return k * torch.exp(-values["ln_kc"])
