"""What a primordial spectrum does to the CMB's spectra, beside those of the power law that it departs from."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import SECOND, THEORY, new_figure, style
from cmbfit.theory.spectra import Spectra


def imprint_table(spectra: Spectra, smooth: Spectra) -> dict[str, np.ndarray]:
    """Return l, D_l [uK^2] of a model and of the power law, as columns PAIR and PAIR_power_law from l = 2."""
    table = {"ell": np.arange(2, spectra.lmax + 1)}
    for pair in ("tt", "te", "ee"):
        table[pair] = spectra.dl[pair][0, 2:].numpy()
        table[f"{pair}_power_law"] = smooth.dl[pair][0, 2:].numpy()
    return table


def plot_imprint(table: dict[str, np.ndarray], title: str) -> Figure:
    """Return a column for TT, TE and EE: both spectra above, their difference below.

    Parameters
    ----------
    table : dict
        From :func:`imprint_table`. Differences are relative to D_l, for TE to sqrt(TT EE).
    title : str
    """
    with style():
        fig = new_figure(9.5, 4.5)
        axes = fig.subplots(2, 3, sharex=True, height_ratios=[2, 1])
        for (top, low), pair in zip(axes.T, ("tt", "te", "ee"), strict=True):
            plain, model = table[f"{pair}_power_law"], table[pair]
            top.plot(table["ell"], plain, color=SECOND, lw=0.8, label="power law")
            top.plot(table["ell"], model, color=THEORY, lw=1.0, label=title)
            level = np.sqrt(table["tt_power_law"] * table["ee_power_law"]) if pair == "te" else plain
            low.plot(table["ell"], (model - plain) / level, color=THEORY, lw=1.0)
            low.axhline(0, color="0.7", lw=0.6)
            low.set(xscale="log", xlabel=r"multipole $\ell$")
            top.set_title(pair.upper())
            if pair != "te":
                top.set_yscale("log")
        axes[0, 0].set_ylabel(r"$D_\ell$ [$\mu$K$^2$]")
        axes[1, 0].set_ylabel("relative change")
        axes[0, 0].legend(fontsize=8)
    return fig
