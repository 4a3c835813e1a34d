"""Plot low-l TT: power by multipole, and the map before and after template marginalisation."""

from __future__ import annotations

import argparse

from cmbfit.figures.lowl import lowl_map_table, lowl_power_table, plot_lowl_maps, plot_lowl_power
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lowl", required=True, help="product of prepare_lowl")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    parser.add_argument("--map-output", required=True, help="stem of the maps' figure")
    args = parser.parse_args()
    record = read_json(args.lowl)
    save_figure(plot_lowl_power(record), args.output, lowl_power_table(record))
    save_figure(plot_lowl_maps(record), args.map_output, lowl_map_table(record))


if __name__ == "__main__":
    run_stage(main)
