"""Null tests at a glance: probabilities to exceed against what independent tests scatter by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import special

from cmbfit.errors import DataError
from cmbfit.figures.style import DATA, SECOND, new_figure, style

Check = Mapping[str, Any]


def probabilities(checks: Sequence[Check]) -> list[Check]:
    """Return the checks whose value is a probability to exceed a chi2."""
    return [c for c in checks if "chi2 =" in c["comment"] and 0 <= c["value"] <= 1]


def plot_nulls(checks: Sequence[Check]) -> Figure:
    """Return sorted probabilities against their expected ranks, with the names of the lowest and highest.

    The band holds 95 % of the k-th lowest of n independent tests (a beta distribution); tests that
    share data are not independent, so single points outside are no failure.
    """
    found = sorted(probabilities(checks), key=lambda c: c["value"])
    if not found:
        raise DataError("null tests: none of the checks is a probability to exceed")
    n = len(found)
    ranks = np.arange(1, n + 1)
    values = np.array([c["value"] for c in found])
    low, high = special.betaincinv(ranks, n + 1 - ranks, [[0.025], [0.975]])
    with style():
        fig = new_figure(10, max(3.6, 0.17 * n + 1.4))
        left, right = fig.subplots(1, 2, width_ratios=[1, 1.15])
        left.fill_between(ranks / (n + 1), low, high, color="0.88", lw=0, label="95 % of independent tests")
        left.plot([0, 1], [0, 1], color="0.4", lw=1, ls="--")
        left.plot(ranks / (n + 1), values, "o", ms=4, color=DATA)
        left.set_xlabel("expected rank / (n + 1)")
        left.set_ylabel("probability to exceed")
        left.set_title(f"{n} tests", fontsize=9)
        left.legend(loc="upper left", fontsize=8)
        names = [c["name"] for c in checks if c in found]
        shown = [c["value"] for c in checks if c in found]
        colours = [DATA if c["pass"] else SECOND for c in checks if c in found]
        rows = np.arange(n)[::-1]
        right.hlines(rows, 0, shown, color="0.8", lw=1)
        right.scatter(shown, rows, s=14, color=colours, zorder=2)
        right.set_yticks(rows, names, fontsize=6.5)
        right.set_xlim(0, 1)
        right.set_xlabel("probability to exceed")
    return fig


def nulls_table(checks: Sequence[Check]) -> dict[str, NDArray[Any]]:
    """Return all checks, one a row: name, value, tolerance, pass, comment."""
    return {
        key: np.array([str(c[key]) for c in checks])
        for key in ("name", "value", "tolerance", "pass", "comment")
    }
