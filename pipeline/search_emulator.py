"""Choose the emulator's polynomials on validation backgrounds, and measure the learning curve."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

import numpy as np

from cmbfit.io import write_json
from cmbfit.theory.emulator.search import learning_curve, search
from cmbfit.theory.emulator.train import fit_settings, prepare, split_by_background
from cmbfit.theory.emulator.trainingset import read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, search, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument("--fit", type=json.loads, default={}, help="JSON: fields of FitSettings")
    parser.add_argument("--candidates", type=json.loads, required=True, help="JSON: list of degree, weights")
    parser.add_argument("--held-out", type=float, required=True, help="as in training; never looked at")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    training, _ = split_by_background(read_training_set(args.chunks), args.held_out)
    settings, box = fit_settings(args.fit), training.settings["design"]["box"]
    fit_part, validation_part = split_by_background(training, args.held_out)
    prepared = prepare(training, settings, training.dl.shape[2] - 1)
    rows = {
        name: np.isin(training.background, part.background)
        for name, part in (("fit", fit_part), ("validation", validation_part))
    }
    fit, validation = prepared.select(rows["fit"]), prepared.select(rows["validation"])
    chosen, table = search(fit, validation, settings, args.candidates, box)
    curve = learning_curve(fit, validation, chosen, box)
    write_json(args.output, {"chosen": asdict(chosen), "candidates": table, "learning_curve": curve})
    print(json.dumps(asdict(chosen)))


if __name__ == "__main__":
    run_stage(main)
