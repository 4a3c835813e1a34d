from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from cmbfit.figures.posterior import marginal_table, plot_corner
from cmbfit.figures.style import save_figure
from cmbfit.inference.products import read_samples
from pipeline.read import read_fit


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
    section = read_fit(fit)
    mpl.use("Agg")
    chain = read_samples(samples)
    reference = {name: tuple(x) for name, x in section["reference"]["parameters"].items()}
    names = section["show"]
    fig = plot_corner(chain, names, reference, section["title"], section["reference"]["label"])
    save_figure(fig, output.with_suffix(""), marginal_table(chain, names, reference))
