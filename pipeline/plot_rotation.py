"""Plot published rotation angles and the posterior of a run's own spectra."""

from __future__ import annotations

import argparse

from cmbfit.figures.birefringence import birefringence_table, plot_birefringence
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rotation", required=True, help="product of fit_rotation")
    parser.add_argument("--curves", required=True, help="the same")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    record, curves = read_json(args.rotation), read_json(args.curves)
    save_figure(plot_birefringence(record, curves), args.output, birefringence_table(curves))


if __name__ == "__main__":
    run_stage(main)
