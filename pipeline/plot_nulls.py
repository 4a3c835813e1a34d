"""Plot the probabilities to exceed of null tests and consistency tests."""

from __future__ import annotations

import argparse

from cmbfit.figures.nulls import nulls_table, plot_nulls
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--checks", nargs="+", required=True, help="products of check_nulls and estimate_survey"
    )
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    checks = [c for path in args.checks for c in read_json(path)["checks"]]
    save_figure(plot_nulls(checks), args.output, nulls_table(checks))


if __name__ == "__main__":
    run_stage(main)
