"""Compute exact CAMB spectra at draws from a fit's posterior, to judge the emulator and re-weight the chain."""

from __future__ import annotations

import argparse
import json

import numpy as np

from cmbfit.errors import ConfigError
from cmbfit.inference.products import Samples, read_samples
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.bundle import read_arrays
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.emulator.trainingset import compute_points, write_chunk
from cmbfit.theory.hawking.exact import with_holes
from cmbfit.theory.hawking.response import EvaporationTheory
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.primordial_exact import compute_primordial
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.select import theory_from_config
from pipeline.run_stage import run_stage


def chosen_rows(samples: Samples, draws: int, seed: list[int]) -> np.ndarray:
    """Return which rows of a chain get exact spectra: the same ones whenever the seed is the same."""
    if draws > len(samples.joined):
        raise ConfigError(
            f"theory.emulator.check.draws is {draws}, but the chain has {len(samples.joined)} samples: lower it"
        )
    return np.random.default_rng(seed).choice(len(samples.joined), draws, replace=False)


def main() -> None:
    """Parse the arguments, draw, compute, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--draws", type=int, required=True, help="in all parts together")
    parser.add_argument("--part", type=int, nargs=2, required=True, help="this part and the number of parts")
    parser.add_argument("--seed", type=int, nargs="+", required=True)
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    samples = read_samples(args.samples)
    theory = theory_from_config(args.fit, args.emulator, args.transfer)
    rows = chosen_rows(samples, args.draws, args.seed)
    part, parts = args.part
    columns = [samples.names.index(name) for name in theory.parameters]
    theta = samples.joined[rows[part::parts]][:, columns]
    manifest, _ = read_arrays(bundle_folder(args.emulator))
    trained = json.loads(json.dumps(manifest["settings"]["trained_on"]["camb"]))
    trained.pop("version")
    settings = CambSettings(**trained)

    def log(text: str) -> None:
        print(text, flush=True)

    if isinstance(theory, PrimordialTheory):
        exact = compute_primordial(theory, theta, settings, log=log)
    elif isinstance(theory, EvaporationTheory):
        exact = with_holes(compute_points(theta[:, : len(LCDM)], settings, log=log), theory, theta)
    else:
        exact = compute_points(theta, settings, log=log)
    write_chunk(args.output, exact)


if __name__ == "__main__":
    run_stage(main)
