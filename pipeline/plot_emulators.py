from __future__ import annotations

from pathlib import Path

from cmbfit.figures.style import save_figure
from cmbfit.figures.training import emulators_table
from cmbfit.figures.training import plot_emulators as draw
from cmbfit.io import read_json


def plot_emulators(*, comparison: Path, output: Path) -> None:
    """Plot the comparison of polynomials and networks with the networks' loss curves.

    Parameters
    ----------
    comparison
        Product of compare_emulators.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    record = read_json(comparison)
    save_figure(draw(record), output.with_suffix(""), emulators_table(record))
