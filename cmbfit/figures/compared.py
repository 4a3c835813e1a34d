"""Figures of fits side by side: their posteriors over each other, and each parameter's shift beside its expected scatter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from getdist import plots as getdist_plots
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbfit.figures.posterior import getdist_samples
from cmbfit.figures.style import SERIES, new_figure, style
from cmbfit.inference.products import Samples
from cmbfit.inference.shifts import Shift
from cmbfit.theory.parameters import latex_label

Table = dict[str, NDArray]


def plot_corners(samples: Mapping[str, Samples], names: Sequence[str]) -> Figure:
    """Return the triangle of several posteriors, the first one filled."""
    with style():
        plotter = getdist_plots.get_subplot_plotter(width_inch=max(5.0, 1.4 * len(names)))
        plotter.settings.axes_fontsize, plotter.settings.lab_fontsize, plotter.settings.legend_fontsize = (
            8,
            11,
            12,
        )
        plotter.settings.figure_legend_frame = False
        plotter.triangle_plot(
            [getdist_samples(s) for s in samples.values()],
            list(names),
            filled=[i == 0 for i in range(len(samples))],
            contour_colors=[SERIES[i % len(SERIES)] for i in range(len(samples))],
            legend_labels=list(samples),
        )
        figure: Figure = plotter.fig
    return figure


def plot_whiskers(
    samples: Mapping[str, Samples], names: Sequence[str], shifts: Sequence[Shift]
) -> tuple[Figure, Table]:
    """Return each fit's mean and error of each parameter, about the first fit's mean, with the shift's expected scatter.

    In units of the first fit's error; grey: within how much of the first one the fit should lie (1 and 2 sigma). And these
    numbers.
    """
    labels = list(samples)
    first = samples[labels[0]]
    rows: list[tuple[str, str, float, float, float]] = []
    with style():
        figure = new_figure(max(5.5, 1.9 * len(names)), 0.9 + 0.45 * len(labels))
        axes = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for ax, name in zip(axes, names, strict=True):
            centre, unit = first.column(name).mean(), first.column(name).std()
            for k, label in enumerate(labels):
                if name not in samples[label].names:
                    continue
                column = samples[label].column(name)
                mean, error = (column.mean() - centre) / unit, column.std() / unit
                expected = shifts[k - 1].expected.get(name, np.nan) / unit if k else np.nan
                colour = SERIES[k % len(SERIES)]
                for n, alpha in ((2, 0.10), (1, 0.15)):
                    if np.isfinite(expected):
                        ax.barh(
                            -k, 2 * n * expected, left=-n * expected, height=0.7, color="k", alpha=alpha, lw=0
                        )
                ax.errorbar(mean, -k, xerr=error, fmt="o", ms=4, color=colour, capsize=2)
                rows.append((label, name, float(column.mean()), float(column.std()), float(expected * unit)))
            ax.axvline(0, color=SERIES[0], lw=0.8, ls=":")
            ax.set(xlabel=f"${latex_label(name)}$")
        axes[0].set_yticks([-k for k in range(len(labels))], labels)
        figure.supxlabel(f"difference from {labels[0]}, in its errors", fontsize=9)
    columns = zip(*rows, strict=True)
    return figure, {
        key: np.array(values)
        for key, values in zip(("fit", "parameter", "mean", "std", "expected_scatter"), columns, strict=True)
    }
