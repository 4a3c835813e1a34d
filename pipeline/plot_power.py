from __future__ import annotations

from pathlib import Path

from cmbfit.figures.power import plot_power as draw
from cmbfit.figures.power import power_table
from cmbfit.figures.style import save_figure
from cmbfit.inference.products import read_samples
from cmbfit.io import read_json


def plot_power(*, samples: Path, summary: Path, output: Path) -> None:
    """Plot the primordial spectrum of a power-law fit with the wavenumbers that its data see.

    Parameters
    ----------
    samples
        The fit's chain (publish_chains).
    summary
        Product of publish_chains.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    fitted, table = read_json(summary), power_table(read_samples(samples))
    save_figure(draw(table, fitted["data"], fitted["title"]), output.with_suffix(""), table)
