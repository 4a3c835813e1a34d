"""Hawking radiation: greybody spectra and the Page curve (semiclassical)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.hawking.page import PageCurve, page_curve
from cmbfit.theory.hawking.rates import FIELDS, emission

_LINES = {
    "scalar": ("0.55", "-."),
    "neutrino": (SECOND, "--"),
    "photon": (THEORY, "-"),
    "graviton": (DATA, ":"),
}


def emission_table() -> dict[str, np.ndarray]:
    """Return M w and dL/dw of each field (M = 1) as columns."""
    table = {"Mw": emission("photon").frequency}
    return table | {f"power_{name}": emission(name).power.sum(1) for name in FIELDS}


def page_table(curve: PageCurve) -> dict[str, np.ndarray]:
    """Return time and entropies as columns, in units of the lifetime and of the initial entropy."""
    return {
        "time": curve.time,
        "black_hole": curve.black_hole,
        "radiation": curve.radiation,
        "entanglement": curve.entanglement,
    }


def plot_emission() -> Figure:
    """Return the power spectra of the massless fields of a Schwarzschild black hole."""
    table = emission_table()
    with style():
        fig = new_figure(5.4, 3.6)
        ax = fig.subplots()
        for name, (colour, line) in _LINES.items():
            label = f"{name}: $L M^2$ = {emission(name).luminosity:.3e}"
            ax.plot(table["Mw"], table[f"power_{name}"] * 1e4, line, color=colour, label=label)
        ax.set(xlabel=r"$M\omega$", ylabel=r"$10^4\,M\,dL/d\omega$", xlim=(0, 0.8), ylim=(0, None))
        ax.legend(fontsize=8)
    return fig


def plot_page(curve: PageCurve | None = None) -> Figure:
    """Return the Page curve of photons and gravitons, labelled as the semiclassical estimate it is."""
    curve = page_curve() if curve is None else curve
    with style():
        fig = new_figure(5.4, 3.6)
        ax = fig.subplots()
        ax.plot(curve.time, curve.black_hole, "--", color="0.5", label="black hole")
        ax.plot(curve.time, curve.radiation, ":", color=SECOND, label="radiation, coarse-grained")
        ax.plot(curve.time, curve.entanglement, color=THEORY, label="entanglement, if unitary")
        ax.axvline(curve.page_time, color="0.8", lw=0.8)
        ax.set(xlabel="t / lifetime", ylabel=r"$S / S_0$", xlim=(0, 1), ylim=(0, 1.6))
        ax.set_title("semiclassical; unitarity is assumed, not derived", fontsize=9)
        ax.legend(fontsize=8)
    return fig
