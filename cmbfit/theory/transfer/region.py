"""Where transfer functions are expanded: centre, steps and range, without a Boltzmann code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RANGE = 2.5
"""Steps from the centre within which the expansion may be used."""

CENTRE = {"ombh2": 0.02237, "omch2": 0.1200, "theta_mc": 1.0409, "tau": 0.0544}
"""Planck 2018 TT,TE,EE+lowE (Planck Collaboration VI 2020)."""

STEPS = {"ombh2": 3.0e-4, "omch2": 2.7e-3, "theta_mc": 6.2e-4, "tau": 0.0153}
"""Two posterior sigma of Planck 2018."""


def expansion_box(centre: Mapping[str, float], steps: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return the range in which an expansion around `centre` may be used."""
    return {p: (x - RANGE * steps[p], x + RANGE * steps[p]) for p, x in centre.items()}


def planned_box(section: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the range of the expansion that a configuration's ``theory.transfer`` asks for."""
    centre, steps = (
        {**default, **section.get(k, {})} for k, default in (("centre", CENTRE), ("steps", STEPS))
    )
    return expansion_box(centre, steps)
