"""Train the emulator from the chunks of CAMB spectra and measure it on held-out backgrounds."""

from __future__ import annotations

import argparse
import json
import logging

import numpy as np
import torch

from cmbfit.likelihood import load_likelihood
from cmbfit.theory.emulator.accuracy import measure, spectra_from_arrays
from cmbfit.theory.emulator.bundle import load_emulator, write_bundle
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import FitSettings, fit_emulator, split_by_background, training_settings
from cmbfit.theory.emulator.trainingset import TrainingSet, read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, train, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument("--fit", type=json.loads, default={}, help="JSON: fields of FitSettings")
    parser.add_argument(
        "--held-out", type=float, required=True, help="fraction of backgrounds kept for the test"
    )
    parser.add_argument("--data", nargs="*", default=[], help="data sets whose chi2 error is recorded")
    parser.add_argument("--output", required=True, help="the bundle's folder")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    training, held_out = split_by_background(read_training_set(args.chunks), args.held_out)
    settings = FitSettings(**args.fit)
    arrays = fit_emulator(training, settings, training.settings["design"]["box"])
    record = training_settings(training, settings)
    accuracy = measure(LinearEmulator(arrays, record), held_out.theta, held_out.dl, held_out.derived)
    chi2_errors = {name: _chi2_error(name, LinearEmulator(arrays, record), held_out) for name in args.data}
    write_bundle(args.output, arrays, record, accuracy, chi2_errors)
    load_emulator(args.output)
    print(f"{len(training.theta)} spectra for training, {accuracy.n_points} held out; |delta D_l|/sigma_CV:")
    for pair, errors in accuracy.overall.items():
        print(f"  {pair}: 68% {errors[0]:.4f}, 95% {errors[1]:.4f}, 99% {errors[2]:.4f}, max {errors[3]:.3f}")
    for name, chi2_error in chi2_errors.items():
        print(f"  |delta chi2| of {name}: {chi2_error}")


def _chi2_error(name: str, emulator: LinearEmulator, held_out: TrainingSet) -> dict[str, float]:
    """Percentiles of |delta chi2| over the held-out points, and the size of chi2 itself there."""
    like, one = load_likelihood(name), torch.ones(len(held_out.theta), dtype=torch.float64)
    nuisance = dict.fromkeys(like.info.nuisance, one)
    truth = -2 * like.log_prob(spectra_from_arrays(held_out.dl), nuisance)
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
