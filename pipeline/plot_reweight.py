"""Plot what exact re-weighting does to a fit."""

from __future__ import annotations

import argparse
import json

from cmbfit.figures.reweight import plot_reweighting, reweighting_table
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", required=True, help="product of reweight")
    parser.add_argument("--marks", type=json.loads, required=True, help="JSON: the config's section")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    record = read_json(args.record)
    save_figure(plot_reweighting(record, args.marks["shift"]), args.output, reweighting_table(record))


if __name__ == "__main__":
    run_stage(main)
