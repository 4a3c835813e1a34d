"""Tensor spectra: single-field consistency (second order), string gas, free tilt."""

from __future__ import annotations

import torch

from cmbfit.theory.primordial.model import (
    LOG_A,
    NS,
    PIVOT,
    RATIO,
    Flat,
    Parameter,
    PrimordialModel,
    Values,
    amplitude,
)


def consistency(ratio: torch.Tensor, ns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tilt n_t and running of single-field slow roll at second order.

    n_t = -(r/8)(2 - n_s - r/8), dn_t/dlnk = (r/8)(r/8 + n_s - 1), as CAMB and CLASS use.
    """
    e = ratio / 8
    return -e * (2 - ns - e), e * (e + ns - 1)


def _spectrum(k: torch.Tensor, values: Values, tilt: torch.Tensor, run: torch.Tensor | float) -> torch.Tensor:
    log_k = torch.log(k / PIVOT)
    return values["r"] * amplitude(values) * torch.exp((tilt + run / 2 * log_k) * log_k)


def _single_field(k: torch.Tensor, values: Values) -> torch.Tensor:
    return _spectrum(k, values, *consistency(values["r"], values["ns"]))


def _string_gas(k: torch.Tensor, values: Values) -> torch.Tensor:
    return _spectrum(k, values, 1 - values["ns"], 0.0)


def _free(k: torch.Tensor, values: Values) -> torch.Tensor:
    return _spectrum(k, values, values["nt"], 0.0)


# r = 0 is a spectrum of zeros, which is not positive: priors start just above
_RATIO = Parameter(RATIO.name, RATIO.default, Flat(1e-6, 0.2), RATIO.unit, RATIO.meaning)

SINGLE_FIELD = PrimordialModel(
    name="tensor_consistency",
    title="tensors, single-field consistency",
    formula="P_T = r A_s (k/k*)^(n_t + run/2 L), n_t = -(r/8)(2 - n_s - r/8), run = (r/8)(r/8 + n_s - 1)",
    parameters=(LOG_A, NS, _RATIO),
    citations=("Lidsey et al. (1997), Rev. Mod. Phys. 69, 373; astro-ph/9508078",),
    function=_single_field,
    kind="tensor",
)
STRING_GAS = PrimordialModel(
    name="tensor_string_gas",
    title="tensors, string gas",
    formula="P_T = r A_s (k/k*)^(1 - n_s)",
    parameters=(LOG_A, NS, _RATIO),
    citations=("Brandenberger et al. (2007), PRL 98, 231302; hep-th/0604126",),
    function=_string_gas,
    kind="tensor",
)
FREE = PrimordialModel(
    name="tensor_free",
    title="tensors, free tilt",
    formula="P_T = r A_s (k/k*)^n_t",
    parameters=(
        LOG_A,
        NS,
        _RATIO,
        Parameter("nt", 0.0, Flat(-1.5, 1.5), "", "tilt of the tensor spectrum"),
    ),
    citations=("Galloni et al. (2023), JCAP 04, 062; arXiv:2208.00188",),
    function=_free,
    kind="tensor",
)
