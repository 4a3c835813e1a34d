"""Bandpowers of the fitted data sets with the best-fit model, and residuals in units of the error."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy import stats

from cmbfit.figures.multipoles import set_multipole_scale
from cmbfit.figures.style import SERIES, THEORY, new_figure, style
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.theory.spectra import Spectra


def effective_multipoles(like: GaussianBandpowers | MultiFrequencyBandpowers) -> list[np.ndarray]:
    """Return the mean multipole of each bandpower's window, an array for each block of the data set."""
    out = []
    for block in like.blocks:
        window = block.window.cpu()
        ell = torch.arange(window.shape[1], dtype=window.dtype)
        out.append((window @ ell).numpy() / window.sum(1).numpy())
    return out


def bandpower_table(
    likelihoods: Sequence[GaussianBandpowers | MultiFrequencyBandpowers],
    spectra: Spectra,
    nuisance: Mapping[str, torch.Tensor],
) -> dict[str, np.ndarray]:
    """Return data and best fit of every bandpower as columns, in D_l [uK^2].

    A bandpower sum_l W_l D_l is shown as an effective D_l: divided by sum_l W_l, at the window's mean
    multipole.
    """
    columns: dict[str, list[np.ndarray]] = {
        k: [] for k in ("data_set", "pair", "ell", "dl", "sigma", "model")
    }
    for like in likelihoods:
        model = like.bandpowers(spectra, {n: nuisance[n] for n in like.info.nuisance})[0].numpy()
        blocks = zip(like.blocks, like.sections.values(), effective_multipoles(like), strict=True)
        for block, rows, ell in blocks:
            weight = block.window.sum(1).numpy()
            columns["data_set"].append(np.full(len(ell), like.info.name))
            columns["pair"].append(np.full(len(ell), block.pair))
            columns["ell"].append(ell)
            for name, values in (("dl", like.data.numpy()), ("sigma", like.sigma.numpy()), ("model", model)):
                columns[name].append(values[rows] / weight)
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()}


def plot_residuals(
    table: Mapping[str, np.ndarray],
    spectra: Spectra,
    chi2: Mapping[str, float],
    titles: Mapping[str, str] | None = None,
) -> Figure:
    """Return a column per spectrum: bandpowers with the best fit above, residuals / sigma below.

    Parameters
    ----------
    table : mapping
        From :func:`bandpower_table`.
    spectra : Spectra
        The best-fit model, a batch of one.
    chi2 : mapping of str to float
        Of each data set, for the legend.
    titles : mapping of str to str, optional
        What data sets are called; by default their names.
    """
    pairs = [p for p in ("tt", "te", "ee") if p in set(table["pair"])]
    sets = list(dict.fromkeys(table["data_set"].tolist()))
    colours = dict(zip(sets, itertools.cycle(SERIES)))
    with style():
        fig = new_figure(max(4.2, 3.8 * len(pairs)), 4.6 + 0.22 * len(chi2))
        axes = fig.subplots(2, len(pairs), sharex="col", squeeze=False, height_ratios=[2.2, 1])
        for (top, low), pair in zip(axes.T, pairs, strict=True):
            curve = spectra.dl[pair][0, 2:].numpy()
            rows = table["pair"] == pair
            last = min(int(table["ell"][rows].max()) + 30, len(curve) + 2)
            low.axhspan(-1, 1, color="0.9", lw=0)
            low.axhline(0, color=THEORY, lw=0.8)
            for name in sets:
                own = rows & (table["data_set"] == name)
                ell, dl, sigma, model = (table[k][own] for k in ("ell", "dl", "sigma", "model"))
                top.errorbar(ell, dl, yerr=sigma, fmt="o", ms=2, lw=0.6, color=colours[name], alpha=0.7)
                low.plot(ell, (dl - model) / sigma, "o", ms=2, color=colours[name])
            # over the points, with a pale rim: hundreds of them hide a line
            top.plot(np.arange(2, last), curve[: last - 2], color="white", lw=2.6, zorder=4)
            top.plot(np.arange(2, last), curve[: last - 2], color=THEORY, lw=1.3, zorder=5, label="best fit")
            low.set(ylim=(-4.5, 4.5), xlabel=r"multipole $\ell$", yticks=[-3, 0, 3])
            top.set_title(f"{pair.upper()}, {rows.sum()} bandpowers")
            set_multipole_scale(low, last)
        axes[0, 0].set_ylabel(r"$D_\ell$ [$\mu$K$^2$]")
        axes[1, 0].set_ylabel("(data − fit) / σ")
        axes[0, 0].legend(loc="upper right", fontsize=8)
        handles = [
            Line2D([], [], marker="o", ls="", ms=4, color=colours.get(n, "none"))
            for n in chi2
            if n != "total"
        ]
        fig.legend(handles, _legend(table, chi2, titles or {}), loc="outside upper left", ncols=1)
    return fig


def _legend(
    table: Mapping[str, np.ndarray], chi2: Mapping[str, float], titles: Mapping[str, str]
) -> list[str]:
    """Say chi2, number of values and PTE of each data set; one that is not drawn has chi2 alone."""
    out = []
    for name, value in chi2.items():
        if name == "total":
            continue
        n = int((table["data_set"] == name).sum())
        pte = f" for {n}, PTE {stats.chi2.sf(value, n):.2f}" if n else " (not drawn: no Gaussian bandpowers)"
        out.append(f"{titles.get(name, name)}: $\\chi^2$ = {value:.1f}{pte}")
    return out
