"""Join the posterior predictive checks of all fits into one product."""

from __future__ import annotations

import argparse

from cmbfit.io import read_json, write_json
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, join, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", required=True, help="products of check_predictive")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    write_json(args.output, {"fits": [read_json(path) for path in args.parts]})


if __name__ == "__main__":
    run_stage(main)
