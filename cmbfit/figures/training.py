"""How an emulator's settings were chosen, what measures best, and what more training would buy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style

_SOURCES = {"cmb": "TT, TE, EE (rms over l)", "lowl_ee": "EE at l < 30 (worst l)"}
_MARKERS = "osD^vP*X"
_MODEL_COLOURS = (DATA, THEORY, SECOND)


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
            law = rf"{label}: $N^{{{record['power_law'][source]['exponent']:.1f}}}$"
            right.plot(spectra, [row["errors"][source][1] for row in curve], "o-", color=colour, label=law)
        left.set(xlabel="polynomial terms", title="Candidates; the choice is ringed")
        right.set(xlabel="training spectra", title="Learning curve of the choice", xscale="log")
        right.set_xticks(spectra, [str(n) for n in spectra])
        right.minorticks_off()
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


def plot_emulators(record: Mapping[str, Any]) -> Figure:
    """Return held-out errors of polynomials, network and both, and the networks' loss curves.

    Parameters
    ----------
    record : mapping
        Product of the rule `compare_emulators`.
    """
    models = record["models"]
    parts = list(models["polynomial"]["errors"])
    with style():
        fig = new_figure(5 * (len(parts) + 1), 4)
        panels = fig.subplots(1, len(parts) + 1)
        for i, ((name, model), colour) in enumerate(zip(models.items(), _MODEL_COLOURS, strict=True)):
            for ax, part in zip(panels, parts, strict=False):
                pairs = list(model["errors"][part])
                _, p99, worst = np.array([model["errors"][part][pair] for pair in pairs]).T
                x = np.arange(len(pairs)) + 0.2 * (i - 1)  # beside each other, not on top
                ax.vlines(x, p99, worst, color=colour, lw=0.8)
                ax.plot(x, p99, "o", color=colour, label=f"{name}: 99% to largest")
                ax.plot(x, worst, "_", ms=9, color=colour)
            if "history" in model:
                curve = model["history"]
                panels[-1].plot(curve["step"], curve["validation"], color=colour, label=f"{name}: validation")
                panels[-1].plot(curve["step"], curve["training"], ":", color=colour, label="training batch")
        for ax, part in zip(panels, parts, strict=False):
            ax.set(title=f"Held-out models of the {part}", ylabel=r"$|\Delta D_\ell|\,/\,\sigma_\mathrm{CV}$")
            ax.set_xticks(range(len(pairs)), [pair.upper() for pair in pairs])
        panels[-1].set(
            title="Loss curves", xlabel="optimiser step", ylabel="loss (each net in its own units)"
        )
        for ax in panels:
            ax.set_yscale("log")
        panels[0].legend(fontsize=7, loc="upper left")
        panels[0].set_ylim(top=5 * panels[0].get_ylim()[1])  # room for the legend
        panels[-1].legend(fontsize=7)
    return fig


def emulators_table(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the plotted numbers as columns: errors (95, 99, 100%), then losses (training, validation)."""
    rows: list[tuple[str, str, str, float, float, float]] = []
    for name, model in record["models"].items():
        for part, errors in model["errors"].items():
            rows += [(name, part, pair, *values) for pair, values in errors.items()]
        history = model.get("history", {"step": [], "training": [], "validation": []})
        losses = zip(history["step"], history["training"], history["validation"], strict=True)
        rows += [(name, "loss", str(step), a, b, b) for step, a, b in losses]
    names = ("model", "part", "pair_or_step", "p95_or_training", "p99_or_validation", "max_or_validation")
    return {n: np.array(column) for n, column in zip(names, zip(*rows, strict=True), strict=True)}


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
            runs = sorted({row["runs"] for row in curve})
            ax.set_xticks(runs, [str(n) for n in runs])
            ax.minorticks_off()
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
