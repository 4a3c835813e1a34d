"""Measured distances with the best fit: baryon acoustic oscillations and supernovae, residuals by redshift."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.low_redshift.bao import QUANTITIES, BaoGaussian
from cmbfit.likelihood.low_redshift.supernovae import Supernovae

MAGNITUDE = "magnitude"
"""What the table calls the quantity of supernovae."""

_BINS = 20
"""Of supernovae in redshift, where there are more of them than can be told apart."""

_FEW = 60

_MARKS = {"DM": ("o", DATA), "DH": ("s", SECOND), "DV": ("D", THEORY)}


def drawable(likelihoods: Sequence[Likelihood]) -> list[BaoGaussian | Supernovae]:
    """Return the data sets that the figure shows: those that measure values and are no tables of a probability."""
    return [like for like in likelihoods if isinstance(like, BaoGaussian | Supernovae)]


def distance_table(
    likelihoods: Sequence[BaoGaussian | Supernovae],
    parameters: Mapping[str, torch.Tensor],
) -> dict[str, np.ndarray]:
    """Return data and best fit of every value as columns.

    Parameters
    ----------
    likelihoods : sequence
        From :func:`drawable`.
    parameters : mapping of str to torch.Tensor, shape (1,)
        Beside the best fit's spectra.

    Returns
    -------
    dict
        ``data_set``, ``quantity``, ``z``, ``value``, ``sigma``, ``model``. Of supernovae only differences of magnitudes say
        something: the model has the data's weighted mean, and errors are about that mean.
    """
    columns: dict[str, list[np.ndarray]] = {
        k: [] for k in ("data_set", "quantity", "z", "value", "sigma", "model")
    }
    for like in likelihoods:
        seen = like.seen(parameters)
        if isinstance(like, BaoGaussian):
            z, model, names = like.rows_z, like.predicted(seen)[:, 0].numpy(), list(like.quantities)
            sigma = like.sigma.numpy()
        else:
            z, model, names = like.z, like.moduli(seen)[:, 0].numpy(), [MAGNITUDE] * len(like.z)
            weight = _weights(like)
            model = model + weight @ (like.data.numpy() - model)
            sigma = np.sqrt(np.diag(_about_mean(like)))
        columns["data_set"].append(np.full(len(z), like.info.name))
        columns["quantity"].append(np.array(names))
        for key, x in (("z", z), ("value", like.data.numpy()), ("sigma", sigma), ("model", model)):
            columns[key].append(x)
    return {k: np.concatenate(v) if v else np.empty(0) for k, v in columns.items()}


def _weights(like: Supernovae) -> np.ndarray:  # shape: (n,)
    """Return inverse variances whose sum is one."""
    weight = like.sigma.numpy() ** -2
    return weight / weight.sum()


def _about_mean(like: Supernovae) -> np.ndarray:  # shape: (n, n)
    """Return the covariance of magnitudes less their weighted mean."""
    covariance, weight = like.covariance.numpy(), _weights(like)
    common = covariance @ weight
    return covariance - common[:, None] - common + weight @ common


def plot_distances(
    likelihoods: Sequence[BaoGaussian | Supernovae],
    table: Mapping[str, np.ndarray],
    chi2: Mapping[str, float],
) -> Figure:
    """Return a panel of baryon acoustic oscillations over the best fit, and one of supernovae about it.

    Parameters
    ----------
    likelihoods : sequence
        Of the table.
    table : mapping
        From :func:`distance_table`.
    chi2 : mapping of str to float
        Of each data set, for the legends.
    """
    bao = [like for like in likelihoods if isinstance(like, BaoGaussian)]
    supernovae = [like for like in likelihoods if isinstance(like, Supernovae)]
    with style():
        n = bool(bao) + bool(supernovae)
        fig = new_figure(6.4, 3.2 * n)
        axes = list(fig.subplots(n, 1, squeeze=False)[:, 0])
        for ax in axes:
            ax.axhline(0, color="0.6", lw=0.8)
            ax.set_xlabel("redshift $z$")
        if bao:
            _draw_bao(axes[0], bao, table, chi2)
        if supernovae:
            _draw_supernovae(axes[-1], supernovae, table, chi2)
    return fig


def _draw_bao(
    ax: Any, likelihoods: Sequence[BaoGaussian], table: Mapping[str, np.ndarray], chi2: Mapping[str, float]
) -> None:
    used: set[str] = set()
    for i, like in enumerate(likelihoods):
        for quantity in dict.fromkeys(like.quantities):
            rows = (table["data_set"] == like.info.name) & (table["quantity"] == quantity)
            z, value, sigma, model = (table[k][rows] for k in ("z", "value", "sigma", "model"))
            mark, colour = next((m for k, m in _MARKS.items() if k in quantity), ("^", DATA))
            label = f"${QUANTITIES[quantity].latex}$"
            # D_M and D_H of one redshift stand side by side; surveys differ in filling
            shift = 0.012 if "DH" in quantity else -0.012 if "DM" in quantity else 0.0
            look = {"mfc": colour if i == 0 else "white", "color": colour, "ms": 4, "lw": 1}
            ax.errorbar(
                z + shift,
                value / model - 1,
                yerr=sigma / model,
                fmt=mark,
                label=None if label in used else label,
                **look,
            )
            used.add(label)
    ax.legend(fontsize=8)
    ax.set_ylabel("measured / best fit $-$ 1")
    ax.set_title("   ".join(f"{x.info.name}: {_goodness(x, chi2)}" for x in likelihoods), fontsize=9)


def _goodness(like: BaoGaussian | Supernovae, chi2: Mapping[str, float]) -> str:
    few = like.info.n_data <= _FEW
    return f"$\\chi^2$ = {chi2[like.info.name]:.1f} of {like.info.n_data}{'' if few else ', binned'}"


def _draw_supernovae(
    ax: Any, likelihoods: Sequence[Supernovae], table: Mapping[str, np.ndarray], chi2: Mapping[str, float]
) -> None:
    ax.set_title("   ".join(f"{x.info.name}: {_goodness(x, chi2)}" for x in likelihoods), fontsize=9)
    for like, colour in zip(likelihoods, (THEORY, SECOND, DATA) * len(likelihoods), strict=False):
        rows = table["data_set"] == like.info.name
        z, residual = table["z"][rows], (table["value"] - table["model"])[rows]
        if len(z) > _FEW:
            ax.plot(z, residual, ".", ms=1.5, color="0.8", zorder=0)
            z, residual, sigma = binned(like, residual)
            ax.set_ylim(-4 * sigma.max(), 4 * sigma.max())
        else:
            sigma = table["sigma"][rows]
        ax.errorbar(z, residual, yerr=sigma, fmt="o", ms=4, lw=1, color=colour, label=like.info.name)
    ax.set_xscale("log")
    if len(likelihoods) > 1:
        ax.legend(fontsize=8)
    ax.set_ylabel(r"$\Delta m$ [mag]")


def binned(
    like: Supernovae,
    residual: np.ndarray,  # shape: (n,)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # shapes: (n_bins,)
    """Return redshift, weighted mean of residuals and its error in bins of as many supernovae each.

    Weights are inverse variances; the error is that of the mean under the whole covariance, about the mean of all.
    """
    order, covariance = np.argsort(like.z), _about_mean(like)
    out = []
    for rows in np.array_split(order, _BINS):
        block = covariance[np.ix_(rows, rows)]
        weight = 1 / np.diag(block)
        weight = weight / weight.sum()
        out.append((weight @ like.z[rows], weight @ residual[rows], np.sqrt(weight @ block @ weight)))
    z, mean, sigma = np.array(out).T
    return z, mean, sigma
