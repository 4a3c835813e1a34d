from __future__ import annotations

from pathlib import Path

from cmbfit.errors import ConfigError
from cmbfit.figures.bounce import bounce_table
from cmbfit.figures.bounce import plot_bounce as draw
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit
from cmbfit.io import read_json
from cmbfit.theory.primordial import get_model


def plot_bounce(*, summary: Path, fit: Path, output: Path) -> None:
    """Plot the history behind the best fit of a model with a bounce, and what other masses and vacua would leave.

    Parameters
    ----------
    summary
        The fit's summary (publish_chains).
    fit
        JSON: the fit, complete.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    described = Fit.read(fit)
    model = get_model(described.theory["primordial"])
    if model.history is None:
        raise ConfigError(f"plot_bounce: expected a model with a bounce, found {model.name}")
    found = model.history(read_json(summary)["best_fit"]["point"])
    save_figure(draw(found, described.title), output.with_suffix(""), bounce_table(found))
