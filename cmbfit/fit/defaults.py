"""Priors and starts that a fit has where it gives none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmbfit.likelihood.priors import Gaussian, Prior, prior_from_config
from cmbfit.theory.extensions import EXTENSIONS

PRIORS = {
    "ombh2": (0.019, 0.026),
    "omch2": (0.09, 0.15),
    "theta_mc": (1.02, 1.06),
    "tau": (0.02, 0.15),
    "logA": (2.7, 3.4),
    "ns": (0.88, 1.06),
}
"""Flat priors of LCDM's parameters, far wider than Planck's posterior; cut to where the theory is valid."""

STARTS = {
    "ombh2": (0.0224, 0.00015),
    "omch2": (0.120, 0.0014),
    "theta_mc": (1.0409, 0.0003),
    "tau": (0.055, 0.007),
    "logA": (3.045, 0.016),
    "ns": (0.965, 0.0044),
}
"""Centre and width of Planck 2018's posterior (Planck Collaboration VI 2020, table 2)."""

_SCALES = 20.0
"""Widths of a flat prior in the starting scale of a parameter."""

Box = Mapping[str, tuple[float, float]]


def default_prior(parameter: str, box: Box) -> dict[str, Any]:
    """Return the flat prior of a parameter of the theory, within the theory's range."""
    low, high = box[parameter]
    if parameter in PRIORS:
        low, high = max(low, PRIORS[parameter][0]), min(high, PRIORS[parameter][1])
    return {"uniform": [low, high]}


def default_start(parameter: str, prior: Prior, wanted: float | None = None) -> tuple[float, float]:
    """Return centre and scale of the walkers' start, from the prior.

    A normal prior's own; for a flat one Planck's, where it lies well inside, else a twentieth of the width around
    `wanted` (a model's default), the extension's value in LCDM or the middle, kept off the edges.

    Examples
    --------
    >>> default_start("ns", prior_from_config("ns", {"uniform": [0.88, 1.06]}))
    (0.965, 0.0044)
    >>> default_start("A_planck", prior_from_config("A_planck", {"gaussian": [1.0, 0.0025]}))
    (1.0, 0.0025)
    """
    if isinstance(prior, Gaussian):
        return prior.mean, prior.std
    low, high = prior.support
    scale = (high - low) / _SCALES
    if parameter in STARTS:
        centre, width = STARTS[parameter]
        if low + width < centre < high - width:
            return centre, min(width, scale)
    if wanted is None and parameter in EXTENSIONS:
        wanted = EXTENSIONS[parameter].default
    centre = (low + high) / 2 if wanted is None else wanted
    return min(max(centre, low + scale), high - scale), scale


__all__ = ["PRIORS", "STARTS", "default_prior", "default_start", "prior_from_config"]
