"""FIRAS residuals with their errors and the fitted distortions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.blackbody.firas import REFERENCE_TEMPERATURE, FirasData, FirasFit
from cmbfit.theory.blackbody.law import planck


def firas_table(data: FirasData, fits: Sequence[FirasFit]) -> dict[str, np.ndarray]:
    """Return wavenumber, blackbody [MJy/sr], residual, sigma and the model of each fit [kJy/sr] as columns."""
    table = {
        "wavenumber_per_cm": data.wavenumber,
        "blackbody_MJy_sr": planck(data.nu, REFERENCE_TEMPERATURE),
        "residual_kJy_sr": data.residual,
        "sigma_kJy_sr": data.sigma,
    }
    for fit in fits:
        design = np.stack([data.template(p) for p in fit.parameters], 1)
        table["fit_" + "_".join(fit.parameters)] = design @ fit.values
    return table


def plot_firas(data: FirasData, fits: Sequence[FirasFit]) -> Figure:
    """Return the monopole above and the residuals below, with fits and the 95% bounds of mu and y.

    Parameters
    ----------
    data : FirasData
    fits : sequence of FirasFit
        Each is drawn; those with mu or y also as the distortion at its bound.
    """
    table = firas_table(data, fits)
    x = data.wavenumber
    with style():
        fig = new_figure(6.8, 5.6)
        top, low = fig.subplots(2, 1, sharex=True, height_ratios=[1, 1.5])
        top.plot(x, table["blackbody_MJy_sr"], color=THEORY, label=f"blackbody, {REFERENCE_TEMPERATURE} K")
        top.plot(x, table["blackbody_MJy_sr"] + data.residual * 1e-3, "o", ms=3, color=DATA, label="FIRAS")
        top.set(ylabel="MJy/sr")
        top.legend()
        low.errorbar(x, data.residual, yerr=data.sigma, fmt="o", ms=3, lw=0.8, color=DATA, label="residual")
        styles = ["-", "--", ":", "-."]
        for fit, line in zip(fits, styles, strict=False):
            label = "fit: " + ", ".join(fit.parameters) + f" ($\\chi^2$ = {fit.chi2:.1f} / {fit.dof})"
            low.plot(x, table["fit_" + "_".join(fit.parameters)], line, color=THEORY, lw=1.2, label=label)
            for name in set(fit.parameters) & {"mu", "mu_energy", "y"}:
                bound = fit.upper_limit(name)
                low.plot(
                    x, bound * data.template(name), line, color=SECOND, lw=1.0,
                    label=f"{name.removesuffix('_energy')} = {bound:.1e} (95% bound)",
                )  # fmt: skip
        low.axhline(0, color="0.7", lw=0.8)
        low.set(xlabel="wavenumber [1/cm]", ylabel="kJy/sr", xlim=(2, 21.6), ylim=(-190, 190))
        low.legend(fontsize=7.5, ncols=2, loc="lower left")
    return fig
