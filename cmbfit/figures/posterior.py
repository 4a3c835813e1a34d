"""Corner plot of a posterior with published values."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from getdist import MCSamples, chains
from getdist import plots as getdist_plots
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cmbfit.figures.published import Published
from cmbfit.figures.style import SECOND, THEORY, style
from cmbfit.inference.products import Samples
from cmbfit.theory.parameters import latex_label


def getdist_samples(samples: Samples) -> MCSamples:
    """Return the samples as GetDist's own object (unit weights, hard prior limits known)."""
    chains.print_load_details = False  # it would print of each that there is no burn-in to remove
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
    published: Published | None = None,
) -> Figure:
    """Return GetDist's triangle plot with what was published, and with priors that the data hardly narrow.

    Parameters
    ----------
    samples : Samples
    names : sequence of str
        Parameters shown.
    reference : mapping of str to (mean, sigma)
        Published marginal posteriors, drawn as Gaussians; without a sigma only the lines. May be empty.
    label, reference_label : str
        Entries of the legend.
    published : Published, optional
        Drawn as dashed contours; without it published means are cross-lines.
    """
    with style():
        plotter = getdist_plots.get_subplot_plotter(width_inch=max(4.5, min(11.5, 1.45 * len(names))))
        plotter.settings.scaling = (
            False  # by itself GetDist shrinks text with the panels, below what can be read
        )
        plotter.settings.axes_fontsize = 9
        plotter.settings.lab_fontsize = 12
        plotter.settings.legend_fontsize = 12
        plotter.settings.axis_tick_x_rotation = 45
        plotter.settings.axis_tick_max_labels = 3
        plotter.settings.figure_legend_frame = False
        plotter.triangle_plot(
            getdist_samples(samples), list(names), filled=True, contour_colors=[THEORY], legend_labels=[]
        )
        for i, y in enumerate(names):
            for j, x in enumerate(names[: i + 1]):
                ax = plotter.subplots[i, j]
                if i == j:
                    _draw_prior(ax, samples, x)
                if published and i != j and {x, y} <= set(published.names):
                    for contour in published.contours(x, y):
                        ax.plot(*contour, color=SECOND, lw=1.1, ls="--", scalex=False, scaley=False)
                    continue
                if x in reference:
                    ax.axvline(reference[x][0], color=SECOND, lw=0.7, ls="--")
                mean, sigma = reference.get(x, (0.0, None))
                if i == j and sigma:
                    grid = np.linspace(ax.get_xlim()[0], ax.get_xlim()[1], 300)
                    ax.plot(grid, np.exp(-0.5 * ((grid - mean) / sigma) ** 2), color=SECOND, ls="--", lw=1.2)
                elif i != j and y in reference:
                    ax.axhline(reference[y][0], color=SECOND, lw=0.7, ls="--")
        fig: Figure = plotter.fig
        _write_legend(fig, samples, names, reference, label, reference_label)
    return fig


def _write_legend(
    fig: Figure,
    samples: Samples,
    names: Sequence[str],
    reference: Mapping[str, tuple[float, float | None]],
    label: str,
    reference_label: str,
) -> None:
    """Write in the empty corner, which has room for half the width, what is drawn."""
    width = max(20, int(4.2 * len(names)))
    lines = [(line, THEORY) for line in textwrap.wrap(label, width)]
    if set(reference) & set(names):
        lines += [(line, SECOND) for line in textwrap.wrap(f"{reference_label} (dashed)", width)]
    if any(hardly_narrowed(samples, name) for name in names):
        lines.append(("prior (dotted)", "0.4"))
    step = 0.19 / fig.get_size_inches()[1]
    for i, (line, colour) in enumerate(lines):
        fig.text(0.98, 0.985 - i * step, line, color=colour, ha="right", va="top", fontsize=10)


_NARROWED = 0.5
"""A posterior's width over its prior's above which the prior is drawn: the data add little there."""


def hardly_narrowed(samples: Samples, name: str) -> bool:
    """Return whether the data leave a parameter at least half as wide as its prior, where that is known."""
    spec = samples.priors.get(name)
    if not spec or not set(spec) <= {"uniform", "gaussian"}:
        return False
    kind, (a, b) = next(iter(spec.items()))
    width = (b - a) / np.sqrt(12) if kind == "uniform" else b
    return bool(samples.column(name).std() > _NARROWED * width)


def _draw_prior(ax: Axes, samples: Samples, name: str) -> None:
    """Draw the prior alone, its maximum at one as the posterior's, where the data hardly narrow it."""
    if not hardly_narrowed(samples, name):
        return
    kind, (a, b) = next(iter(samples.priors[name].items()))
    x = np.linspace(*ax.get_xlim(), 300)
    inside = np.where((x >= a) & (x <= b), 1.0, 0.0)
    density = inside if kind == "uniform" else np.exp(-0.5 * ((x - a) / b) ** 2)
    ax.plot(x, density, color="0.4", lw=1.2, ls=":", scalex=False)


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
