from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from cmbfit.figures.posterior import marginal_table, plot_corner
from cmbfit.figures.published import published_gaussian
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit
from cmbfit.inference.products import read_samples


def plot_posterior(*, samples: Path, fit: Path, output: Path) -> None:
    """Plot a fit's corner plot with the published values.

    Parameters
    ----------
    samples
        The fit's chain (publish_chains).
    fit
        JSON: the fit, complete.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    described = Fit.read(fit)
    mpl.use("Agg")
    chain = read_samples(samples)
    published = described.reference
    values = dict(published.parameters) if published else {}
    joint = published_gaussian(chain, published, described.show)
    label = published.label if published else ""
    fig = plot_corner(chain, described.show, values, described.title, label, joint)
    save_figure(fig, output.with_suffix(""), marginal_table(chain, described.show, values))
