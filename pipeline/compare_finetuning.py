"""Measure the methods of fine-tuning against the number of Boltzmann runs, and plot the learning curve."""

from __future__ import annotations

import argparse
import logging

import numpy as np

from cmbfit.errors import BundleError
from cmbfit.figures.style import save_figure
from cmbfit.figures.training import finetuning_table, plot_finetuning
from cmbfit.io import write_json
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.comparison import finetuning_curve
from cmbfit.theory.emulator.finetune import METHODS, FineTuneSettings
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import split_by_background
from cmbfit.theory.emulator.trainingset import read_training_set
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, measure, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", required=True)
    parser.add_argument("--chunks", nargs="+", required=True)
    parser.add_argument("--held-out", type=float, required=True)
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--table", required=True, help="all numbers, JSON")
    parser.add_argument("--output", required=True, help="stem of the figure: .png, .pdf and .csv are added")
    args = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cmbfit").setLevel(logging.INFO)
    base = load_emulator(args.base)
    if not isinstance(base, LinearEmulator):
        raise BundleError(f"{args.base} is itself corrected; start from a base emulator")
    runs = read_training_set(args.chunks)
    pool, held = split_by_background(runs, args.held_out)
    design = runs.settings["design"]
    box = {**design["box"], **design["extension"]}
    n = len(np.unique(pool.background))
    sizes = sorted({max(10, n // k) for k in (8, 4, 2, 1)})
    curve = finetuning_curve(base, pool, held, box, args.methods, sizes, FineTuneSettings())
    write_json(args.table, curve)
    extension = ", ".join(design["extension"])
    save_figure(plot_finetuning(curve, extension), args.output, finetuning_table(curve))


if __name__ == "__main__":
    run_stage(main)
