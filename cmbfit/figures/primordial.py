"""Primordial spectra of models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbfit.figures.style import THEORY, new_figure, style
from cmbfit.theory.primordial.model import PrimordialModel


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
