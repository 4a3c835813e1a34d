from __future__ import annotations

from pathlib import Path

from cmbfit.figures.models import plot_models as draw
from cmbfit.figures.style import save_figure
from cmbfit.inference.model_text import model_columns
from cmbfit.io import read_json


def plot_models(*, models: Path, output: Path) -> None:
    """Plot the compared models as a forest, with their table as CSV.

    Parameters
    ----------
    models
        Product of compare_fits.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    tables = read_json(models)["tables"]
    save_figure(draw(tables), output.with_suffix(""), model_columns(tables))
