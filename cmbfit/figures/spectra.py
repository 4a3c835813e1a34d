"""Bandpowers with error bars, theory and residual panels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy import special

from cmbfit.figures.style import DATA, THEORY, new_figure, style
from cmbfit.sky.maps import Array
from cmbfit.spectra.checks import SIGNAL
from cmbfit.spectra.product import COMBINED, Bandpowers


def _model(data: Bandpowers, name: str, binned: Mapping[str, Array], signal: Sequence[str]) -> Array:
    return binned[name] if name in signal else np.zeros(data.n)


def plot_spectra(
    data: Bandpowers, theory_dl: Mapping[str, Array], label: str = "theory", signal: Sequence[str] = SIGNAL
) -> Figure:
    """Return six spectra, each with a panel of residuals in units of the error.

    Spectra of `signal` are compared with the theory, the others with zero.

    Parameters
    ----------
    data : Bandpowers
        As returned by :meth:`Bandpowers.combined` (te is the mean of te and et, and so on).
    theory_dl : mapping of ndarray
        D_l in uK^2 from l = 0.
    label : str
        Name of the theory in the legend.
    """
    binned = data.theory(theory_dl)
    half = np.array([data.centres - np.array(data.edges[:-1]), np.array(data.edges[1:]) - 1 - data.centres])
    with style():
        fig = new_figure(11, 7)
        grid = fig.add_gridspec(4, 3, height_ratios=[2.4, 1, 2.4, 1])
        for k, name in enumerate(COMBINED):
            row, column = divmod(k, 3)
            top = fig.add_subplot(grid[2 * row, column])
            low = fig.add_subplot(grid[2 * row + 1, column], sharex=top)
            _panel(top, data, name, theory_dl=theory_dl, half=half, label=label, signal=signal)
            model = _model(data, name, binned, signal)
            residual = (data.values[name] - model) / data.error(name)
            low.axhspan(-1, 1, color="0.88", lw=0)
            low.axhline(
                0, color=THEORY if name in signal else "0.4", lw=1, ls="-" if name in signal else "--"
            )
            low.errorbar(data.centres, residual, yerr=1, xerr=half, fmt="o", ms=3.5, color=DATA, lw=1)
            low.set_ylim(-4.2, 4.2)
            low.set_yticks([-3, 0, 3])
            low.set_ylabel(r"$\Delta/\sigma$")
            if row == 1:
                low.set_xlabel(r"multipole $\ell$")
            chi2, dof = data.chi2(name, model)
            against = "theory" if name in signal else "zero"
            top.set_title(
                f"{name.upper()}   $\\chi^2$/{against} = {chi2:.1f}/{dof}, PTE {special.chdtrc(dof, chi2):.2f}",
                fontsize=9,
            )
            top.tick_params(labelbottom=False)
    return fig


def _panel(
    ax: Axes,
    data: Bandpowers,
    name: str,
    *,
    theory_dl: Mapping[str, Array],
    half: Array,
    label: str,
    signal: Sequence[str],
) -> None:
    top = data.edges[-1] - 1
    if name in theory_dl:
        ell = np.arange(2, top + 1)
        ax.plot(ell, theory_dl[name][2 : top + 1], color=THEORY, label=label, zorder=1)
    if name not in signal:
        ax.axhline(0, color="0.4", lw=1, ls="--", zorder=0)
    ax.errorbar(
        data.centres,
        data.values[name],
        yerr=data.error(name),
        xerr=half,
        fmt="o",
        ms=3.5,
        color=DATA,
        lw=1,
        label=f"{data.meta.get('map_a', 'a')} x {data.meta.get('map_b', 'b')}",
        zorder=2,
    )
    ax.set_ylabel(rf"$D_\ell^{{{name.upper()}}}$ [$\mu$K$^2$]")
    if name == "tt":
        ax.set_ylim(0, 1.35 * np.max(data.values[name] + data.error(name)))
        ax.plot([], [], color="0.4", lw=1, ls="--", label="zero (null test)")
        ax.legend(loc="upper left", fontsize=8)


def spectra_table(
    data: Bandpowers, theory_dl: Mapping[str, Array], signal: Sequence[str] = SIGNAL
) -> dict[str, Array]:
    """Return the plotted numbers, one row a bandpower; D in uK^2."""
    binned = data.theory(theory_dl)
    edges = np.array(data.edges)
    n = len(COMBINED)
    return {
        "spectrum": np.repeat(np.array(COMBINED), data.n),
        "ell_centre": np.tile(data.centres, n),
        "ell_min": np.tile(edges[:-1], n),
        "ell_max": np.tile(edges[1:] - 1, n),
        "dl_uk2": np.concatenate([data.values[s] for s in COMBINED]),
        "error_uk2": np.concatenate([data.error(s) for s in COMBINED]),
        "theory_binned_uk2": np.concatenate([binned[s] for s in COMBINED]),
        "compared_with_uk2": np.concatenate([_model(data, s, binned, signal) for s in COMBINED]),
    }
