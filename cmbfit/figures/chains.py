"""Traces and autocorrelation times of the ensembles."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import SECOND, THEORY, new_figure, style
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import burn_in
from cmbfit.theory.parameters import latex_label

_COLOURS = (THEORY, SECOND, "0.35", "0.6")


def plot_traces(chains: Sequence[Chain], tau_multiple: float | None = None) -> Figure:
    """Return walker means and 68% bands against step, and tau against chain length.

    Parameters
    ----------
    chains : sequence of Chain
        Independent ensembles.
    tau_multiple : float, optional
        Chain length asked for in units of tau; drawn in the last panel.
    """
    names = chains[0].parameters
    n_panels = len(names) + 1
    rows = -(-n_panels // 2)
    with style():
        fig = new_figure(10, 1.6 * rows + 0.7)
        axes = fig.subplots(rows, 2, squeeze=False).T.flatten()
        for i, name in enumerate(names):
            ax = axes[i]
            for k, chain in enumerate(chains):
                x = chain.samples[:, :, i]
                low, high = np.percentile(x, [16, 84], axis=1)
                step = chain.thin * np.arange(len(x))
                ax.fill_between(step, low, high, color=_COLOURS[k % 4], alpha=0.25, lw=0)
                ax.plot(step, x.mean(1), color=_COLOURS[k % 4], lw=0.8, label=f"ensemble {k}")
            ax.axvline(max(burn_in(c) for c in chains), color="k", lw=0.8, ls=":")
            ax.set_ylabel(f"${latex_label(name)}$")
        ax = axes[len(names)]
        for k, chain in enumerate(chains):
            if not chain.tau_history:  # a sampler of independent draws need not keep one
                continue
            steps = np.array([n for n, _ in chain.tau_history])
            tau = np.array([t for _, t in chain.tau_history])
            ax.plot(steps, tau.max(1), "o-", ms=3, color=_COLOURS[k % 4])
        if tau_multiple is not None:
            line = np.array([0, max(c.steps for c in chains)])
            ax.plot(
                line, line / tau_multiple, "k--", lw=0.8, label=f"length / {tau_multiple:g}: converged below"
            )
            ax.legend(loc="upper left", fontsize=8)
        ax.set(ylabel="longest autocor-\nrelation time [steps]", xlabel="step")
        axes[0].legend(loc="upper right", fontsize=8, ncols=2)
        for extra in axes[n_panels:]:
            extra.set_visible(False)
        axes[rows - 1].set_xlabel("step; dotted: end of burn-in")
    return fig


def trace_table(chains: Sequence[Chain]) -> dict[str, np.ndarray]:
    """Return the plotted numbers as columns: mean, 16% and 84% of the walkers at each step."""
    columns: dict[str, list[np.ndarray]] = {"ensemble": [], "step": []}
    for k, chain in enumerate(chains):
        columns["ensemble"].append(np.full(len(chain.samples), k))
        columns["step"].append(chain.thin * np.arange(len(chain.samples)))
        for i, name in enumerate(chain.parameters):
            x = chain.samples[:, :, i]
            low, high = np.percentile(x, [16, 84], axis=1)
            for label, values in (("mean", x.mean(1)), ("q16", low), ("q84", high)):
                columns.setdefault(f"{name}_{label}", []).append(values)
    return {name: np.concatenate(parts) for name, parts in columns.items()}
