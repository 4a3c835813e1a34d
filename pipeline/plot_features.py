"""Plot the search for oscillations: periodograms and the distribution of the largest improvement."""

from __future__ import annotations

import argparse

from cmbfit.figures.look_elsewhere import look_elsewhere_table, plot_look_elsewhere
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", required=True, help="product of search_features")
    parser.add_argument("--curves", required=True, help="the same")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    record, curves = read_json(args.search), read_json(args.curves)
    save_figure(plot_look_elsewhere(record, curves), args.output, look_elsewhere_table(curves))


if __name__ == "__main__":
    run_stage(main)
