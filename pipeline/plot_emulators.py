"""Plot the comparison of polynomials and networks with the networks' loss curves."""

from __future__ import annotations

import argparse

from cmbfit.figures.style import save_figure
from cmbfit.figures.training import emulators_table, plot_emulators
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--comparison", required=True, help="product of compare_emulators")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    record = read_json(args.comparison)
    save_figure(plot_emulators(record), args.output, emulators_table(record))


if __name__ == "__main__":
    run_stage(main)
