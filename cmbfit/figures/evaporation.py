"""Evaporating primordial black holes: limits on their fraction of the dark matter, and their imprint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.base import Theory
from cmbfit.theory.hawking.published import PublishedLimit
from cmbfit.theory.hawking.response import EvaporationTheory
from cmbfit.theory.parameters import LCDM

EXCLUDED = ((3e13, 2.5e16), "all dark matter: Stöcker et al. 2018, arXiv:1801.01871")
"""Masses [g] that cannot be all of the dark matter by the CMB, as the abstract says; its curve is not published as numbers."""

_SHOWN = 6e13, 6e17  # masses [g]

_PROBES = {
    "CMB": "0.1",
    "gas": "tab:green",
    "cosmic rays": "tab:brown",
    "photons": "tab:purple",
    "neutrinos": "tab:gray",
}

SYSTEMATIC = 0.3
"""Relative error of a limit on f_PBH times deposited share from what the response leaves out; docs/methods/hawking.md."""


def limits_table(limits: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return limits as columns, by mass [g]."""
    rows = sorted(limits, key=lambda r: r["mass_g"])
    keys = ("mass_g", "flat", "flat_error", "log_uniform", "floor", "top", "informative")
    return {key: np.array([r[key] for r in rows]) for key in keys}


def plot_limits(
    limits: Sequence[Mapping[str, Any]],
    efficiency: tuple[float, float] = (0.1, 1.0),
    published: Sequence[PublishedLimit] = (),
) -> Figure:
    """Return 95% limits on f_PBH against mass, for a range of deposited shares, and published ones.

    Parameters
    ----------
    limits : sequence of mapping
        :class:`~cmbfit.inference.limits.UpperLimit` as dicts with ``mass_g``.
    efficiency : (float, float)
        Deposited share of the energy between which the band is drawn.
    published : sequence of PublishedLimit
    """
    table = limits_table(limits)
    mass, good = table["mass_g"], table["informative"].astype(bool)
    with style():
        fig = new_figure(10.5 if published else 8.0, 5.6)
        ax = fig.subplots()
        own = []
        for key, colour, label in (
            ("flat", THEORY, "flat in $f$"),
            ("log_uniform", SECOND, "flat in $\\ln f$"),
        ):
            low, high = (np.minimum(table[key] / e, 1.0) for e in (efficiency[1], efficiency[0]))
            ax.fill_between(mass[good], low[good], high[good], color=colour, alpha=0.25, lw=0)
            own += ax.plot(mass[good], low[good], "o-", ms=4, color=colour, label=f"95%, prior {label}")
        lines = []
        for number, curve in enumerate(published, 1):
            inside = curve.fraction <= 1.0  # a fraction above one excludes nothing
            x, y, colour = curve.mass_g[inside], curve.fraction[inside], _PROBES[curve.probe]
            lines += ax.plot(
                x,
                y,
                "-" if curve.probe == "CMB" else "--",
                lw=0.9,
                color=colour,
                label=f"{number}  {curve.label}",
            )
            # where a curve begins there is more room than where all end, at f = 1
            ax.annotate(
                str(number), (x[0], y[0]), xytext=(-2, 0), textcoords="offset points", ha="right", va="center",
                fontsize=7, color=colour,
            )  # fmt: skip
        ax.plot(EXCLUDED[0], (1.0, 1.0), color=DATA, lw=2)
        ax.annotate(
            EXCLUDED[1],
            (max(EXCLUDED[0][0], _SHOWN[0]), 1.0),
            xytext=(0, 4),
            textcoords="offset points",
            fontsize=6,
            color=DATA,
        )
        for m, top in zip(mass[~good], table["top"][~good], strict=True):
            ax.annotate("not constrained", (m, top), fontsize=7, ha="right", va="top", rotation=90)
        ax.set(
            xscale="log",
            yscale="log",
            xlabel="mass [g]",
            ylabel=r"$f_\mathrm{PBH}$",
            ylim=(None, 10),
            xlim=_SHOWN,
        )
        ax.set_title(
            f"deposited share {efficiency[0]:g} (upper edge) to {efficiency[1]:g} (line)", fontsize=9
        )
        ax.legend(handles=own, loc="lower right", fontsize=8)
        if lines:
            fig.legend(
                handles=lines, loc="outside right upper", fontsize=6.5, title="published", title_fontsize=7
            )
    return fig


def imprint_table(
    base: Theory, masses_and_fractions: Mapping[float, float], point: Mapping[str, float]
) -> dict[str, np.ndarray]:
    """Return relative changes of tt and ee at given masses [g] and fractions, as columns from l = 2."""
    columns: dict[str, np.ndarray] = {}
    values = [point[p] for p in LCDM]
    for mass, fraction in masses_and_fractions.items():
        theory = EvaporationTheory(base, mass)
        theta = torch.tensor([[*values, 0.0], [*values, fraction]], dtype=torch.float64)
        dl = theory.spectra(theta).dl
        columns.setdefault("ell", np.arange(2, theory.lmax + 1))
        for pair in ("tt", "ee"):
            x = dl[pair][:, 2:].numpy()
            columns[f"{pair}_{mass:g}g"] = x[1] / x[0] - 1
    return columns


def plot_imprint(table: Mapping[str, np.ndarray], fractions: Mapping[float, float]) -> Figure:
    """Return the relative changes of :func:`imprint_table`."""
    with style():
        fig = new_figure(9, 3.6)
        axes = fig.subplots(1, 2)
        for ax, pair in zip(axes, ("tt", "ee"), strict=True):
            for mass, fraction in fractions.items():
                ax.plot(
                    table["ell"], 100 * table[f"{pair}_{mass:g}g"], label=f"{mass:g} g, f = {fraction:.2g}"
                )
            ax.axhline(0, color="0.6", lw=0.8)
            ax.set(xscale="log", xlabel=r"$\ell$", ylabel=f"change of {pair.upper()} [%]")
        axes[0].legend(fontsize=8)
    return fig
