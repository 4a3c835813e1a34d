"""Figures of forecasts: the triangle of expected errors, and the spectra of mock data with their noise."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from cmbfit.figures.style import DATA, SECOND, SERIES, new_figure, style
from cmbfit.inference.fisher import Forecast
from cmbfit.likelihood.mock import MockSpectra
from cmbfit.theory.parameters import latex_label

_TITLES = {"t": "TT", "e": "EE", "b": "BB", "p": "lensing potential"}
_BINS = 30

Table = dict[str, NDArray]


def plot_forecasts(found: Mapping[str, Forecast]) -> tuple[Figure, Table]:
    """Return the triangle of normal curves and 68% and 95% ellipses of several forecasts, and its numbers, a row a parameter."""
    names = list(dict.fromkeys(p for f in found.values() for p in f.parameters))
    n = len(names)
    colours = {name: SERIES[k % len(SERIES)] for k, name in enumerate(found)}
    with style():
        figure = new_figure(max(5.0, 1.5 * n), max(5.0, 1.5 * n))
        grid = figure.subplots(n, n, squeeze=False)
        for i, j in itertools.product(range(n), range(n)):
            ax = grid[i, j]
            ax.tick_params(labelsize=7, labelleft=False, labelbottom=False)
            ax.ticklabel_format(useOffset=False)
            ax.locator_params(nbins=3)
            if j > i:
                ax.set_axis_off()
                continue
            for name, f in found.items():
                if {names[i], names[j]} <= {*f.parameters}:
                    _draw(ax, f, f.parameters.index(names[j]), f.parameters.index(names[i]), colours[name])
            if i == n - 1:
                ax.set_xlabel(f"${latex_label(names[j])}$")
                ax.tick_params(axis="x", labelbottom=True, rotation=45)
            if j == 0 and i:
                ax.set_ylabel(f"${latex_label(names[i])}$")
                ax.tick_params(axis="y", labelleft=True)
            if i == j:
                ax.set_yticks([])
        figure.align_labels()
        lines = [Line2D([], [], color=c) for c in colours.values()]
        figure.legend(lines, list(found), loc="upper right", bbox_to_anchor=(0.98, 0.98), fontsize=11)
    rows = [(name, p, k) for name, f in found.items() for k, p in enumerate(f.parameters)]
    return figure, {
        "fit": np.array([name for name, _, _ in rows]),
        "parameter": np.array([p for _, p, _ in rows]),
        "model": np.array([found[name].point[k] for name, _, k in rows]),
        "sigma": np.array([found[name].sigma[k] for name, _, k in rows]),
        "sigma_others_known": np.array([found[name].conditional[k] for name, _, k in rows]),
    }


def _draw(ax: Axes, f: Forecast, x: int, y: int, colour: str) -> None:
    """Draw a normal curve (x = y) or the two ellipses."""
    if x == y:
        t = np.linspace(-3.5, 3.5, 200)
        ax.plot(f.point[x] + f.sigma[x] * t, np.exp(-(t**2) / 2), color=colour)
        return
    root = np.linalg.cholesky(f.covariance[np.ix_([x, y], [x, y])])
    turn = np.linspace(0, 2 * np.pi, 200)
    for share, width in ((0.683, 1.4), (0.954, 0.8)):
        ring = np.sqrt(-2 * np.log(1 - share)) * root @ [np.cos(turn), np.sin(turn)]
        ax.plot(f.point[x] + ring[0], f.point[y] + ring[1], color=colour, lw=width)


def plot_mock_spectra(mock: MockSpectra) -> tuple[Figure, Table]:
    """Return the auto-spectra of a mock data set, their noise, and the error of bands of multipoles; and these numbers."""
    bands = mock.bands(_BINS)
    columns = min(2, len(bands))
    rows = -(-len(bands) // columns)
    with style():
        figure = new_figure(4.6 * columns, 3.1 * rows)
        for k, (x, band) in enumerate(bands.items()):
            ax = figure.add_subplot(rows, columns, k + 1)
            ax.errorbar(
                band.ell, band.signal, band.sigma, fmt="o", ms=2.5, lw=1, color=DATA, label="mock data"
            )
            ax.plot(band.ell, band.noise, color=SECOND, ls="--", label="noise of one multipole")
            ax.set(
                xscale="log", yscale="log", title=_TITLES[x], xlabel="multipole L" if x == "p" else "multipole $\\ell$",
                ylabel=r"$[L(L+1)]^2 C_L^{\phi\phi}/2\pi$" if x == "p" else r"$D_\ell$ [$\mu$K$^2$]",
            )  # fmt: skip
            low = (band.signal - band.sigma)[band.signal > band.sigma]
            ax.set_ylim(
                bottom=0.3 * min(low.min(initial=band.signal.min()), band.signal.min()),
                top=5 * band.signal.max(),
            )
            if k == 0:
                ax.legend()
    stack = {
        key: np.concatenate([getattr(b, key) for b in bands.values()])
        for key in ("ell", "signal", "sigma", "noise")
    }
    return figure, {"spectrum": np.concatenate([[x + x] * len(b.ell) for x, b in bands.items()]), **stack}
