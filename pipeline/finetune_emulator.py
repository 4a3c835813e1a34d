"""Extend the trained emulator by the Boltzmann runs of an extension and measure it on held-out backgrounds."""

from __future__ import annotations

import argparse

from cmbfit.errors import BundleError
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.finetune import FineTuneSettings
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.publish import finetune_bundle
from cmbfit.theory.emulator.trainingset import read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, fine-tune, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument(
        "--held-out", type=float, required=True, help="fraction of backgrounds kept for the test"
    )
    parser.add_argument("--output", required=True, help="the bundle's folder")
    args = parser.parse_args()
    base = load_emulator(args.base)
    if not isinstance(base, LinearEmulator):
        raise BundleError(f"{args.base} is itself corrected; start from a base emulator")
    runs = read_training_set(args.chunks)
    accuracy = finetune_bundle(args.output, base, runs, FineTuneSettings(), args.held_out)
    for pair, (p68, p95, p99, worst) in accuracy["overall"].items():
        print(f"{pair}: 68% {p68:.4f}, 95% {p95:.4f}, 99% {p99:.4f}, max {worst:.3f} sigma_CV")


if __name__ == "__main__":
    run_stage(main)
