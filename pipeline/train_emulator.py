"""Train the emulator from the chunks of Boltzmann spectra and measure it on held-out backgrounds."""

from __future__ import annotations

import argparse
import json
import logging

from cmbfit.io import read_json
from cmbfit.theory.emulator.publish import train_bundle
from cmbfit.theory.emulator.train import fit_settings
from cmbfit.theory.emulator.trainingset import read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, train, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument("--fit", type=json.loads, default={}, help="JSON: fields of FitSettings")
    parser.add_argument("--search", help="product of search_emulator: its choice instead of --fit")
    parser.add_argument(
        "--held-out", type=float, required=True, help="fraction of backgrounds kept for the test"
    )
    parser.add_argument("--output", required=True, help="the bundle's folder")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = fit_settings(read_json(args.search)["chosen"] if args.search else args.fit)
    chunks = read_training_set(args.chunks, unlensed=settings.unlensed_components > 0)
    accuracy = train_bundle(args.output, chunks, settings, args.held_out)
    for where, part in (("box", accuracy), ("focus", accuracy.get("focus"))):
        for pair, (p68, p95, p99, worst) in (part["overall"] if part else {}).items():
            print(f"{where} {pair}: 68% {p68:.4f}, 95% {p95:.4f}, 99% {p99:.4f}, max {worst:.3f} sigma_CV")


if __name__ == "__main__":
    run_stage(main)
