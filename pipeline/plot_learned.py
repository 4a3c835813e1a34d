from __future__ import annotations

from pathlib import Path

from cmbfit.figures import learned
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit
from cmbfit.inference.products import read_samples
from cmbfit.theory.primordial import get_model


def plot_learned(*, samples: Path, fit: Path, output: Path) -> None:
    """Plot what a network learned of a fit's primordial spectrum beside what the solver evolves.

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
    model = get_model(described.theory["primordial"])
    chain = read_samples(samples)
    found = learned.learned_and_evolved(model, learned.chain_points(model, chain.names, chain.joined))
    figure = learned.plot_learned(found, described.title)
    save_figure(figure, output.with_suffix(""), learned.learned_table(found))
