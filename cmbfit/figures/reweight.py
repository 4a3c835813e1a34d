"""What exact theory would change in a fit: shifts of means and widths, and the weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.parameters import latex_label


def reweighting_table(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plotted shifts as columns: parameter, shift of mean and width with errors."""
    shifts = record["shifts"]
    columns: dict[str, Any] = {"parameter": list(shifts)}
    for key in ("mean", "mean_error", "width", "width_error"):
        columns[key] = [s[key] for s in shifts.values()]
    return columns


def plot_reweighting(record: Mapping[str, Any], mark: float) -> Figure:
    """Return shifts of each parameter's mean and width with Monte Carlo errors, and the weights.

    Parameters
    ----------
    record : mapping
        From :func:`cmbfit.inference.reweight.summarise_reweighting`, with ``log_weights``.
    mark : float
        Largest shift allowed, in sigma of the fit.
    """
    table = reweighting_table(record)
    y = np.arange(len(table["parameter"]))[::-1]
    with style():
        fig = new_figure(10, 1.2 + 0.28 * len(y))
        left, right = fig.subplots(1, 2, width_ratios=(1.6, 1))
        left.axvspan(-mark, mark, color="0.93", lw=0)
        left.axvline(0, color="0.6", lw=0.8)
        for values, errors, offset, marker, colour, label in (
            (table["mean"], table["mean_error"], 0.12, "o", DATA, "mean, in sigma"),
            (np.array(table["width"]) - 1, table["width_error"], -0.12, "s", SECOND, "width, relative"),
        ):
            left.errorbar(values, y + offset, xerr=errors, fmt=marker, ms=4, color=colour, lw=1, label=label)
        left.set_yticks(y, [f"${latex_label(name)}$" for name in table["parameter"]])
        left.set_xlabel("exact minus emulated")
        left.set_title(f"grey: the mark, {mark:g}")
        left.legend(loc="lower right", fontsize=8)
        log_weights = np.array(record["log_weights"])
        right.hist(log_weights - log_weights.mean(), bins="auto", color=THEORY)
        right.set_xlabel(r"$\ln(L_\mathrm{exact}/L_\mathrm{emulated})$ minus its mean")
        right.xaxis.set_major_locator(MaxNLocator(5))
        right.set_ylabel("points")
        right.set_title(f"{record['n_points']} points, effective fraction {record['ess_fraction']:.4f}")
    return fig
