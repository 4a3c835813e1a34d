"""Corner plot of a posterior with published values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from getdist import MCSamples
from getdist import plots as getdist_plots
from matplotlib.figure import Figure

from cmbfit.figures.style import SECOND, THEORY, style
from cmbfit.inference.products import Samples
from cmbfit.theory.parameters import latex_label


def getdist_samples(samples: Samples) -> MCSamples:
    """Return the samples as GetDist's own object (unit weights, hard prior limits known)."""
    return MCSamples(
        samples=samples.values,
        loglikes=[-lp for lp in samples.log_prob],
        names=list(samples.names),
        labels=[latex_label(n) for n in samples.names],
        ranges={name: list(limits) for name, limits in samples.ranges.items()},
        sampler=samples.getdist_sampler,
        settings={"ignore_rows": 0},
    )


def plot_corner(
    samples: Samples,
    names: Sequence[str],
    reference: Mapping[str, tuple[float, float | None]],
    label: str,
    reference_label: str = "",
) -> Figure:
    """Return GetDist's triangle plot; published means and widths as dashed curves and cross-lines.

    Parameters
    ----------
    samples : Samples
    names : sequence of str
        Parameters shown.
    reference : mapping of str to (mean, sigma)
        Published marginal posteriors, drawn as Gaussians; without a sigma only the lines. May be empty.
    label, reference_label : str
        Entries of the legend.
    """
    with style():
        plotter = getdist_plots.get_subplot_plotter(width_inch=10)
        plotter.settings.axes_fontsize = 8
        plotter.settings.lab_fontsize = 10
        plotter.settings.legend_fontsize = 12
        plotter.settings.figure_legend_frame = False
        plotter.triangle_plot(
            getdist_samples(samples), list(names), filled=True, contour_colors=[THEORY], legend_labels=[]
        )
        for i, y in enumerate(names):
            for j, x in enumerate(names[: i + 1]):
                ax = plotter.subplots[i, j]
                if x in reference:
                    ax.axvline(reference[x][0], color=SECOND, lw=0.7, ls="--")
                mean, sigma = reference.get(x, (0.0, None))
                if i == j and sigma:
                    grid = np.linspace(ax.get_xlim()[0], ax.get_xlim()[1], 300)
                    ax.plot(grid, np.exp(-0.5 * ((grid - mean) / sigma) ** 2), color=SECOND, ls="--", lw=1.2)
                elif i != j and y in reference:
                    ax.axhline(reference[y][0], color=SECOND, lw=0.7, ls="--")
        fig: Figure = plotter.fig
        fig.text(0.98, 0.97, label, color=THEORY, ha="right", va="top", fontsize=12)
        if set(reference) & set(names):
            fig.text(
                0.98, 0.94, f"{reference_label} (dashed)", color=SECOND, ha="right", va="top", fontsize=12
            )
    return fig


def marginal_table(
    samples: Samples, names: Sequence[str], reference: Mapping[str, tuple[float, float | None]]
) -> dict[str, np.ndarray]:
    """Return the one-dimensional densities as long columns: parameter, value, density, published."""
    getdist = getdist_samples(samples)
    columns: dict[str, list[np.ndarray]] = {"parameter": [], "value": [], "density": [], "published": []}
    for name in names:
        density = getdist.get1DDensity(name)
        columns["parameter"].append(np.full(len(density.x), name))
        columns["value"].append(density.x)
        columns["density"].append(density.P / density.P.max())
        mean, sigma = reference.get(name, (np.nan, None))
        published = (
            np.exp(-0.5 * ((density.x - mean) / sigma) ** 2) if sigma else np.full(len(density.x), np.nan)
        )
        columns["published"].append(published)
    return {name: np.concatenate(parts) for name, parts in columns.items()}
