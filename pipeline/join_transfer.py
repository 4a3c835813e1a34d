"""Join the runs of a transfer expansion and publish it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from safetensors.numpy import load_file

from cmbfit.io import read_json
from cmbfit.theory.transfer.plan import Run, plan_from_config
from cmbfit.theory.transfer.store import TENSORS, write_transfer
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, join, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", type=json.loads, required=True, help="JSON: theory.transfer")
    parser.add_argument("--emulator", required=True, help="manifest: the physics it was trained on")
    parser.add_argument("--centre", required=True)
    parser.add_argument("--parts", nargs="+", required=True)
    parser.add_argument("--tensors", action="store_true", help="also compute the tensors of the centre")
    parser.add_argument("--output", required=True, help="folder")
    args = parser.parse_args()
    plan = plan_from_config(args.plan, read_json(args.emulator)["settings"]["trained_on"]["camb"])
    points: dict[int, Run] = {}
    for path in args.parts:
        for key, x in load_file(path).items():
            index, _, name = key.partition(".")
            points.setdefault(int(index), {})[name] = x
    if args.tensors:
        write_transfer(Path(args.output) / TENSORS, plan.compute_tensors())
    write_transfer(args.output, plan.assemble(load_file(args.centre), points))


if __name__ == "__main__":
    run_stage(main)
