"""Measure whether pairs of data sets agree on a model's parameters."""

from __future__ import annotations

import argparse
import json

import torch

from cmbfit.inference.data_tension import TensionRequest, measure_tension
from cmbfit.io import provenance, write_json
from cmbfit.theory.emulator.bundle import load_emulator
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--pairs", type=json.loads, required=True, help="JSON: name to fields of TensionRequest"
    )
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    theory = load_emulator(args.emulator)
    pairs = {
        name: measure_tension(TensionRequest(**spec), theory, args.seed) for name, spec in args.pairs.items()
    }
    write_json(args.output, {"pairs": pairs, "provenance": provenance(settings=args.pairs, seed=args.seed)})


if __name__ == "__main__":
    run_stage(main)
