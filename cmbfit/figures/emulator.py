"""How wrong the emulator is, multipole by multipole."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from cmbfit.figures.style import SECOND, new_figure, style

_TITLES = {"tt": "TT", "te": "TE", "ee": "EE", "pp": r"$\phi\phi$"}


def plot_emulator_error(
    box: Mapping[str, np.ndarray],
    posterior: Mapping[str, np.ndarray],
    n_box: int,
    n_posterior: int,
    mark: float,
) -> Figure:
    """Return |delta D_l| / sigma_CV against l for held-out points of the box and posterior draws.

    Parameters
    ----------
    box : mapping of str to ndarray, shape (4, lmax + 1)
        68, 95, 99 and 100% of the held-out errors over the training box.
    posterior : mapping of str to ndarray, shape (4, lmax + 1)
        The same over draws from a fit's posterior.
    n_box, n_posterior : int
        Numbers of exact models behind them.
    mark : float
        The accuracy asked for at 95%.
    """
    with style():
        fig = new_figure(10, 6.2)
        axes = fig.subplots(2, 2, sharex=True)
        for ax, pair in zip(axes.flat, _TITLES, strict=True):
            ell = np.arange(box[pair].shape[1])[2:]
            p68, p95, p99, p100 = np.maximum(box[pair][:, 2:], 1e-6)
            ax.fill_between(ell, p95, p100, color="0.88", lw=0, label="box: 95% to worst")
            ax.fill_between(ell, p68, p95, color="0.72", lw=0, label="box: 68% to 95%")
            ax.plot(ell, p99, color="0.45", lw=0.7, label="box: 99%")
            ax.plot(
                ell, np.maximum(posterior[pair][1, 2:], 1e-6), color=SECOND, lw=1.2, label="posterior: 95%"
            )
            ax.axhline(mark, color="k", lw=0.8, ls="--", label=f"mark, {mark:g}")
            ax.set(yscale="log", xscale="log", title=_TITLES[pair], ylim=(1e-5, 2), xlim=(2, ell[-1]))
            ax.xaxis.set_minor_formatter(NullFormatter())
        for ax in axes[1]:
            ax.set_xlabel(r"multipole $\ell$")
        for ax in axes[:, 0]:
            ax.set_ylabel(r"$|\Delta D_\ell|\,/\,\sigma_\mathrm{CV}$")
        axes[1, 1].legend(loc="upper left", fontsize=8, ncols=2, bbox_to_anchor=(0.0, 0.82))
        fig.suptitle(
            f"Emulator against CAMB: {n_box} held-out models of the box, {n_posterior} posterior draws",
            fontsize=10,
        )
    return fig


def emulator_error_table(
    box: Mapping[str, np.ndarray], posterior: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Return the plotted numbers as columns."""
    table: dict[str, np.ndarray] = {"ell": np.arange(box["tt"].shape[1])[2:]}
    for where, errors in (("box", box), ("posterior", posterior)):
        for pair in _TITLES:
            for i, percent in enumerate((68, 95, 99, 100)):
                table[f"{where}_{pair}_{percent}"] = errors[pair][i, 2:]
    return table
