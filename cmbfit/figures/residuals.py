"""Bandpowers of the fitted data sets with the best-fit model, and residuals in units of the error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.theory.spectra import Spectra


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
        for block, rows in zip(like.blocks, like.sections.values(), strict=True):
            window = block.window
            weight = window.sum(1).numpy()
            ell = (window @ torch.arange(window.shape[1], dtype=window.dtype)).numpy() / weight
            columns["data_set"].append(np.full(len(ell), like.info.name))
            columns["pair"].append(np.full(len(ell), block.pair))
            columns["ell"].append(ell)
            for name, values in (("dl", like.data.numpy()), ("sigma", like.sigma.numpy()), ("model", model)):
                columns[name].append(values[rows] / weight)
    return {name: np.concatenate(parts) if parts else np.empty(0) for name, parts in columns.items()}


def plot_residuals(table: Mapping[str, np.ndarray], spectra: Spectra, chi2: Mapping[str, float]) -> Figure:
    """Return a column per spectrum: bandpowers with the best fit above, residuals / sigma below.

    Parameters
    ----------
    table : mapping
        From :func:`bandpower_table`.
    spectra : Spectra
        The best-fit model, a batch of one.
    chi2 : mapping of str to float
        Of each data set, for the title.
    """
    pairs = [p for p in ("tt", "te", "ee") if p in set(table["pair"])]
    with style():
        fig = new_figure(4.2 * len(pairs), 4.8)
        axes = fig.subplots(2, len(pairs), sharex="col", squeeze=False, height_ratios=[2.2, 1])
        for (top, low), pair in zip(axes.T, pairs, strict=True):
            rows = table["pair"] == pair
            ell, dl, sigma, model = (table[k][rows] for k in ("ell", "dl", "sigma", "model"))
            curve = spectra.dl[pair][0, 2:].numpy()
            last = min(int(ell.max()) + 30, len(curve) + 2)
            top.errorbar(ell, dl, yerr=sigma, fmt="o", ms=2, lw=0.6, color=DATA, label="bandpowers")
            top.plot(np.arange(2, last), curve[: last - 2], color=THEORY, lw=1.2, label="best fit")
            low.axhspan(-1, 1, color="0.9", lw=0)
            low.axhline(0, color=SECOND, lw=0.8)
            low.plot(ell, (dl - model) / sigma, "o", ms=2, color=DATA)
            low.set(ylim=(-4.5, 4.5), xlabel=r"multipole $\ell$", yticks=[-3, 0, 3])
            top.set_title(pair.upper())
            top.set_ylabel(r"$D_\ell$ [$\mu$K$^2$]")
            low.set_ylabel(r"$\Delta/\sigma$")
        axes[0, 0].legend(loc="upper right", fontsize=8)
        fig.suptitle(
            "   ".join(f"{name}: $\\chi^2$ = {x:.1f}" for name, x in chi2.items() if name != "total"),
            fontsize=9,
        )
    return fig
