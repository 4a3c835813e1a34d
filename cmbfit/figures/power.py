"""The primordial spectrum of a power-law fit, and which of its wavenumbers the data see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import SERIES, THEORY, new_figure, style
from cmbfit.inference.products import Samples

PIVOT = 0.05
"""Wavenumber in 1/Mpc at which A_s and n_s are given."""
DISTANCE = 13_900.0
"""Mpc to last scattering (Planck 2018): a multipole l sees wavenumbers about l / DISTANCE."""
QUANTILES = (2.5, 16.0, 50.0, 84.0, 97.5)


def power_table(samples: Samples, points: int = 160) -> dict[str, np.ndarray]:
    """Return quantiles of P(k) = A_s (k / k0)^(n_s - 1 + nrun ln(k / k0) / 2) over a chain, as columns.

    Parameters
    ----------
    samples : Samples
        With ``logA`` and ``ns``, and ``nrun`` where the model has it.
    points : int
        Wavenumbers between 1e-5 and 1 / Mpc.
    """
    k = np.geomspace(1e-5, 1, points)
    x = np.log(k / PIVOT)
    every = max(1, len(samples.joined) // 4000)
    log_a, ns = (samples.column(name)[::every, None] for name in ("logA", "ns"))
    tilt = ns - 1
    if "nrun" in samples.names:
        tilt = tilt + 0.5 * samples.column("nrun")[::every, None] * x
    power = np.exp(log_a) * 1e-10 * np.exp(tilt * x)  # shape: (draws, points)
    found = np.percentile(power, QUANTILES, axis=0)
    return {"k_per_mpc": k, **{f"q{q:g}": row for q, row in zip(QUANTILES, found, strict=True)}}


def plot_power(table: Mapping[str, np.ndarray], data: Sequence[Mapping[str, Any]], title: str) -> Figure:
    """Return the band of P(k) with a bar for the wavenumbers that each data set sees.

    Parameters
    ----------
    table : mapping
        From :func:`power_table`.
    data : sequence of mapping
        Data sets of the fit's summary: ``title`` and ``sky`` (survey to pair to first and last multipole).
    title : str
    """
    k = table["k_per_mpc"]
    with style():
        fig = new_figure(8, 3.4 + 0.26 * len(data))
        top, low = fig.subplots(2, 1, sharex=True, height_ratios=[3, 0.25 * len(data) + 0.2])
        top.fill_between(
            k, 1e9 * table["q2.5"], 1e9 * table["q97.5"], color=THEORY, alpha=0.25, lw=0, label="95%"
        )
        top.fill_between(
            k, 1e9 * table["q16"], 1e9 * table["q84"], color=THEORY, alpha=0.5, lw=0, label="68%"
        )
        top.plot(k, 1e9 * table["q50"], color=THEORY, lw=1)
        top.axvline(PIVOT, color="0.6", lw=0.8, ls=":", label=f"pivot, {PIVOT:g}/Mpc")
        top.set(xscale="log", ylabel=r"$10^9\,\mathcal{P}(k)$")
        top.set_title(title)
        top.legend(loc="upper right", fontsize=8)
        for i, entry in enumerate(data):
            spans = [span for pairs in entry.get("sky", {}).values() for span in pairs.values()]
            if spans:
                ends = min(s[0] for s in spans) / DISTANCE, max(s[1] for s in spans) / DISTANCE
                low.plot(ends, [-i, -i], color=SERIES[i % len(SERIES)], lw=4, solid_capstyle="butt")
                low.annotate(
                    entry["title"],
                    (ends[0], -i),
                    xytext=(-6, 0),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    fontsize=8,
                )
        low.set(ylim=(-len(data) + 0.4, 0.6), yticks=[], xlabel="wavenumber k [1/Mpc]", xlim=(k[0], k[-1]))
        low.spines["left"].set_visible(False)
    return fig
