from __future__ import annotations

from pathlib import Path

from cmbfit.figures.foregrounds import amplitude_table
from cmbfit.figures.foregrounds import plot_amplitudes as draw
from cmbfit.figures.style import save_figure
from cmbfit.fit import Fit, build_likelihoods
from cmbfit.inference.products import read_samples
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers


def plot_amplitudes(*, samples: Path, fit: Path, output: Path) -> None:
    """Plot the foreground parameters of a fit beside their priors and other measurements.

    Parameters
    ----------
    samples
        The fit's chain (publish_chains).
    fit
        JSON: the fit, complete.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    """
    likelihoods = build_likelihoods(Fit.read(fit))
    several = [x for x in likelihoods if isinstance(x, MultiFrequencyBandpowers)]
    table = amplitude_table(several, read_samples(samples))
    save_figure(draw(table), output.with_suffix(""), table)
