"""Plot a fit's corner plot with the published values."""

from __future__ import annotations

import argparse
import json

import matplotlib as mpl

from cmbfit.figures.posterior import marginal_table, plot_corner
from cmbfit.figures.style import save_figure
from cmbfit.inference.products import read_samples
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    mpl.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    samples = read_samples(args.samples)
    reference = {name: tuple(x) for name, x in args.fit["reference"]["parameters"].items()}
    names = args.fit["show"]
    fig = plot_corner(samples, names, reference, args.fit["title"], args.fit["reference"]["label"])
    save_figure(fig, args.output, marginal_table(samples, names, reference))


if __name__ == "__main__":
    run_stage(main)
