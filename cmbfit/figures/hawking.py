"""Hawking radiation: greybody spectra (semiclassical)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
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
