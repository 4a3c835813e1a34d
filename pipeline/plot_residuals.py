from __future__ import annotations

from pathlib import Path

import torch

from cmbfit.figures.residuals import bandpower_table
from cmbfit.figures.residuals import plot_residuals as draw
from cmbfit.figures.style import save_figure
from cmbfit.io import read_json
from cmbfit.likelihood import GaussianBandpowers
from cmbfit.likelihood.build import likelihoods_from_config
from cmbfit.theory.extrapolation import extrapolate_to
from cmbfit.theory.select import theory_from_config
from pipeline.read import read_fit


def plot_residuals(
    *, summary: Path, fit: Path, emulator: Path, output: Path, transfer: Path | None = None
) -> None:
    """Plot a fit's bandpowers with the best-fit model and residuals.

    Parameters
    ----------
    summary
        Product of publish_chains.
    fit
        JSON: the fit, complete.
    emulator
        Manifest of the emulator's bundle.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    transfer
        Manifest of the transfer expansion, which primordial models need.
    """
    section = read_fit(fit)
    fitted, likelihoods = read_json(summary), likelihoods_from_config(section)
    lmax = max(like.lmax for like in likelihoods)
    theory = extrapolate_to(theory_from_config(section, emulator.parent, transfer and transfer.parent), lmax)
    point = {n: torch.tensor([x], dtype=torch.float64) for n, x in fitted["best_fit"]["point"].items()}
    spectra = theory.spectra(torch.stack([point[n] for n in theory.parameters], dim=1))
    gaussian = [like for like in likelihoods if isinstance(like, GaussianBandpowers)]
    table = bandpower_table(gaussian, spectra, point)
    save_figure(draw(table, spectra, fitted["chi2"]), output.with_suffix(""), table)
