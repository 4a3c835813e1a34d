"""Plot the search for the emulator's polynomials and its learning curve."""

from __future__ import annotations

import argparse

from cmbfit.figures.style import save_figure
from cmbfit.figures.training import plot_search, search_table
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--search", required=True, help="product of search_emulator")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    record = read_json(args.search)
    save_figure(plot_search(record), args.output, search_table(record))


if __name__ == "__main__":
    run_stage(main)
