"""Primordial spectra of models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbfit.figures.style import SECOND, THEORY, new_figure, style
from cmbfit.theory.primordial.model import PrimordialModel
from cmbfit.theory.spectra import Spectra


def primordial_table(models: Sequence[PrimordialModel], k: np.ndarray) -> dict[str, np.ndarray]:
    """Return k [1/Mpc] and the power of each model at its defaults, as columns."""
    grid = torch.from_numpy(k)
    return {"k_per_Mpc": k} | {m.name: m.power(grid, m.defaults())[0].detach().numpy() for m in models}


def plot_primordial(models: Sequence[PrimordialModel], k: np.ndarray) -> Figure:
    """Return one panel for each model: its power at the default parameters against the power law's.

    Parameters
    ----------
    models : sequence of PrimordialModel
    k : numpy.ndarray, shape (n_k,)
        1/Mpc.
    """
    table = primordial_table(models, k)
    columns = min(3, len(models))
    rows = -(-len(models) // columns)
    with style():
        fig = new_figure(3.3 * columns, 2.1 * rows)
        axes = fig.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for ax, model in zip(axes, models, strict=False):
            power = table[model.name]
            if model.kind == "scalar":
                tilt = np.exp(3.044) * 1e-10 * (k / 0.05) ** (0.9649 - 1)
                ax.loglog(k, tilt * 1e9, color="0.7", lw=1)
            ax.loglog(k, power * 1e9, color=THEORY)
            ax.set_title(model.title, fontsize=9)
            ax.set_ylim(max(0.3 * np.median(power) * 1e9 * 0.1, power.min() * 0.8e9), power.max() * 1.4e9)
        for ax in axes[len(models) :]:
            ax.set_visible(False)
        for ax in axes[len(models) - columns : len(models)]:  # the lowest of each column
            ax.set_xlabel("k [1/Mpc]")
            ax.tick_params(labelbottom=True)
        for ax in axes[::columns]:
            ax.set_ylabel(r"$10^9\,\mathcal{P}(k)$")
    return fig


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
