"""Plot the compared models as a forest, with their table as CSV."""

from __future__ import annotations

import argparse

from cmbfit.figures.models import plot_models
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from cmbfit.report.models import model_columns
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", required=True, help="product of compare_fits")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    tables = read_json(args.models)["tables"]
    save_figure(plot_models(tables), args.output, model_columns(tables))


if __name__ == "__main__":
    run_stage(main)
