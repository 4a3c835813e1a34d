from __future__ import annotations

from pathlib import Path

from cmbfit.figures.style import save_figure
from cmbfit.figures.subsets import plot_subsets as plot
from cmbfit.figures.subsets import subset_table
from cmbfit.io import read_json


def plot_subsets(*, subsets: Path, output: Path) -> None:
    """Plot parts of the data about the whole, with the table as CSV.

    Parameters
    ----------
    subsets
        Product of measure_subsets.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    record = read_json(subsets)
    save_figure(plot(record), output.with_suffix(""), subset_table(record))
