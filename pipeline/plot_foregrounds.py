from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.figures.foregrounds import component_tables, plot_components
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit, build_likelihoods, build_theory
from cmbfit.io import read_json
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers


def plot_foregrounds(*, summary: Path, fit: Path, output: Path) -> None:
    """Plot each spectrum of several frequencies with its foregrounds, residuals and chi2 at the best fit.

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
    with torch.no_grad():
        spectra = theory.spectra(torch.stack([point[n] for n in theory.parameters], dim=1))
    several = [x for x in likelihoods if isinstance(x, MultiFrequencyBandpowers)]
    table = component_tables(several, spectra, point)
    save_figure(plot_components(table), output.with_suffix(""), table)
