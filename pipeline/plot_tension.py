"""Plot pairs of data sets against each other, with the table as CSV."""

from __future__ import annotations

import argparse

from cmbfit.figures.style import save_figure
from cmbfit.figures.tension import plot_tensions, tension_table
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tension", required=True, help="product of measure_tension")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    pairs = read_json(args.tension)["pairs"]
    save_figure(plot_tensions(pairs), args.output, tension_table(pairs))


if __name__ == "__main__":
    run_stage(main)
