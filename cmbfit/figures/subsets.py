"""Parameters from parts of the data about the whole's, each beside the scatter that its shift should have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbfit.figures.style import DATA, THEORY, new_figure, style
from cmbfit.inference.subset_request import WHOLE
from cmbfit.inference.tension_request import AMPLITUDE
from cmbfit.theory.parameters import latex_label


def label(name: str) -> str:
    """Return a shifted parameter as figures write it."""
    return r"\ln(10^{10}A_\mathrm{s}) - 2\tau" if name == AMPLITUDE else latex_label(name)


def plot_subsets(record: Mapping[str, Any]) -> Figure:
    """Return a whisker plot: a panel a parameter, a row a part, in units of the whole's error.

    Parameters
    ----------
    record : mapping
        From :func:`cmbfit.inference.subsets.measure_subsets`.
    """
    parts, names = record["parts"], record["shifted"]
    whole = parts[WHOLE]
    expected = {s["to"]: s["expected"] for s in record["shifts"] if s["from"] == WHOLE}
    rows = list(parts)
    with style():
        figure = new_figure(max(6.0, 1.7 + 1.9 * len(names)), 1.0 + 0.42 * len(rows))
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            centre, unit = whole["mean"][name], whole["std"][name]
            for k, row in enumerate(rows):
                sigma = (expected.get(row, {}).get(name) or np.nan) / unit
                for n, alpha in ((2, 0.10), (1, 0.15)):
                    if np.isfinite(sigma):
                        ax.barh(-k, 2 * n * sigma, left=-n * sigma, height=0.7, color="k", alpha=alpha, lw=0)
                mean, error = (parts[row]["mean"][name] - centre) / unit, parts[row]["std"][name] / unit
                colour = DATA if row == WHOLE else THEORY
                ax.errorbar(mean, -k, xerr=error, fmt="o", ms=4, color=colour, capsize=2)
            ax.axvline(0, color=DATA, lw=0.8, ls=":")
            ax.set(xlabel=f"${label(name)}$")
        axes[0].set_yticks([-k for k in range(len(rows))], rows)
        figure.supxlabel(f"difference from {WHOLE}, in its errors", fontsize=9)
    return figure


def subset_table(record: Mapping[str, Any]) -> dict[str, NDArray]:
    """Return the plotted numbers; `expected_scatter` is NaN for the whole, and where a part knows as much."""
    expected = {s["to"]: s["expected"] for s in record["shifts"] if s["from"] == WHOLE}
    rows = [(part, name) for part in record["parts"] for name in record["shifted"]]
    return {
        "part": np.array([part for part, _ in rows]),
        "parameter": np.array([name for _, name in rows]),
        "mean": np.array([record["parts"][part]["mean"][name] for part, name in rows]),
        "std": np.array([record["parts"][part]["std"][name] for part, name in rows]),
        "expected_scatter": np.array([expected.get(part, {}).get(name) or np.nan for part, name in rows]),
    }
