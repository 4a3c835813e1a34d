"""Registered models: quadratic and Starobinsky inflation after a bounce, for both masses of perturbations.

P = P_inflation(k; A_s, N*) [1 + 2 N(k/k_B)], averaged over an interference that turns faster in k than any data resolve. Both factors
come from evolved modes: inflation's of the potential's own run, N of the bounce, which knows no potential. That product is what a fit
evaluates; `model.exact` carries every mode through the whole history instead (:mod:`.solved`).

Vacua: of the dressed metric, the kinetic era's before the bounce (at the bounce itself no adiabatic vacuum exists for k near or below
k_B); of the hybrid quantisation, the adiabatic one of fourth order at the bounce, which exists for all k.
"""

from __future__ import annotations

import functools
from typing import Any

import torch

from cmbfit.theory.primordial.bounce_generic import EXCLUSION
from cmbfit.theory.primordial.lqc.history import describe
from cmbfit.theory.primordial.lqc.masses import Approach
from cmbfit.theory.primordial.lqc.quanta import table
from cmbfit.theory.primordial.lqc.solved import Inflaton, spectrum
from cmbfit.theory.primordial.model import Flat, Parameter, PrimordialModel, Values, amplitude
from cmbfit.theory.primordial.starobinsky import FORMULA, PHI_RANGE
from cmbfit.theory.primordial.tabulated import PARAMETERS, power

QUADRATIC_INFLATON = Inflaton("V0 * phi**2 / 2", (0.2, 26.0))
STAROBINSKY_INFLATON = Inflaton(FORMULA, PHI_RANGE, velocity=-1)
VACUUM: dict[Approach, int | str] = {"dressed": "kinetic", "hybrid": 4}
"""Of the registered models."""


def _power(
    k: torch.Tensor, values: Values, *, inflaton: Inflaton, approach: Approach, tensor: bool
) -> torch.Tensor:
    smooth = power(k, values, formula=inflaton.formula, phi_range=inflaton.phi_range, tensor=tensor)
    log_x = torch.log(k) - values["ln_kb"]
    return smooth * (1 + 2 * torch.exp(table(approach, VACUUM[approach])(log_x)))


def _solved(
    k: torch.Tensor, values: Values, *, inflaton: Inflaton, approach: Approach, tensor: bool
) -> torch.Tensor:
    a_s, n_star, ln_kb = (
        x.detach().cpu()[:, 0] for x in (amplitude(values), values["n_star"], values["ln_kb"])
    )
    found = spectrum(
        inflaton, k.detach().cpu(), a_s, n_star, ln_kb, tensor=tensor, approach=approach, vacuum=VACUUM[approach]
    )  # fmt: skip
    return found.to(k.device)


_PARAMETERS = (
    *PARAMETERS,
    Parameter(
        "ln_kb",
        -8.0,
        Flat(-12.0, -4.0),
        "ln(1/Mpc)",
        "ln of the bounce scale k_B = a_B sqrt(8 pi G rho_c); falls by one for each e-fold of inflation more before k*",
    ),
)
_SOURCES: dict[Approach, tuple[str, ...]] = {
    "dressed": (
        "Agullo, Ashtekar & Nelson (2013), CQG 30, 085014; arXiv:1302.0254",
        "Zhu et al. (2017), PRD 96, 083520; arXiv:1705.07544",
    ),
    "hybrid": (
        "Elizaga Navascues, Martin de Blas & Mena Marugan (2018), PRD 97, 043523; arXiv:1711.10861",
        "Fernandez-Mendez, Mena Marugan & Olmedo (2013), PRD 88, 044013; arXiv:1307.5222",
    ),
}
_NAMES: dict[Approach, str] = {"dressed": "dressed metric", "hybrid": "hybrid quantisation"}
_STARTS: dict[Approach, str] = {
    "dressed": "kinetic era's vacuum before the bounce",
    "hybrid": "fourth-order adiabatic vacuum at the bounce",
}


def _model(label: str, inflaton: Inflaton, approach: Approach, *, tensor: bool) -> PrimordialModel:
    short = f"lqc_{label}" + ("_hybrid" if approach == "hybrid" else "")
    options: dict[str, Any] = {"inflaton": inflaton, "approach": approach, "tensor": tensor}
    potential = {"quadratic": "quadratic inflation", "starobinsky": "Starobinsky inflation"}[label]
    return PrimordialModel(
        name=f"tensor_{short}" if tensor else short,
        title=f"{'tensors, ' if tensor else ''}{potential} after a bounce ({_NAMES[approach]})",
        formula=f"modes of V = {inflaton.formula}, k* leaving the horizon N* e-folds before the end, times 1 + 2 N(k/k_B), N quanta of modes "
        f"through the bounce of loop quantum cosmology ({_NAMES[approach]}, {_STARTS[approach]})",
        parameters=_PARAMETERS,
        citations=_SOURCES[approach],
        function=functools.partial(_power, **options),
        solved=functools.partial(_solved, **options),
        kind="tensor" if tensor else "scalar",
        history=None
        if tensor
        else functools.partial(describe, inflaton=inflaton, approach=approach, vacuum=VACUUM[approach]),
        null={} if tensor else {"ln_kb": "low"},
        note=f"{EXCLUSION}; a prior flat in ln k_B is one flat in the e-folds before k*: one flat in the field at the bounce puts "
        "nearly all weight where no data see a bounce",
        resolution=(30.0, 5.0),
    )


QUADRATIC = _model("quadratic", QUADRATIC_INFLATON, "dressed", tensor=False)
STAROBINSKY = _model("starobinsky", STAROBINSKY_INFLATON, "dressed", tensor=False)
QUADRATIC_HYBRID = _model("quadratic", QUADRATIC_INFLATON, "hybrid", tensor=False)
STAROBINSKY_HYBRID = _model("starobinsky", STAROBINSKY_INFLATON, "hybrid", tensor=False)
TENSOR_QUADRATIC = _model("quadratic", QUADRATIC_INFLATON, "dressed", tensor=True)
TENSOR_STAROBINSKY = _model("starobinsky", STAROBINSKY_INFLATON, "dressed", tensor=True)
TENSOR_QUADRATIC_HYBRID = _model("quadratic", QUADRATIC_INFLATON, "hybrid", tensor=True)
TENSOR_STAROBINSKY_HYBRID = _model("starobinsky", STAROBINSKY_INFLATON, "hybrid", tensor=True)
