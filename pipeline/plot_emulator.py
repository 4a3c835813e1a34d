"""Plot the emulator's errors by multipole."""

from __future__ import annotations

import argparse

import numpy as np

from cmbfit.figures.emulator import emulator_error_table, plot_emulator_error
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--errors", required=True, help="product of check_emulator")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    record = read_json(args.errors)
    box, posterior = ({p: np.array(x) for p, x in record[k].items()} for k in ("box", "posterior"))
    fig = plot_emulator_error(box, posterior, record["n_box"], record["n_posterior"], record["mark"])
    save_figure(fig, args.output, emulator_error_table(box, posterior))


if __name__ == "__main__":
    run_stage(main)
