from __future__ import annotations

from pathlib import Path

import numpy as np

from cmbfit.figures.emulator import emulator_error_table, plot_emulator_error
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json


def plot_emulator(*, errors: Path, output: Path) -> None:
    """Plot the emulator's errors by multipole.

    Parameters
    ----------
    errors
        Product of check_emulator.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    record = read_json(errors)
    box, posterior = ({p: np.array(x) for p, x in record[k].items()} for k in ("box", "posterior"))
    fig = plot_emulator_error(box, posterior, record["n_box"], record["n_posterior"], record["mark"])
    save_figure(fig, output.with_suffix(""), emulator_error_table(box, posterior))
