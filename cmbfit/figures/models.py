"""Forest plot of compared models: improvement of the fit, Bayes factors and bounds, one line a model."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.inference.comparison import JEFFREYS

_LINEAR = 5.0
"""Beyond, axes are logarithmic, and say so: one bad model must not hide the others."""

_WIDTH = 38  # characters in a line of a model's name


def plot_models(tables: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a forest plot of all models of all tables; references are the zero lines.

    Parameters
    ----------
    tables : sequence of mapping
        From :func:`cmbfit.inference.model_table.compare`, each with at least two models.
    """
    models = [
        (table, model) for table in tables for model in table["models"] if model["name"] != table["reference"]
    ]
    rows = np.arange(len(models))[::-1]
    with style():
        fig = new_figure(10.5, 1.9 + 0.6 * len(models))
        left, right = fig.subplots(1, 2, sharey=True)
        _criteria(left, [m for _, m in models], rows)
        _factors(right, [m for _, m in models], rows)
        titles = {table["reference"]: table["models"][0]["title"] for table, _ in models}
        names = [
            textwrap.fill(m["title"], _WIDTH)
            + (f"\n(against {titles[t['reference']]})" if len(titles) > 1 else "")
            for t, m in models
        ]
        left.set_yticks(rows, names, fontsize=9)
        left.set_ylim(-0.7, len(models) - 0.3)
        if len(titles) == 1:
            fig.suptitle(f"against {next(iter(titles.values()))}", fontsize=10, x=0.01, ha="left")
    return fig


def _criteria(ax: Axes, models: Sequence[Mapping[str, Any]], rows: np.ndarray) -> None:
    ax.axvline(0, color="0.4", lw=1)
    values = {
        "Δχ²": (DATA, "o", [m["delta_chi2"]["total"] for m in models]),
        "ΔAIC": (THEORY, "s", [m["delta_aic"] for m in models]),
        "ΔBIC": (SECOND, "D", [np.nan if m["delta_bic"] is None else m["delta_bic"] for m in models]),
    }
    for offset, (label, (colour, marker, x)) in zip((0.18, 0.0, -0.18), values.items(), strict=True):
        ax.hlines(rows + offset, 0, x, color=colour, lw=1, alpha=0.6)
        ax.plot(x, rows + offset, marker, color=colour, ms=5, ls="", label=label)
    _symlog(ax, [x for _, _, column in values.values() for x in column])
    ax.set_xlabel(f"model − reference  (negative: better){_said(ax)}")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def _factors(ax: Axes, models: Sequence[Mapping[str, Any]], rows: np.ndarray) -> None:
    shades = [bound for bound, _ in JEFFREYS[:-1]]
    for bound, grey in zip(shades[::-1], ("0.95", "0.90", "0.84"), strict=True):
        ax.axvspan(-bound, bound, color=grey, lw=0)
    ax.axvline(0, color="0.4", lw=1)
    shown: list[float] = list(shades)
    for key, label, colour, marker, offset in (
        ("evidence", "evidence", DATA, "o", 0.1),
        ("savage_dickey", "Savage-Dickey", SECOND, "D", -0.1),
    ):
        found = [(y, m[key]) for y, m in zip(rows, models, strict=True) if m[key] and "ln_b" in m[key]]
        if found:
            x = [e["ln_b"] for _, e in found]
            ax.errorbar(
                x,
                [y + offset for y, _ in found],
                xerr=[e["error"] for _, e in found],
                fmt=marker,
                color=colour,
                ms=5,
                capsize=2,
                label=label,
            )
            shown += x
    for y, model in zip(rows, models, strict=True):
        if entry := model["look_elsewhere"]:
            ax.annotate(
                f"global p = {entry['p_value']:.2g}",
                (0.99, y),
                xycoords=("axes fraction", "data"),
                ha="right",
                fontsize=8,
            )
    _symlog(ax, shown)
    ax.set_xlabel(f"ln B  (positive: speaks for the model){_said(ax)}")
    if ax.get_legend_handles_labels()[0]:
        ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def _said(ax: Axes) -> str:
    return f"\nlogarithmic beyond ±{_LINEAR:g}" if ax.get_xscale() == "symlog" else ""


def _symlog(ax: Axes, values: Sequence[float]) -> None:
    finite = np.array([x for x in values if np.isfinite(x)])
    limit = max(_LINEAR, 1.15 * float(np.abs(finite).max())) if len(finite) else _LINEAR
    if limit > 4 * _LINEAR:
        # the linear part as wide as a decade and a half: room for the ticks at its ends
        ax.set_xscale("symlog", linthresh=_LINEAR, linscale=1.5)
        ticks = [x for x in ((0, 5, 30, 100) if limit < 300 else (0, 5, 100, 10000, 1000000)) if x <= limit]
        ticks = [*(-x for x in ticks[:0:-1]), *ticks]
        ax.set_xticks(ticks, [f"{x:g}".replace("-", "−") for x in ticks])
        ax.minorticks_off()
        limit *= 1.3
    ax.set_xlim(-limit, limit)
