"""Plot quanta and entropy of squeezed pairs."""

from __future__ import annotations

import argparse

from cmbfit.figures.quantum import plot_states, state_table
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--states", required=True, help="product of simulate_states")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    record = read_json(args.states)
    save_figure(plot_states(record), args.output, state_table(record))


if __name__ == "__main__":
    run_stage(main)
