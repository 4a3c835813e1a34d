"""Write the reviewer's page: one self-contained HTML file."""

from __future__ import annotations

import argparse

from cmbfit.io import read_json, write_text
from cmbfit.report.costs import read_costs
from cmbfit.report.page import render
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, render, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--figures", nargs="+", required=True)
    parser.add_argument("--benchmarks", required=True, help="folder of Snakemake's benchmark files")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    write_text(args.output, render(read_json(args.summary), args.figures, read_costs(args.benchmarks)))


if __name__ == "__main__":
    run_stage(main)
