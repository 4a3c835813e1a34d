"""Train networks beside the polynomials, alone and on their residual, and measure all three on held-out spectra."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import asdict, replace

import torch

from cmbfit.errors import BundleError
from cmbfit.io import write_json
from cmbfit.theory.emulator.base_network import constant_emulator, tune_network
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.comparison import compare_models
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import NetworkSettings
from cmbfit.theory.emulator.train import split_by_background
from cmbfit.theory.emulator.trainingset import read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, search, train, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emulator", required=True, help="the bundle with the polynomials")
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument("--held-out", type=float, required=True, help="as in training")
    parser.add_argument(
        "--network",
        type=json.loads,
        required=True,
        help="JSON: fields of NetworkSettings, and trials and trial_steps of the search",
    )
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cmbfit").setLevel(logging.INFO)
    base = load_emulator(args.emulator)
    if not isinstance(base, LinearEmulator):
        raise BundleError(f"{args.emulator} is itself corrected; compare a base emulator")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chunks = read_training_set(args.chunks, unlensed="unlensed" in base.blocks)
    training, held = split_by_background(chunks, args.held_out)
    del chunks  # gigabytes
    trials, trial_steps = args.network.pop("trials"), args.network.pop("trial_steps")
    settings = NetworkSettings(**args.network)
    starts = {
        "network": LinearEmulator(constant_emulator(base.arrays), base.settings),
        "polynomial + network": base,
    }
    chosen, searches = {}, {}
    for name, start in starts.items():
        short = replace(settings, steps=trial_steps)
        best, searches[name] = tune_network(start, training, short, trials, device)
        chosen[name] = replace(best, steps=settings.steps)
    models = compare_models(base, training, held, chosen, device)
    record = {"models": models, "chosen": {k: asdict(x) for k, x in chosen.items()}, "trials": searches}
    write_json(args.output, {**record, "n_training": len(training.theta), "n_held_out": len(held.theta)})


if __name__ == "__main__":
    run_stage(main)
