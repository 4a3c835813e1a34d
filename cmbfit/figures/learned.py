"""What a network learned of a primordial spectrum beside what the solver evolves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbfit.errors import ConfigError
from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.theory.primordial.model import PrimordialModel


@dataclass(frozen=True)
class Learned:
    """Differences of ln P, learned minus evolved.

    Attributes
    ----------
    k : numpy.ndarray, shape (n_k,)
        1/Mpc, increasing.
    held_out : numpy.ndarray, shape (n_test, n_k)
        At points that did not train.
    chain : numpy.ndarray, shape (n_chain, n_k)
        At points of a fit's chain; none without a chain.
    curve : list of dict
        `n_train`, `rms` and `max` of the held-out points, by size of the training set.
    """

    k: np.ndarray
    held_out: np.ndarray
    chain: np.ndarray
    curve: list[dict[str, float]]


_DRAWS = 12
"""Of a chain; each is evolved."""


def chain_points(
    model: PrimordialModel,
    names: Sequence[str],
    samples: np.ndarray,  # shape: (n, n_names)
) -> torch.Tensor:  # shape: (12, n_parameters)
    """Return the model's parameters at points of a chain, evenly drawn."""
    rows = np.linspace(0, len(samples) - 1, min(_DRAWS, len(samples))).astype(int)
    return torch.from_numpy(samples[rows][:, [names.index(p) for p in model.parameter_names]])


def learned_and_evolved(
    model: PrimordialModel,
    theta: torch.Tensor | None = None,  # shape: (n_chain, n_parameters)
) -> Learned:
    """Compare a learned model with its solver: at the points it was tested on, and, evolved anew, at those of `theta`.

    Raises
    ------
    ConfigError
        If the model is not a learned one.
    """
    if model.trained is None:
        raise ConfigError(
            f"{model.name}: expected a model that a network learned; this one is computed as it stands"
        )
    trained = model.trained()
    order = torch.argsort(trained.network.k)
    k = trained.network.k[order]
    held_out = (trained.network.log_power(trained.test.theta) - trained.test.log_power)[:, order]
    chain = held_out[:0] if theta is None else torch.log(model.power(k, theta) / model.exact.power(k, theta))
    return Learned(k.numpy(), held_out.numpy(), chain.numpy(), trained.curve)


def plot_learned(found: Learned, title: str) -> Figure:
    """Return two panels: ln P learned minus evolved by wavenumber, and the learning curve."""
    with style():
        fig = new_figure(9, 3.2)
        left, right = fig.subplots(1, 2, width_ratios=(1.4, 1))
        for rows, colour, width, label in (
            (found.held_out, "0.7", 0.6, "points that did not train"),
            (found.chain, THEORY, 1.2, "points of the chain"),
        ):
            for i, row in enumerate(rows):
                left.semilogx(found.k, row * 1e6, color=colour, lw=width, label=label if i == 0 else None)
        left.axhline(0, color=DATA, lw=0.8)
        left.set(xlabel="k [1/Mpc]", ylabel=r"$10^6\,\Delta\ln\mathcal{P}$, learned - evolved")
        left.set_title(title)
        left.legend(fontsize=8)
        n = [row["n_train"] for row in found.curve]
        right.loglog(n, [row["max"] for row in found.curve], "s--", color=SECOND, label="largest")
        right.loglog(n, [row["rms"] for row in found.curve], "o-", color=THEORY, label="rms")
        right.set_xticks(n, [f"{x:.0f}" for x in n])
        right.minorticks_off()
        right.set(xlabel="evolved points that trained", ylabel=r"$|\Delta\ln\mathcal{P}|$ held out")
        right.legend(fontsize=8)
    return fig


def learned_table(found: Learned) -> dict[str, np.ndarray]:
    """Return the plotted differences, one row for each point and wavenumber, and the curve's rows after them."""
    rows = np.concatenate([found.held_out, found.chain])
    kind = ["held out"] * len(found.held_out) + ["chain"] * len(found.chain)
    n, curve = len(found.k), len(found.curve)
    return {
        "panel": np.concatenate([np.repeat(kind, n), ["curve rms"] * curve, ["curve largest"] * curve]),
        "k_per_Mpc_or_n_train": np.concatenate(
            [np.tile(found.k, len(rows)), *[[row["n_train"] for row in found.curve]] * 2]
        ),
        "learned_minus_evolved": np.concatenate(
            [rows.ravel(), *([row[key] for row in found.curve] for key in ("rms", "max"))]
        ),
    }
