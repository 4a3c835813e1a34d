"""Train the emulator from the chunks of CAMB spectra and measure it on held-out backgrounds."""

from __future__ import annotations

import argparse
import json
import logging

from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.bundle import load_emulator, write_bundle
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import FitSettings, fit_emulator, split_by_background, training_settings
from cmbfit.theory.emulator.trainingset import read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, train, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument("--fit", type=json.loads, default={}, help="JSON: fields of FitSettings")
    parser.add_argument(
        "--held-out", type=float, required=True, help="fraction of backgrounds kept for the test"
    )
    parser.add_argument("--output", required=True, help="the bundle's folder")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    training, held_out = split_by_background(read_training_set(args.chunks), args.held_out)
    settings = FitSettings(**args.fit)
    arrays = fit_emulator(training, settings, training.settings["design"]["box"])
    record = training_settings(training, settings)
    accuracy = measure(LinearEmulator(arrays, record), held_out.theta, held_out.dl, held_out.derived)
    write_bundle(args.output, arrays, record, accuracy)
    load_emulator(args.output)
    print(f"{len(training.theta)} spectra for training, {accuracy.n_points} held out; |delta D_l|/sigma_CV:")
    for pair, errors in accuracy.overall.items():
        print(f"  {pair}: 68% {errors[0]:.4f}, 95% {errors[1]:.4f}, 99% {errors[2]:.4f}, max {errors[3]:.3f}")


if __name__ == "__main__":
    run_stage(main)
