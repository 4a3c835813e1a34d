"""Steps of a data model: what instruments, the local sky and foregrounds do to the CMB's spectra before they are measured.

A data set lists steps in order; each is a named class of the open registry :data:`STEPS`.
"""

from __future__ import annotations

from cmbfit.likelihood.steps.base import (
    Add,
    AddBinned,
    AddPowerLaw,
    Derivative,
    Measured,
    Rescale,
    Setting,
    Step,
)
from cmbfit.likelihood.steps.registry import STEPS, build_step

__all__ = [
    "STEPS",
    "Add",
    "AddBinned",
    "AddPowerLaw",
    "Derivative",
    "Measured",
    "Rescale",
    "Setting",
    "Step",
    "build_step",
]
