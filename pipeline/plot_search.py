from __future__ import annotations

from pathlib import Path

from cmbfit.figures.style import save_figure
from cmbfit.figures.training import plot_search as draw
from cmbfit.figures.training import search_table
from cmbfit.io import read_json


def plot_search(*, search: Path, output: Path) -> None:
    """Plot the search for the emulator's polynomials and its learning curve.

    Parameters
    ----------
    search
        Product of search_emulator.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    record = read_json(search)
    save_figure(draw(record), output.with_suffix(""), search_table(record))
