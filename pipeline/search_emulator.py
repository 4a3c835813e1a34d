"""Choose the emulator's polynomials on validation backgrounds, and measure the learning curve."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from cmbfit.io import write_json
from cmbfit.theory.emulator.search import learning_curve, power_law, search
from cmbfit.theory.emulator.train import fit_settings, held_out_rows, prepare, split_by_background
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
    settings = fit_settings(args.fit)
    chunks = read_training_set(args.chunks, unlensed=settings.unlensed_components > 0)
    box = chunks.settings["design"]["box"]
    training, _ = split_by_background(chunks, args.held_out)
    del chunks  # gigabytes
    prepared = prepare(training, settings, training.dl.shape[2] - 1)
    held = held_out_rows(training, args.held_out)
    fit, validation = prepared.select(~held), prepared.select(held)
    chosen, table = search(fit, validation, settings, args.candidates, box)
    curve = learning_curve(fit, validation, chosen, box)
    laws = {
        source: dict(zip(("exponent", "spectra_to_halve"), power_law(curve, source), strict=True))
        for source in curve[0]["errors"]
    }
    record = {"chosen": asdict(chosen), "candidates": table, "learning_curve": curve, "power_law": laws}
    write_json(args.output, record)
    print(json.dumps(asdict(chosen)))


if __name__ == "__main__":
    run_stage(main)
