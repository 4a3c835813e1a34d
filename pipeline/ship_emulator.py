"""Put a trained emulator into the package, with what its errors do to chi2 over the box on record.

Not a rule: a likelihood in the training rule's code would train the emulator again at each edit of it.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch

from cmbfit.io import atomic_path, write_json
from cmbfit.likelihood import load_likelihood
from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.accuracy import spectra_of
from cmbfit.theory.emulator.bundle import load_emulator, read_arrays
from cmbfit.theory.emulator.train import split_by_background
from cmbfit.theory.emulator.trainingset import TrainingSet, read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emulator", required=True, help="folder of the trained bundle")
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument("--held-out", type=float, required=True, help="as in training")
    parser.add_argument("--data", nargs="+", required=True, help="data sets whose chi2 error is recorded")
    parser.add_argument("--output", required=True, help="folder in the package")
    args = parser.parse_args()
    emulator, (manifest, _) = load_emulator(args.emulator), read_arrays(args.emulator)
    _, held_out = split_by_background(read_training_set(args.chunks, unlensed=False), args.held_out)
    manifest["accuracy"]["chi2"] = {name: _chi2_error(name, emulator, held_out) for name in args.data}
    with atomic_path(Path(args.output) / "arrays.safetensors") as tmp:
        shutil.copyfile(Path(args.emulator) / "arrays.safetensors", tmp)
    write_json(Path(args.output) / "manifest.json", manifest)
    load_emulator(args.output)
    print(manifest["accuracy"]["chi2"])


def _chi2_error(name: str, emulator: Theory, held_out: TrainingSet) -> dict[str, float]:
    """Percentiles of |delta chi2| over the held-out points, and the size of chi2 itself there."""
    like, one = load_likelihood(name), torch.ones(len(held_out.theta), dtype=torch.float64)
    nuisance = dict.fromkeys(like.info.nuisance, one)
    truth = -2 * like.log_prob(spectra_of(held_out), nuisance)
    guess = -2 * like.log_prob(emulator.spectra(torch.from_numpy(held_out.theta)), nuisance)
    p50, p95, p100 = np.percentile((guess - truth).abs().numpy(), [50, 95, 100])
    return {
        "median": float(p50),
        "p95": float(p95),
        "max": float(p100),
        "median_chi2": float(truth.median()),
    }


if __name__ == "__main__":
    run_stage(main)
