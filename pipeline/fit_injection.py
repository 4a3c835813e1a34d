"""Learn the response to evaporating primordial black holes from Boltzmann runs, with its measured error."""

from __future__ import annotations

import argparse
import logging

import numpy as np

from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.hawking.injection_runs import read_runs
from cmbfit.theory.hawking.response import fit_response, write_responses
from pipeline.run_stage import run_stage

log = logging.getLogger(__name__)


def main() -> None:
    """Parse the arguments, fit, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", nargs="+", required=True)
    parser.add_argument("--base", required=True, help="emulator with bb that the effects are put on")
    parser.add_argument("--components", type=int, default=3, help="below and above l = 40 each")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    runs = read_runs(args.runs)
    base, responses = load_emulator(args.base), []
    for mass in np.unique(runs.mass).tolist():
        responses.append(fit_response(runs, base, mass, args.components))
        errors = ", ".join(f"{k} {v:.3g}" for k, v in responses[-1].error.items())
        log.info("%g g, left-out 99%% errors: %s", mass, errors)
    write_responses(args.output, responses, {**runs.settings, "components": args.components})


if __name__ == "__main__":
    run_stage(main)
