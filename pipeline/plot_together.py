from __future__ import annotations

from pathlib import Path

from cmbfit.figures.style import read_table, save_figure
from cmbfit.figures.together import join_tables
from cmbfit.figures.together import plot_together as draw


def plot_together(*, residuals: list[Path], label: str, output: Path) -> None:
    """Plot the bandpowers of all data sets that the fits count, with the first fit's best fit.

    Parameters
    ----------
    residuals
        Tables of plot_residuals, of the first fit first.
    label
        Of the first fit.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    table = join_tables([read_table(path) for path in residuals])
    save_figure(draw(table, label), output.with_suffix(""), table)
