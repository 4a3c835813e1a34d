from __future__ import annotations

from pathlib import Path

from cmbfit.figures.quantum import plot_states as draw
from cmbfit.figures.quantum import state_table
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_states(*, states: Path, output: Path) -> None:
    """Plot quanta and entropy of squeezed pairs.

    Parameters
    ----------
    states
        Product of simulate_states.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    record = read_json(states)
    save_figure(draw(record), output.with_suffix(""), state_table(record))
