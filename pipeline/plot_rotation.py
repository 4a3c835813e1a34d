from __future__ import annotations

from pathlib import Path

from cmbfit.figures.birefringence import birefringence_table, plot_birefringence
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_rotation(*, rotation: Path, curves: Path, output: Path) -> None:
    """Plot published rotation angles and the posterior of a run's own spectra.

    Parameters
    ----------
    rotation
        Product of fit_rotation.
    curves
        Its curves.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    shown = read_json(curves)
    save_figure(
        plot_birefringence(read_json(rotation), shown), output.with_suffix(""), birefringence_table(shown)
    )
