"""Where a posterior may be above zero: within its priors and its theory's box."""

from __future__ import annotations

import math

from cmbfit.likelihood.posterior import Posterior


def support_of(posterior: Posterior) -> dict[str, tuple[float, float]]:
    """Return the limits of every parameter: the prior's support cut to the theory's box; infinite where there are none."""
    out = {}
    for name in posterior.parameters:
        low, high = posterior.priors[name].support
        box_low, box_high = posterior.theory.box.get(name, (-math.inf, math.inf))
        out[name] = max(low, box_low), min(high, box_high)
    return out
