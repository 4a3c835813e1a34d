"""Run CLASS at one cosmology with evaporating primordial black holes of several masses and fractions."""

from __future__ import annotations

import argparse
import json

from cmbfit.theory.hawking.injection_runs import InjectionDesign, compute_injection, write_runs
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--design", type=json.loads, default={}, help="entries of InjectionDesign, as JSON")
    parser.add_argument("--cosmology", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    write_runs(args.output, compute_injection(InjectionDesign(**args.design), args.cosmology))


if __name__ == "__main__":
    run_stage(main)
