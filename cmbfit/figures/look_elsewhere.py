"""Look-elsewhere: improvement of the data's fit at every frequency, and the largest one in simulated skies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.primordial import get_model


def plot_look_elsewhere(record: Mapping[str, Any], curves: Mapping[str, Any]) -> Figure:
    """Return a row for each model: the periodogram of the data, and the distribution of maxima.

    Parameters
    ----------
    record, curves : mapping
        From :func:`cmbfit.inference.look_elsewhere.search_record`, and its ``curves``.
    """
    models = record["models"]
    with style():
        fig = new_figure(9, 2.7 * len(models))
        grid = fig.subplots(len(models), 2, squeeze=False, width_ratios=(2, 1))
        for (left, right), (name, m) in zip(grid, models.items(), strict=True):
            c, best = curves[name], m["best"]
            middle, high = m["largest_by_chance"]["median"], m["largest_by_chance"]["p95"]
            left.plot(c["omega"], c["improvement"], color=DATA, lw=0.8)
            left.axhline(middle, color=THEORY, ls="--", label="median of the largest, simulated LCDM")
            left.axhline(high, color=SECOND, ls=":", label="95% of the largest, simulated LCDM")
            left.plot(best["omega"], best["improvement"], "v", color=SECOND, ms=6)
            left.set(
                xlabel=r"frequency $\omega$",
                ylabel=r"$-\Delta\chi^2$ (2 parameters)",
                ylim=(0, 1.35 * max(high, best["improvement"])),
            )
            left.set_title(
                f"{get_model(name).title}: best $\\omega$ = {best['omega']:.1f}, A = {best['amplitude']:.3f}"
            )
            left.legend(fontsize=8, loc="upper left", ncols=2)
            right.stairs(c["maxima"]["count"], c["maxima"]["edges"], color=THEORY)
            right.axvline(best["improvement"], color=SECOND)
            g = m["global"]
            right.set(xlabel=r"largest $-\Delta\chi^2$ of a sky", ylabel="skies")
            right.set_title(f"global p = {g['p_value']:.3g} ({g['low']:.3g}-{g['high']:.3g})")
    return fig


def look_elsewhere_table(curves: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the periodograms, one row a model and frequency."""
    return {"model": np.concatenate([[name] * len(c["omega"]) for name, c in curves.items()])} | {
        key: np.concatenate([np.array(c[key]) for c in curves.values()])
        for key in ("omega", "improvement", "amplitude", "sigma_amplitude")
    }
