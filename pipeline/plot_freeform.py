from __future__ import annotations

from pathlib import Path

from cmbfit.figures.freeform import freeform_table
from cmbfit.figures.freeform import plot_freeform as draw
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_freeform(*, average: Path, output: Path) -> None:
    """Plot free-form P(k) averaged over the number of knots, the prior's bands, and the evidence of each number.

    Parameters
    ----------
    average
        Product of average_freeform.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    groups = read_json(average)["groups"]
    save_figure(draw(groups), output.with_suffix(""), freeform_table(groups))
