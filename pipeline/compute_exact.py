"""Compute exact CAMB spectra at draws from a fit's posterior, to judge the emulator where it is used."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.inference.products import read_samples
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.bundle import bundle_folder, read_arrays
from cmbfit.theory.emulator.trainingset import compute_points, write_chunk
from cmbfit.theory.parameters import LCDM
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, draw, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--draws", type=int, required=True, help="in all parts together")
    parser.add_argument("--part", type=int, nargs=2, required=True, help="this part and the number of parts")
    parser.add_argument("--seed", type=int, nargs="+", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    samples = read_samples(args.samples)
    rows = np.random.default_rng(args.seed).choice(len(samples.joined), args.draws, replace=False)
    part, parts = args.part
    columns = [samples.names.index(name) for name in LCDM]
    theta = samples.joined[rows[part::parts]][:, columns]
    manifest, _ = read_arrays(bundle_folder(args.emulator))
    trained = json.loads(json.dumps(manifest["settings"]["trained_on"]["camb"]))
    trained.pop("version")
    write_chunk(
        args.output, compute_points(theta, CambSettings(**trained), log=lambda s: print(s, flush=True))
    )


if __name__ == "__main__":
    run_stage(main)
