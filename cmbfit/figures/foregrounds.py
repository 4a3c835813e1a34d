"""Spectra of several frequencies with their foregrounds: components, residuals and chi2 of each, amplitudes beside papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.figure import Figure
from scipy import stats

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.inference.products import Samples
from cmbfit.likelihood.datasets.catalog import dataset_names, description
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.priors import Gaussian
from cmbfit.likelihood.steps import Rescale
from cmbfit.theory.spectra import Spectra

_LABELS = {
    "PoissonPower": "Poisson sources",
    "RadioPoisson": "radio sources",
    "CIBClustering": "clustered CIB",
    "GalacticDust": "Galactic dust",
    "tSZTemplateForeground": "thermal SZ",
    "kSZTemplateForeground": "kinematic SZ",
    "CIBtSZCorrelationGeometricMean": "CIB x tSZ",
}
"""Steps to their names in the figure; others go by their class."""

_COLOURS = ("#c8553d", "#e6a532", "#5b8c5a", "#7b5ea7", "#0aa1a1", "#8a6d3b", "#d36ba3", "#6c757d")
_FIXED = ("data_set", "spectrum", "ell", "dl", "sigma", "model", "chi2", "n", "pte", "cmb")


def component_table(
    like: MultiFrequencyBandpowers, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Return data, model and its components in every bandpower as columns, in D_l [uK^2].

    A bandpower is shown as an effective D_l, as in :func:`~cmbfit.figures.residuals.bandpower_table`. ``cmb`` and the columns
    after it sum to ``model``. ``chi2``, ``n`` and ``pte`` are those of a row's spectrum alone, with its own block of the
    covariance (at the data, where it moves); no parameter is subtracted from n, for they are fitted to all spectra together.

    Parameters
    ----------
    spectra : Spectra
        A batch of one.
    nuisance : mapping of str to torch.Tensor, shape (1,)
    """
    model = like.model
    values = like.own_names({n: nuisance[n] for n in like.info.nuisance})
    with torch.no_grad():
        total = like.bandpowers(spectra, {n: nuisance[n] for n in like.info.nuisance})[0].numpy()
        factors = model.factors(values)
        parts: dict[str, np.ndarray] = {}
        for term in model.added:
            name = type(model.steps[term.step]).__name__ if term.step >= 0 else "constant"
            label = _LABELS.get(name, name)
            seen = model.of_added(term, values, factors).expand(1, -1)[0].numpy()
            parts[label] = parts.get(label, 0.0) + seen
    covariance, data = like.covariance.numpy(), like.data.numpy()
    columns: dict[str, list[np.ndarray]] = {k: [] for k in (*_FIXED, *parts)}
    for block, rows in zip(like.blocks, like.sections.values(), strict=True):
        window = block.window.numpy()
        weight = window.sum(1)
        n = len(weight)
        residual = (data - total)[rows]
        chi2 = float(residual @ np.linalg.solve(covariance[rows, rows], residual))
        whole = {
            "data_set": like.info.name, "spectrum": block.name, "chi2": chi2, "n": n,
            "pte": float(stats.chi2.sf(chi2, n)),
        }  # fmt: skip
        for name, value in whole.items():
            columns[name].append(np.full(n, value))
        columns["ell"].append(window @ np.arange(window.shape[1]) / weight)
        foregrounds = sum((x[rows] for x in parts.values()), np.zeros(n))
        shown = {"dl": data, "sigma": like.sigma.numpy(), "model": total, **parts}
        for name, x in shown.items():
            columns[name].append(x[rows] / weight)
        columns["cmb"].append((total[rows] - foregrounds) / weight)
    return {name: np.concatenate(x) for name, x in columns.items()}


