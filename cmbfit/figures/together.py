"""Bandpowers of all data sets that a run fits, spectrum by spectrum, with one best fit."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from cmbfit.errors import DataError
from cmbfit.figures.multipoles import set_multipole_scale
from cmbfit.figures.style import SERIES, THEORY, new_figure, style

COLUMNS = ("data_set", "pair", "ell", "dl", "sigma", "model")


def join_tables(tables: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Join tables of :func:`cmbfit.figures.residuals.bandpower_table`; a data set that several fits count comes once.

    Its model is that of the first fit that counts it.
    """
    seen: set[str] = set()
    parts: dict[str, list[np.ndarray]] = {key: [] for key in COLUMNS}
    for table in tables:
        new = ~np.isin(table["data_set"], sorted(seen))
        seen |= set(table["data_set"].tolist())
        for key in COLUMNS:
            parts[key].append(np.asarray(table[key])[new])
    if not seen:
        raise DataError("bandpowers together: none of the fits has Gaussian bandpowers")
    return {key: np.concatenate(values) for key, values in parts.items()}


def plot_together(table: Mapping[str, np.ndarray], label: str) -> Figure:
    """Return a row for each spectrum: bandpowers by data set, and the best fit through their own windows.

    Parameters
    ----------
    table : mapping
        From :func:`join_tables`; D_l in uK^2.
    label : str
        Of the fit whose best fit is drawn.
    """
    pairs = [p for p in ("tt", "te", "ee", "bb", "pp") if p in set(table["pair"])]
    sets = list(dict.fromkeys(table["data_set"].tolist()))
    colours = dict(zip(sets, itertools.cycle(SERIES)))
    with style():
        fig = new_figure(10, 2.6 * len(pairs) + 0.5 + 0.2 * (len(sets) // 3))
        axes = fig.subplots(len(pairs), 1, squeeze=False)[:, 0]
        for ax, pair in zip(axes, pairs, strict=True):
            of_pair = table["pair"] == pair
            for name in sets:
                rows = of_pair & (table["data_set"] == name)
                ell, dl, sigma = (table[key][rows] for key in ("ell", "dl", "sigma"))
                ax.errorbar(ell, dl, yerr=sigma, fmt="o", ms=2.5, lw=0.7, color=colours[name], alpha=0.75)
            order = np.argsort(table["ell"][of_pair])
            ell, model = table["ell"][of_pair][order], table["model"][of_pair][order]
            ax.plot(ell, model, color="white", lw=2.6, zorder=4)
            ax.plot(ell, model, color=THEORY, lw=1.2, zorder=5)
            ax.set_ylabel(
                rf"$D_\ell^{{{pair.upper()}}}$ [$\mu$K$^2$]" if pair != "pp" else r"$D_L^{\phi\phi}$"
            )
            set_multipole_scale(ax, float(ell.max()))
        axes[-1].set_xlabel(r"multipole $\ell$")
        handles = [axes[0].plot([], [], "o", ms=4, color=colours[name], label=name)[0] for name in sets]
        handles.append(axes[0].plot([], [], color=THEORY, label=f"best fit: {label}")[0])
        fig.legend(handles=handles, loc="outside upper left", ncols=2, fontsize=8)
    return fig
