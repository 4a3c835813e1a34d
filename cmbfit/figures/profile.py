"""A profile likelihood beside the marginal, with what -2 Delta ln L must exceed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.parameters import latex_label


def plot_profile(record: Mapping[str, Any]) -> Figure:
    """Return -2 Delta ln L with its thresholds, and below it profile and marginal, each with its highest value 1.

    Parameters
    ----------
    record : mapping
        Of :meth:`cmbfit.inference.profile.Profile.record`, with ``confidence`` (Feldman-Cousins) and ``marginal``
        (``values``, ``density``) where they are known.
    """
    x, t = np.array(record["values"]), np.array(record["delta_chi2"])
    with style():
        fig = new_figure(5.2, 5.6)
        top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=[1.3, 1])
        top.plot(x, t, color=THEORY, label="profile")
        for height in record["thresholds"].values():
            top.axhline(height, color="0.6", lw=0.8, ls=":")
        if confidence := record.get("confidence"):
            for level, critical in confidence["critical"].items():
                label = f"Feldman-Cousins, {confidence['skies']} skies a value" if level == "68" else None
                top.plot(confidence["values"], critical, color=SECOND, lw=1, ls="--", label=label)
        top.set(ylabel=r"$-2\,\Delta\ln L$", ylim=(0, min(12.0, 1.05 * float(t.max()))))
        top.legend(frameon=False, fontsize=8)
        bottom.plot(x, np.exp(-t / 2), color=THEORY, label="profile")
        if marginal := record.get("marginal"):
            bottom.plot(marginal["values"], marginal["density"], color=DATA, ls="--", label="marginal")
        bottom.set(
            xlabel=f"${latex_label(record['parameter'])}$", ylabel="relative to the highest", ylim=(0, 1.05)
        )
        bottom.set_xlim(x[0], x[-1])
        bottom.legend(frameon=False, fontsize=8)
    return fig
