from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch

from cmbfit.errors import ConfigError
from cmbfit.figures.reconstruction import plot_reconstruction, reconstruction
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit, build_likelihoods, build_theory
from cmbfit.inference.products import read_samples
from cmbfit.io import read_json
from cmbfit.likelihood import GaussianBandpowers
from cmbfit.likelihood.priors import prior_from_config
from cmbfit.theory.primordial.knots import is_freeform
from cmbfit.theory.primordial_theory import PrimordialTheory

_DRAWS = 2000


def plot_primordial(*, samples: Path, summary: Path, fit: Path, output: Path) -> None:
    """Plot the posterior band of P(k) of a primordial model and its imprint on the spectra against the data.

    Parameters
    ----------
    samples
        The fit's chain (publish_chains).
    summary
        The fit's summary (publish_chains).
    fit
        JSON: the fit, complete.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    described = Fit.read(fit)
    mpl.use("Agg")
    theory = build_theory(described)
    if not isinstance(theory, PrimordialTheory):
        raise ConfigError("plot_primordial: expected a fit of a primordial model")
    chain, best = read_samples(samples), read_json(summary)["best_fit"]["point"]
    columns = [chain.names.index(p) for p in theory.parameters]
    theta = chain.joined[:, columns]
    theta = theta[np.linspace(0, len(theta) - 1, min(_DRAWS, len(theta))).astype(int)]
    likelihoods = [x for x in build_likelihoods(described) if isinstance(x, GaussianBandpowers)]
    nuisance = {n: torch.tensor([x], dtype=torch.float64) for n, x in best.items()}
    point = np.array([best[p] for p in theory.parameters])
    table = reconstruction(theory, theta, point, likelihoods, nuisance, _prior_of(described, theory))
    save_figure(plot_reconstruction(table, described.title), output.with_suffix(""), table)


def _prior_of(fit: Fit, theory: PrimordialTheory) -> np.ndarray | None:
    """Return draws of a free-form spectrum's prior, whose own bands belong beside the posterior's; None for other models."""
    if not is_freeform(theory.model):
        return None
    rng = np.random.default_rng(0)
    columns = [prior_from_config(p, fit.priors[p]).sample(rng, _DRAWS) for p in theory.model.parameter_names]
    return np.stack(columns, 1)
