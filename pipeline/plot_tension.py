from __future__ import annotations

from pathlib import Path

from cmbfit.figures.style import save_figure
from cmbfit.figures.tension import plot_tensions, tension_table
from cmbfit.io import read_json


def plot_tension(*, tension: Path, output: Path) -> None:
    """Plot pairs of data sets against each other, with the table as CSV.

    Parameters
    ----------
    tension
        Product of measure_tension.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    pairs = read_json(tension)["pairs"]
    save_figure(plot_tensions(pairs), output.with_suffix(""), tension_table(pairs))
