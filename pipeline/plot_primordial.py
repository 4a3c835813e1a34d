"""Plot the posterior band of P(k) of a primordial model and its imprint on the spectra against the data."""

from __future__ import annotations

import argparse
import json

import matplotlib as mpl
import numpy as np
import torch

from cmbfit.errors import ConfigError
from cmbfit.figures.reconstruction import plot_reconstruction, reconstruction
from cmbfit.figures.style import save_figure
from cmbfit.inference.products import read_samples
from cmbfit.io import read_json
from cmbfit.likelihood import GaussianBandpowers
from cmbfit.likelihood.build import likelihoods_from_config
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.select import theory_from_config
from pipeline.run_stage import run_stage

_DRAWS = 2000


def main() -> None:
    """Parse the arguments, compute, plot, publish."""
    mpl.use("Agg")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", required=True)
    parser.add_argument("--summary", required=True)
    parser.add_argument("--fit", type=json.loads, required=True, help="JSON: the fit's configuration")
    parser.add_argument("--emulator", required=True)
    parser.add_argument("--transfer", required=True)
    parser.add_argument("--output", required=True, help="stem: .png, .pdf and .csv are added")
    args = parser.parse_args()
    theory = theory_from_config(args.fit, args.emulator, args.transfer)
    if not isinstance(theory, PrimordialTheory):
        raise ConfigError("plot_primordial: expected a fit of a primordial model")
    samples, best = read_samples(args.samples), read_json(args.summary)["best_fit"]["point"]
    columns = [samples.names.index(p) for p in theory.parameters]
    theta = samples.joined[:, columns]
    theta = theta[np.linspace(0, len(theta) - 1, min(_DRAWS, len(theta))).astype(int)]
    likelihoods = [x for x in likelihoods_from_config(args.fit) if isinstance(x, GaussianBandpowers)]
    nuisance = {n: torch.tensor([x], dtype=torch.float64) for n, x in best.items()}
    point = np.array([best[p] for p in theory.parameters])
    table = reconstruction(theory, theta, point, likelihoods, nuisance)
    save_figure(plot_reconstruction(table, args.fit["title"]), args.output, table)


if __name__ == "__main__":
    run_stage(main)
