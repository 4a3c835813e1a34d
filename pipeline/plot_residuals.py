from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.figures.residuals import bandpower_table
from cmbfit.figures.residuals import plot_residuals as draw
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit, build_likelihoods, build_theory
from cmbfit.io import read_json
from cmbfit.likelihood import GaussianBandpowers
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers


def plot_residuals(*, summary: Path, fit: Path, output: Path) -> None:
    """Plot a fit's bandpowers with the best-fit model and residuals.

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
    fitted, likelihoods = read_json(summary), build_likelihoods(described)
    theory = build_theory(described, lmax=max(like.lmax for like in likelihoods))
    point = {n: torch.tensor([x], dtype=torch.float64) for n, x in fitted["best_fit"]["point"].items()}
    spectra = theory.spectra(torch.stack([point[n] for n in theory.parameters], dim=1))
    gaussian = [x for x in likelihoods if isinstance(x, GaussianBandpowers | MultiFrequencyBandpowers)]
    table = bandpower_table(gaussian, spectra, point)
    titles = {d["name"]: d["title"] for d in fitted["data"]}
    save_figure(draw(table, spectra, fitted["chi2"], titles), output.with_suffix(""), table)
