from __future__ import annotations

from pathlib import Path

from cmbfit.figures.look_elsewhere import look_elsewhere_table, plot_look_elsewhere
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_features(*, search: Path, curves: Path, output: Path) -> None:
    """Plot the search for oscillations: periodograms and the distribution of the largest improvement.

    Parameters
    ----------
    search
        Product of search_features.
    curves
        Its curves.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    shown = read_json(curves)
    save_figure(
        plot_look_elsewhere(read_json(search), shown), output.with_suffix(""), look_elsewhere_table(shown)
    )
