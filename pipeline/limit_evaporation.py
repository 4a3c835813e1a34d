"""Limits on evaporating primordial black holes from the fits of all masses, with figures."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from cmbfit.figures.evaporation import imprint_table, limits_table, plot_imprint, plot_limits
from cmbfit.figures.style import save_figure
from cmbfit.inference.limits import upper_limit
from cmbfit.inference.products import read_samples
from cmbfit.io import read_json, write_json
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.hawking.response import FRACTION, response_of
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, compute the limits, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fits", nargs="+", required=True)
    parser.add_argument("--masses", nargs="+", type=float, required=True, help="of these fits, in grams")
    parser.add_argument("--samples", nargs="+", required=True, help="of these fits, in this order")
    parser.add_argument("--summaries", nargs="+", required=True, help="of these fits, in this order")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--figures", required=True, help="stem of the limits' figure; _imprint is added")
    parser.add_argument("--output", required=True)
    args = parser.parse_args()
    limits = []
    for fit, mass, path, summary in zip(args.fits, args.masses, args.samples, args.summaries, strict=True):
        samples, record = read_samples(path), read_json(summary)
        top = response_of(mass).box[FRACTION][1]
        limit = upper_limit(
            samples.column(FRACTION), top, n_effective=record["convergence"]["effective_samples_min"]
        )
        limits.append({"fit": fit, "mass_g": mass, **asdict(limit)})
    limits.sort(key=lambda entry: entry["mass_g"])
    write_json(args.output, {"parameter": FRACTION, "limits": limits})
    save_figure(plot_limits(limits), args.figures, limits_table(limits))
    point = read_json(args.summaries[0])["best_fit"]["point"]
    shown = {entry["mass_g"]: entry["flat"] for entry in limits}
    table = imprint_table(load_emulator(args.emulator), shown, point)
    save_figure(plot_imprint(table, shown), f"{args.figures}_imprint", table)


if __name__ == "__main__":
    run_stage(main)