def component_tables(
    likelihoods: Sequence[MultiFrequencyBandpowers], spectra: Spectra, nuisance: Mapping[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Return the tables of several data sets below each other; components that one lacks are zero."""
    tables = [component_table(like, spectra, nuisance) for like in likelihoods]
    if len(tables) > 1:
        for table in tables:
            named = [f"{s} ({d})" for s, d in zip(table["spectrum"], table["data_set"], strict=True)]
            table["spectrum"] = np.array(named)
    columns = dict.fromkeys(name for table in tables for name in table)
    return {c: np.concatenate([t.get(c, np.zeros(len(t["ell"]))) for t in tables]) for c in columns}


def plot_components(table: Mapping[str, np.ndarray]) -> Figure:
    """Return a panel per spectrum: bandpowers, CMB and foregrounds above, residuals / sigma below, with chi2 and PTE.

    Parameters
    ----------
    table : mapping
        From :func:`component_tables`.
    """
    names = list(dict.fromkeys(table["spectrum"].tolist()))
    pairs = list(dict.fromkeys(n.split()[0] for n in names))
    grid = {p: [n for n in names if n.split()[0] == p] for p in pairs}
    rows, parts = max(map(len, grid.values())), [k for k in table if k not in _FIXED]
    with style():
        fig = new_figure(4.4 * len(pairs), 2.7 * rows)
        axes = fig.subplots(2 * rows, len(pairs), sharex=True, squeeze=False, height_ratios=[2.2, 1] * rows)
        handles: dict[str, Artist] = {}
        for column, pair in enumerate(pairs):
            for row in range(rows):
                top, low = axes[2 * row, column], axes[2 * row + 1, column]
                if row >= len(grid[pair]):
                    top.set_axis_off()
                    low.set_axis_off()
                    continue
                mine = table["spectrum"] == grid[pair][row]
                _panel(top, low, {k: v[mine] for k, v in table.items()}, parts, handles)
            axes[-1, column].set_xlabel(r"multipole $\ell$")
        fig.legend(
            handles.values(),
            handles.keys(),
            loc="outside upper center",
            ncols=min(5, len(handles)),
            fontsize=9,
        )
    return fig


def _panel(top, low, t: Mapping[str, np.ndarray], parts: Sequence[str], handles: dict[str, Artist]) -> None:  # type: ignore[no-untyped-def]
    handles["bandpowers"] = top.errorbar(
        t["ell"], t["dl"], yerr=t["sigma"], fmt="o", ms=2, lw=0.6, color=DATA
    )
    (handles["model"],) = top.plot(t["ell"], t["model"], color=THEORY, lw=1.2)
    (handles["CMB"],) = top.plot(t["ell"], t["cmb"], color="0.55", lw=1.0, ls="--")
    positive = t["spectrum"][0].split()[0] != "TE"
    for colour, part in zip(_COLOURS * 2, parts, strict=False):
        if np.any(t[part]):
            # a negative correlation shows by its size, dashed
            shown = np.abs(t[part]) if positive else t[part]
            (handles[part],) = top.plot(
                t["ell"], shown, color=colour, lw=1.0, ls="-" if t[part].sum() >= 0 else ":"
            )
    if positive:
        smallest = t["dl"].max() * (5e-4 if "TT" in t["spectrum"][0] else 1e-3)
        top.set(yscale="log", ylim=(smallest, 3 * t["dl"].max()))
    top.set_title(
        f"{t['spectrum'][0]}: $\\chi^2$ = {t['chi2'][0]:.1f}/{t['n'][0]}, PTE {t['pte'][0]:.2f}", fontsize=9
    )
    top.set_ylabel(r"$D_\ell$ [$\mu$K$^2$]")
    low.axhspan(-1, 1, color="0.9", lw=0)
    low.axhline(0, color=SECOND, lw=0.8)
    low.plot(t["ell"], (t["dl"] - t["model"]) / t["sigma"], "o", ms=2, color=DATA)
    low.set(ylim=(-4.5, 4.5), yticks=[-3, 0, 3], ylabel=r"$\Delta/\sigma$")


def amplitude_table(
    likelihoods: Sequence[MultiFrequencyBandpowers], samples: Samples
) -> dict[str, np.ndarray]:
    """Return foreground parameters as columns: mean and standard deviation, prior, a paper's value and which paper.

    Parameters
    ----------
    likelihoods : sequence of MultiFrequencyBandpowers
    samples : Samples
        Of the fit.
    """
    out: dict[str, list[Any]] = {
        k: [] for k in ("parameter", "mean", "std", "prior_mean", "prior_std", "paper", "paper_std", "source")
    }
    for like in likelihoods:
        scales = {n for s in like.model.steps if isinstance(s, Rescale) for n in s.parameters}
        known = description(like.info.name).get("papers", {}) if like.info.name in dataset_names() else {}
        for own in like.model.parameters:
            name = like.outside(own)
            if own in scales or name not in samples.names or name in out["parameter"]:
                continue
            x = samples.joined[:, samples.names.index(name)]
            prior, paper = like.info.nuisance[name], known.get(own, {})
            gaussian = (prior.mean, prior.std) if isinstance(prior, Gaussian) else (np.nan, np.nan)
            row = [name, float(x.mean()), float(x.std()), *gaussian]
            row += [paper.get("value", np.nan), paper.get("error", np.nan), paper.get("source", "")]
            for column, value in zip(out.values(), row, strict=True):
                column.append(value)
    return {k: np.array(v) for k, v in out.items()}


def plot_amplitudes(table: Mapping[str, np.ndarray]) -> Figure:
    """Return each foreground parameter about its prior, in the prior's widths, with the papers' values beside.

    Parameters
    ----------
    table : mapping
        From :func:`amplitude_table`.
    """
    names = [str(x) for x in table["parameter"]]
    mean, std, centre, width, paper, error = (
        np.array(table[k], dtype=float)
        for k in ("mean", "std", "prior_mean", "prior_std", "paper", "paper_std")
    )
    flat = ~np.isfinite(width)  # by its own posterior where there is no width of a prior
    centre, width = np.where(flat, mean, centre), np.where(flat, np.maximum(std, 1e-300), width)
    y = np.arange(len(names))[::-1]
    with style():
        fig = new_figure(8.6, 0.27 * len(names) + 1.4)
        ax = fig.subplots()
        ax.axvspan(-1, 1, color="0.92", lw=0, label="prior (68%)")
        ax.errorbar(
            (mean - centre) / width,
            y,
            xerr=std / width,
            fmt="o",
            ms=3.5,
            lw=1.2,
            color=THEORY,
            label="this fit",
        )
        ax.errorbar(
            (paper - centre) / width,
            y - 0.3,
            xerr=error / width,
            fmt="D",
            ms=3.5,
            lw=1.0,
            color=SECOND,
            label="paper",
        )
        ax.set_yticks(y, names, fontsize=8)
        ax.set(xlabel="(value - prior mean) / prior width", ylim=(-0.9, len(names) - 0.3))
        right = ax.secondary_yaxis("right")
        right.set_yticks(y, [f"{m:.3g} ± {s:.2g}" for m, s in zip(mean, std, strict=True)], fontsize=8)
        right.tick_params(length=0)
        ax.spines["right"].set_visible(False)
        ax.legend(loc="upper center", bbox_to_anchor=(0.5, 1.09), ncols=3)
        sources = dict.fromkeys(str(s) for s in table["source"] if s)
        if sources:
            ax.set_title("; ".join(sources), fontsize=7, loc="left", pad=4)
    return fig
