from __future__ import annotations

from pathlib import Path

from cmbfit.figures.reweight import plot_reweighting, reweighting_table
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_reweight(*, record: Path, marks: Path, output: Path) -> None:
    """Plot what exact re-weighting does to a fit.

    Parameters
    ----------
    record
        Product of reweight.
    marks
        JSON: theory.emulator.check of the configuration.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    done, limits = read_json(record), read_json(marks)
    save_figure(plot_reweighting(done, limits["shift"]), output.with_suffix(""), reweighting_table(done))
