from __future__ import annotations

from pathlib import Path

from cmbfit.figures.chains import plot_traces, trace_table
from cmbfit.figures.style import save_figure
from cmbfit.inference.products import read_chain


def plot_chains(*, chains: list[Path], output: Path, tau_multiple: float | None = None) -> None:
    """Plot traces and autocorrelation times of a fit's ensembles.

    Parameters
    ----------
    chains
        All ensembles (sample_posterior), in order.
    output
        Where the figure goes (PNG); PDF and CSV are written beside it.
    tau_multiple
        Autocorrelation times that a chain must have, where its sampler asks for some.
    """
    ensembles = [read_chain(path)[0] for path in chains]
    figure = plot_traces(ensembles, tau_multiple)
    save_figure(figure, output.with_suffix(""), trace_table(ensembles))
