"""Marginal constraints as they should be quoted: two-sided, or a bound where the prior's edge cuts.

GetDist (Lewis 2019, arXiv:1910.13970) decides: a limit is two-sided if the marginal density at both ends of
the prior lies below a fixed fraction of its peak (that of a normal at its 95% limits), else one-sided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from cmbfit.inference.products import Samples


@dataclass(frozen=True)
class Constraint:
    """A marginal constraint of one parameter.

    Attributes
    ----------
    kind : {"interval", "upper", "lower", "unconstrained"}
        `interval`: quote mean and std; `upper`, `lower`: quote the one-sided 95% bound; `unconstrained`: the
        density reaches both ends of the prior, quote nothing.
    mean, std : float
    low, high : float or None
        95% limits; of a bound the one that counts.
    prior : (float or None, float or None)
        The prior's limits.
    """

    kind: Literal["interval", "upper", "lower", "unconstrained"]
    mean: float
    std: float
    low: float | None
    high: float | None
    prior: tuple[float | None, float | None]

    def describe(self) -> dict[str, Any]:
        """Return the fields and the text, JSON-able."""
        return {**vars(self), "prior": list(self.prior), "text": self.text}

    @property
    def text(self) -> str:
        """The constraint in words, e.g. ``0.9650 +- 0.0042`` or ``< 0.063 (95%)``."""
        if self.kind == "interval":
            digits = max(0, 1 - int(f"{self.std:e}".split("e")[1])) if self.std > 0 else 6
            return f"{self.mean:.{min(digits, 12)}f} ± {self.std:.{min(digits, 12)}f}"
        if self.kind == "upper":
            return f"< {self.high:.3g} (95%)"
        if self.kind == "lower":
            return f"> {self.low:.3g} (95%)"
        low, high = (np.nan if x is None else x for x in self.prior)
        return f"unconstrained in [{low:g}, {high:g}]"


def marginal_constraint(samples: Samples, name: str) -> Constraint:
    """Return how one parameter's marginal posterior should be quoted.

    Parameters
    ----------
    samples : Samples
    name : str
        Sampled or derived.
    """
    from getdist import MCSamples, chains  # noqa: PLC0415 (slow to import; only comparisons need it)

    chains.print_load_details = False  # it would print of each chain that there is no burn-in to remove
    prior = samples.ranges.get(name, (None, None))
    column = samples.column(name)
    marginal = MCSamples(
        samples=column[:, None],
        names=[name],
        ranges={name: list(prior)},
        sampler=samples.getdist_sampler,
        settings={"ignore_rows": 0},
    )
    limit = marginal.getMargeStats().parWithName(name).limits[1]
    mean, std = float(column.mean()), float(column.std(ddof=1))
    if limit.twotail:
        return Constraint("interval", mean, std, float(limit.lower), float(limit.upper), prior)
    if limit.onetail_upper and not limit.onetail_lower:
        return Constraint("upper", mean, std, None, float(limit.upper), prior)
    if limit.onetail_lower and not limit.onetail_upper:
        return Constraint("lower", mean, std, float(limit.lower), None, prior)
    return Constraint("unconstrained", mean, std, None, None, prior)
