"""How an emulator's settings were chosen, and what more training would buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import SECOND, THEORY, new_figure, style

_SOURCES = {"cmb": "TT, TE, EE (rms over l)", "lowl_ee": "EE at l < 30 (worst l)"}
_MARKERS = "osD^vP*X"


def plot_search(record: Mapping[str, Any]) -> Figure:
    """Return validation errors of the candidates against their terms, and the learning curve.

    Parameters
    ----------
    record : mapping
        Product of the rule `search_emulator`.
    """
    with style():
        fig = new_figure(10, 4)
        left, right = fig.subplots(1, 2)
        for (source, label), colour in zip(_SOURCES.items(), (THEORY, SECOND), strict=True):
            terms = [row["terms"] for row in record["candidates"]]
            errors = [row["errors"][source][1] for row in record["candidates"]]
            left.plot(terms, errors, "o", color=colour, label=label)
            best = int(np.argmin(errors))
            left.plot(terms[best], errors[best], "o", ms=12, mfc="none", color=colour)
            curve = record["learning_curve"]
            spectra = [row["spectra"] for row in curve]
            right.plot(spectra, [row["errors"][source][1] for row in curve], "o-", color=colour, label=label)
        left.set(xlabel="polynomial terms", title="Candidates; the choice is ringed")
        right.set(xlabel="training spectra", title="Learning curve of the choice", xscale="log")
        for ax in (left, right):
            ax.set(yscale="log", ylabel=r"99% of $|\Delta D_\ell|\,/\,\sigma_\mathrm{CV}$, validation")
            ax.legend()
    return fig


def search_table(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the plotted numbers as columns."""
    rows = [("candidate", row["terms"], row) for row in record["candidates"]]
    rows += [("learning_curve", row["spectra"], row) for row in record["learning_curve"]]
    table: dict[str, np.ndarray] = {
        "kind": np.array([kind for kind, _, _ in rows]),
        "terms_or_spectra": np.array([n for _, n, _ in rows]),
    }
    for source in rows[0][2]["errors"]:
        table[f"{source}_99"] = np.array([row["errors"][source][1] for _, _, row in rows])
    return table


def plot_finetuning(curve: Sequence[Mapping[str, Any]], extension: str) -> Figure:
    """Return test error against the number of Boltzmann runs, a line for each method.

    Parameters
    ----------
    curve : sequence of mappings
        From :func:`~cmbfit.theory.emulator.comparison.finetuning_curve`.
    extension : str
        What was learned, for the title.
    """
    with style():
        fig = new_figure(10, 4)
        panels = fig.subplots(1, 2)
        methods = list(dict.fromkeys(row["method"] for row in curve))
        for ax, pair in zip(panels, ("tt", "ee"), strict=True):
            for i, method in enumerate(methods):
                rows = [row for row in curve if row["method"] == method]
                ax.plot(
                    [row["runs"] for row in rows],
                    [row["errors"][pair][1] for row in rows],
                    marker=_MARKERS[i],
                    color=f"{0.1 + 0.11 * i:.2f}",
                    label=method.replace("_", " "),
                )
            ax.set(xscale="log", yscale="log", xlabel="Boltzmann runs", title=f"{extension}: {pair.upper()}")
            ax.set_ylabel(r"99% of $|\Delta D_\ell|\,/\,\sigma_\mathrm{CV}$, held-out models")
        panels[1].legend(fontsize=8)
    return fig


def finetuning_table(curve: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the plotted numbers as columns."""
    table = {key: np.array([row[key] for row in curve]) for key in ("runs", "backgrounds", "method")}
    for pair in curve[0]["errors"]:
        for i, percent in enumerate((95, 99, 100)):
            table[f"{pair}_{percent}"] = np.array([row["errors"][pair][i] for row in curve])
    return table
