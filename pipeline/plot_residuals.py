"""Plot a fit's bandpowers with the best-fit model and residuals."""

from __future__ import annotations

import argparse
import json

import torch

from cmbfit.figures.residuals import bandpower_table, plot_residuals
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from cmbfit.likelihood import GaussianBandpowers
from cmbfit.likelihood.build import likelihoods_from_config
from cmbfit.theory.extrapolation import extrapolate_to
from cmbfit.theory.select import theory_from_config
from pipeline.run_stage import run_stage


def main() -> None:
    """Parse the arguments, plot, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--summary", required=True, help="product of publish_chains")
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", help="folder of the transfer expansion, for primordial models")
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    summary, likelihoods = read_json(args.summary), likelihoods_from_config(args.fit)
    lmax = max(like.lmax for like in likelihoods)
    theory = extrapolate_to(theory_from_config(args.fit, args.emulator, args.transfer), lmax)
    point = {n: torch.tensor([x], dtype=torch.float64) for n, x in summary["best_fit"]["point"].items()}
    spectra = theory.spectra(torch.stack([point[n] for n in theory.parameters], dim=1))
    gaussian = [like for like in likelihoods if isinstance(like, GaussianBandpowers)]
    table = bandpower_table(gaussian, spectra, point)
    save_figure(plot_residuals(table, spectra, summary["chi2"]), args.output, table)


if __name__ == "__main__":
    run_stage(main)
