"""All samplers by name."""

from __future__ import annotations

from typing import Any

from cmbfit.registry import Registry

SAMPLERS: Registry[Any] = Registry(
    "sampler",
    "cmbfit.samplers",
    {
        "emcee": "cmbfit.inference.ensemble:run_ensemble",
        "hmc": "cmbfit.inference.hmc:run_hmc",
    },
    attribute="SAMPLER",
)
"""Kind of sampler to what runs it."""
