"""Two data sets held against each other: every shifted parameter, alone and together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.inference.tension_request import AMPLITUDE
from cmbfit.theory.parameters import latex_label

_COLOURS = {"a": THEORY, "b": SECOND, "both": DATA}


def plot_tensions(tensions: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Return a panel a pair of data sets: means and errors about the joint mean, in units of the joint error.

    Parameters
    ----------
    tensions : mapping
        Name to the record of :func:`cmbfit.inference.data_tension.measure_tension`.
    """
    with style():
        fig = new_figure(4.4 * len(tensions) + 0.6, 4.2)
        axes = fig.subplots(1, len(tensions), squeeze=False)[0]
        for ax, record in zip(axes, tensions.values(), strict=True):
            names = list(record["parameters"])
            rows = np.arange(len(names))[::-1]
            ax.axvline(0, color="0.7", lw=0.8)
            for key, offset in (("a", 0.18), ("b", 0.0), ("both", -0.18)):
                joint = np.array([record["parameters"][n]["both"] for n in names])
                own = np.array([record["parameters"][n][key] for n in names])
                ax.errorbar(
                    (own[:, 0] - joint[:, 0]) / joint[:, 1],
                    rows + offset,
                    xerr=own[:, 1] / joint[:, 1],
                    fmt="o",
                    ms=4,
                    capsize=2,
                    color=_COLOURS[key],
                    label=record["titles"][key],
                )
            ax.set_yticks(rows, [_label(n) for n in names])
            ax.set_xlabel("(mean − joint mean) / joint σ")
            shift, s = record["shift"], record["suspiciousness"]
            ax.set_title(
                f"shift: {shift['sigma']:.1f}σ (p = {shift['p_value']:.2g})\n"
                f"suspiciousness: ln S = {s['ln_s']:+.2f}, {s['sigma']:.1f}σ (p = {s['p_value']:.2g})",
                fontsize=9,
            )
            ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), fontsize=8)
    return fig


def _label(name: str) -> str:
    return r"$\ln(10^{10} A_s e^{-2\tau})$" if name == AMPLITUDE else f"${latex_label(name)}$"


def tension_table(tensions: Mapping[str, Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return one row a parameter and pair of data sets, with the measures of the pair."""
    rows = [
        {
            "pair": name,
            "parameter": parameter,
            "mean_a": x["a"][0],
            "sigma_a": x["a"][1],
            "mean_b": x["b"][0],
            "sigma_b": x["b"][1],
            "mean_both": x["both"][0],
            "sigma_both": x["both"][1],
            "shift_sigma": x["shift_sigma"],
            "shift_chi2": record["shift"]["chi2"],
            "shift_p": record["shift"]["p_value"],
            "ln_s": record["suspiciousness"]["ln_s"],
            "suspiciousness_dof": record["suspiciousness"]["dof"],
            "suspiciousness_p": record["suspiciousness"]["p_value"],
        }
        for name, record in tensions.items()
        for parameter, x in record["parameters"].items()
    ]
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}
