from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.figures.distances import distance_table, drawable
from cmbfit.figures.distances import plot_distances as draw
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit, build_likelihoods, build_theory
from cmbfit.io import read_json


def plot_distances(*, summary: Path, fit: Path, output: Path) -> None:
    """Plot measured distances of a fit's galaxies and supernovae with the best-fit model.

    Parameters
    ----------
    summary
        Product of publish_chains.
    fit
        JSON: the fit, complete.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    described = Fit.read(fit)
    fitted, likelihoods = read_json(summary), drawable(build_likelihoods(described))
    theory = build_theory(described)
    point = fitted["best_fit"]["point"]
    theta = torch.tensor([[point[n] for n in theory.parameters]], dtype=torch.float64)
    table = distance_table(likelihoods, theory.spectra(theta).parameters)
    save_figure(draw(likelihoods, table, fitted["chi2"]), output.with_suffix(""), table)
