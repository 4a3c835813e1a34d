"""Starobinsky's R^2 inflation, whose potential is also that of Higgs inflation (non-minimal coupling).

V = V0 (1 - exp(-sqrt(2/3) phi))^2. Power depends on k only through the e-folds before the end at which
the mode leaves the horizon, so one run of the mode solver serves all N*: no slow-roll formula is used.
First order would be n_s = 1 - 2/N*, r = 12/N*^2.
"""

from __future__ import annotations

import functools

from cmbfit.theory.primordial.model import PrimordialModel
from cmbfit.theory.primordial.tabulated import PARAMETERS, power

FORMULA = "V0 * (1 - exp(-sqrt(2/3) * phi))**2"
PHI_RANGE = (0.05, 9.0)

_POWER = functools.partial(power, formula=FORMULA, phi_range=PHI_RANGE)
_CITATIONS = (
    "Starobinsky (1980), Phys. Lett. B 91, 99",
    "Bezrukov & Shaposhnikov (2008), Phys. Lett. B 659, 703; arXiv:0710.3755",
)
MODEL = PrimordialModel(
    name="starobinsky",
    title="Starobinsky / Higgs inflation",
    formula="modes of V = V0 (1 - exp(-sqrt(2/3) phi))^2, k* leaving the horizon N* e-folds before the end",
    parameters=PARAMETERS,
    citations=_CITATIONS,
    function=functools.partial(_POWER, tensor=False),
    resolution=(20.0, 5.0),
)
TENSOR = PrimordialModel(
    name="tensor_starobinsky",
    title="tensors, Starobinsky / Higgs inflation",
    formula="tensor modes of the same potential; r is predicted",
    parameters=PARAMETERS,
    citations=_CITATIONS,
    function=functools.partial(_POWER, tensor=True),
    kind="tensor",
)
