"""Posterior predictive checks: bandpowers against replicas, and chi2 of data and replicas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbfit.figures.residuals import effective_multipoles
from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.inference.predictive import PredictiveTest, Replicas


def plot_predictive(replicas: Sequence[Replicas], tests: Sequence[PredictiveTest]) -> Figure:
    """Return a row a data set: bandpowers in the replicas' bands on the left, chi2 of the replicas on the right.

    Parameters
    ----------
    replicas : sequence of Replicas
        Of each data set.
    tests : sequence of PredictiveTest
        Those of ``all`` are drawn, the p-values of the others are written beside them.
    """
    with style():
        fig = new_figure(11, 3.3 * len(replicas))
        axes = fig.subplots(len(replicas), 2, squeeze=False, width_ratios=[2.2, 1])
        for (left, right), replica in zip(axes, replicas, strict=True):
            name = replica.likelihood.info.name
            own = [t for t in tests if t.data_set == name]
            sigma = replica.likelihood.sigma.cpu().numpy()
            centre = replica.model.mean(0)
            low2, low1, _, high1, high2 = (replica.bands() - centre) / sigma
            index = np.arange(len(centre)) + 1
            left.fill_between(index, low2, high2, color="0.90", lw=0, step="mid", label="replicas, 95%")
            left.fill_between(index, low1, high1, color="0.78", lw=0, step="mid", label="replicas, 68%")
            left.plot(index, (replica.data - centre) / sigma, "o", ms=2, color=DATA, label="data")
            for pair, rows in replica.sections.items():
                left.axvline(rows.start + 0.5, color=SECOND, lw=0.6)
                left.text(rows.start + 1, 5.6, pair.upper(), color=SECOND, fontsize=9, va="top")
            left.set(xlim=(0.5, len(index) + 0.5), ylim=(-5.8, 5.8), ylabel="(data − ⟨model⟩) / σ")
            left.set_xlabel(r"multipole $\ell$ of the bandpowers, spectrum after spectrum")
            _mark_multipoles(left, replica)
            left.set_title(replica.likelihood.info.title or name)
            left.legend(loc="lower right", fontsize=8, ncols=3)
            whole = next(t for t in own if t.part == "all")
            right.hist(whole.replicated, bins=40, density=True, color="0.82", label="replicas")
            right.hist(
                whole.observed,
                bins=40,
                density=True,
                histtype="step",
                color=THEORY,
                label="data, over the posterior",
            )
            right.set_xlabel(rf"$\chi^2$ of {whole.n_data} bandpowers")
            right.set_yticks([])
            right.set_title(
                _wrapped(
                    [f"{t.part if t.part == 'all' else t.part.upper()}: p = {t.p_value:.3f}" for t in own]
                ),
                fontsize=8,
            )
            right.legend(loc="upper right", fontsize=8)
    return fig


_APART = 0.055
"""Least distance of two ticks, in the width of the axis: a number of four digits has room."""


def _mark_multipoles(ax: Axes, replica: Replicas) -> None:
    """Put ticks at bandpowers and write their multipoles: first, last and some between of each spectrum."""
    total = len(replica.data)
    places: list[tuple[float, str]] = []
    for rows, ell in zip(replica.sections.values(), effective_multipoles(replica.likelihood), strict=True):
        room = max(1, int(len(ell) / total / (1.6 * _APART)))
        for i in np.unique(np.linspace(0, len(ell) - 1, room + 1).round().astype(int)):
            place = rows.start + 1 + int(i)
            if not places or place - places[-1][0] >= _APART * total:
                places.append((place, f"{ell[i]:.0f}"))
    ax.set_xticks([p for p, _ in places], [text for _, text in places])


def _wrapped(words: Sequence[str], width: int = 3) -> str:
    return "\n".join("   ".join(words[i : i + width]) for i in range(0, len(words), width))


def predictive_table(replicas: Sequence[Replicas]) -> dict[str, np.ndarray]:
    """Return data and replicas' quantiles of every bandpower as columns, in the data's units."""
    columns: dict[str, list[Any]] = {
        k: [] for k in ("data_set", "pair", "data", "sigma", "q2.5", "q16", "q50", "q84", "q97.5")
    }
    for replica in replicas:
        n = len(replica.data)
        pairs = np.concatenate([np.full(s.stop - s.start, p) for p, s in replica.sections.items()])
        columns["data_set"].append(np.full(n, replica.likelihood.info.name))
        columns["pair"].append(pairs)
        columns["data"].append(replica.data)
        columns["sigma"].append(replica.likelihood.sigma.cpu().numpy())
        for key, values in zip(("q2.5", "q16", "q50", "q84", "q97.5"), replica.bands(), strict=True):
            columns[key].append(values)
    return {k: np.concatenate(v) for k, v in columns.items()}


def summary_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return one line a check for a terminal."""
    return "\n".join(
        f"{r['data_set']:32s} {r['part']:12s} n = {r['n_data']:4d}  chi2 = {r['chi2_mean']:7.1f}  p = {r['p_value']:.3f}"
        + ("  FLAGGED" if r["flagged"] else "")
        for r in records
    )
