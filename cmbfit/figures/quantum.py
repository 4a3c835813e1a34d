"""Squeezed pairs: quanta and entropy by squeezing, through horizon exit, and outside a black hole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.quantum import squeezing_entropy
from cmbfit.theory.quantum.gaussian import bosonic_entropy


def plot_states(record: Mapping[str, Any]) -> Figure:
    """Return three panels of quanta (blue) and entropy (red).

    Parameters
    ----------
    record : mapping
        From :func:`cmbfit.theory.quantum.tables.state_tables`.
    """
    s, p, h = record["squeezing"], record["primordial"], record["hawking"]
    with style():
        fig = new_figure(11, 3.3)
        pair, exit_, hole = fig.subplots(1, 3)
        r = np.linspace(0, max(s["r"]), 100)
        pair.plot(r, np.sinh(r) ** 2, color=THEORY, label=r"quanta $\sinh^2 r$")
        pair.plot(r, squeezing_entropy(r), color=SECOND, ls="--", label="entropy")
        pair.plot(s["r"], s["quanta_fock"], "o", mfc="none", color=THEORY, ms=5)
        pair.plot(
            s["r"], s["entropy_fock"], "o", mfc="none", color=SECOND, ms=5, label="truncated Fock space"
        )
        pair.set(xlabel="squeezing r", ylabel="quanta; nats")
        pair.set_title("a squeezed pair, one mode")
        x = np.geomspace(0.03, 30, 200)
        exit_.loglog(x, 1 / (4 * x**2), color=THEORY, label=r"de Sitter $1/4x^2$")
        exit_.loglog(x, bosonic_entropy(1 / (4 * x**2)), color=SECOND, ls="--", label="entropy")
        exit_.loglog(p["k_over_ah"], p["quanta"], "o", mfc="none", color=THEORY, label="solved modes")
        exit_.loglog(p["k_over_ah"], p["entropy"], "o", mfc="none", color=SECOND)
        exit_.invert_xaxis()
        exit_.set(xlabel=r"$x = k/aH$ (time to the right)", ylabel="quanta; nats")
        exit_.set_title("primordial pair k, -k")
        hole.plot(h["Mw"], h["quanta_at_horizon"], color="0.6", ls=":", label="quanta at the horizon")
        hole.plot(h["Mw"], h["quanta"], color=THEORY, label=r"quanta outside, $n\,\Gamma$")
        hole.plot(h["Mw"], h["entropy"], color=SECOND, ls="--", label="entropy outside")
        hole.set(xlabel=r"$M\omega$", ylabel="quanta; nats", xlim=(0, 0.6), ylim=(0, 1.6 * max(h["entropy"])))
        hole.set_title("Hawking photons, l = 1")
        for ax in (pair, exit_, hole):
            ax.legend(fontsize=8)
        fig.supxlabel(record["label"], fontsize=8, color=DATA)
    return fig


def state_table(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the plotted quanta and entropies, one row a point of a panel."""
    columns = {"squeezing": "r", "primordial": "k_over_ah", "hawking": "Mw"}
    return {
        "panel": np.concatenate([[name] * len(record[name][x]) for name, x in columns.items()]),
        "x": np.concatenate([np.array(record[name][x]) for name, x in columns.items()]),
        "quanta": np.concatenate([np.array(record[name]["quanta"]) for name in columns]),
        "entropy_nats": np.concatenate([np.array(record[name]["entropy"]) for name in columns]),
    }
