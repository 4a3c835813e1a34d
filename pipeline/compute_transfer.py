"""Compute the centre of a transfer expansion, or some points of its polynomial, with CAMB."""

from __future__ import annotations

import argparse
import json

import numpy as np
from safetensors.numpy import load_file, save_file

from cmbfit.io import atomic_path, read_json
from cmbfit.theory.transfer.plan import plan_from_config
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=json.loads, required=True, help="JSON: theory.transfer")
    parser.add_argument("--emulator", required=True, help="manifest: the physics it was trained on")
    parser.add_argument("--centre", help="product of the centre; without it that is computed")
    parser.add_argument("--part", type=int, nargs=2, help="this part of the points and the number of parts")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    trained = read_json(args.emulator)["settings"]["trained_on"]["camb"]
    plan = plan_from_config(args.plan, trained)
    if args.centre is None:
        arrays = plan.compute_centre()
    else:
        centre, (part, parts), arrays = load_file(args.centre), args.part, {}
        for i in range(part, plan.n_points, parts):
            run = plan.compute_point(i, centre)
            arrays |= {f"{i}.{name}": x for name, x in run.items()}
            print(f"point {i} of {plan.n_points}", flush=True)
    with atomic_path(args.output) as tmp:
        save_file({name: np.ascontiguousarray(x) for name, x in arrays.items()}, tmp)


if __name__ == "__main__":
    run_stage(main)
