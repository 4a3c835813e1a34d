from __future__ import annotations

from pathlib import Path

from cmbfit.figures.lowl import lowl_map_table, lowl_power_table, plot_lowl_maps, plot_lowl_power
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_lowl(*, lowl: Path, output: Path, map_output: Path) -> None:
    """Plot low-l TT: power by multipole, and the map before and after template marginalisation.

    Parameters
    ----------
    lowl
        Product of prepare_lowl.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    map_output
        Stem of the maps' figure.
    """
    record = read_json(lowl)
    save_figure(plot_lowl_power(record), output.with_suffix(""), lowl_power_table(record))
    save_figure(plot_lowl_maps(record), map_output.with_suffix(""), lowl_map_table(record))
