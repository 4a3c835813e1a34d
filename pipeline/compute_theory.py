"""Compute one chunk of a training set with CAMB."""

from __future__ import annotations

import argparse
import json

from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.design import Design
from cmbfit.theory.emulator.trainingset import compute_chunk, write_chunk
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--design", type=json.loads, default={}, help="JSON: fields of Design")
    parser.add_argument("--camb", type=json.loads, default={}, help="JSON: fields of CambSettings")
    parser.add_argument("--chunk", type=int, required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    chunk = compute_chunk(
        Design(**args.design), args.chunk, CambSettings(**args.camb), log=lambda s: print(s, flush=True)
    )
    write_chunk(args.output, chunk)


if __name__ == "__main__":
    run_stage(main)
