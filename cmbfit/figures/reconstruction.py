"""A fitted primordial model: the band of P(k) that the data leave, and what it does to the spectra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from cmbfit.figures.residuals import bandpower_table
from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.spectra import Spectra

QUANTILES = (2.5, 16.0, 50.0, 84.0, 97.5)
_DRAWS = 64  # whose spectra are computed; P(k) takes all
_BIN = 8  # neighbouring bandpowers that are averaged in the figure


def reconstruction(
    theory: PrimordialTheory,
    theta: np.ndarray,  # shape: (n, n_parameters)
    best: np.ndarray,  # shape: (n_parameters,)
    likelihoods: Sequence[GaussianBandpowers],
    nuisance: Mapping[str, torch.Tensor],
    prior: np.ndarray | None = None,  # shape: (n, n_parameters of the model)
) -> dict[str, np.ndarray]:
    """Return the numbers of the figure as one table: bands of P(k), imprints by multipole, data.

    Parameters
    ----------
    theory : PrimordialTheory
    theta : numpy.ndarray, shape (n, n_parameters)
        Draws from the posterior.
    best : numpy.ndarray, shape (n_parameters,)
        The best fit.
    likelihoods : sequence of GaussianBandpowers
        Their data are shown minus the power law of the best fit.
    nuisance : mapping of str to torch.Tensor
        Of the best fit, each of shape (1,).
    prior : numpy.ndarray, shape (n, n_parameters of the model), optional
        Draws of the model's own parameters from the prior: bands of P(k) without data.

    Returns
    -------
    dict
        Columns ``what`` (P, prior, imprint_PAIR, best_PAIR or data_PAIR), ``x`` (k [1/Mpc] or multipole), ``value`` and
        the quantiles ``q2.5`` to ``q97.5``; P as 10^9 P, imprints and data in units of the power law's
        D_l; data with ``error``.
    """
    k = torch.logspace(-5, np.log10(0.5), 400, dtype=torch.float64)
    point, some = (
        torch.from_numpy(best)[None],
        torch.from_numpy(theta[:: max(1, len(theta) // _DRAWS)].copy()),
    )
    with torch.no_grad():
        power = 1e9 * theory.model.power(k, theory.split(torch.from_numpy(theta))[1]).numpy()
        best_power = 1e9 * theory.model.power(k, theory.split(point)[1])[0].numpy()
        spectra = theory.spectra(torch.cat([point, some]))
        imprint = theory.imprint(torch.cat([point, some]))
    rows: dict[str, list[np.ndarray]] = {}

    def add(what: str, x: np.ndarray, value: np.ndarray, bands: np.ndarray, error: np.ndarray) -> None:
        columns = {"what": np.full(len(x), what), "x": x, "value": value, "error": error}
        columns |= {f"q{q:g}": band for q, band in zip(QUANTILES, bands, strict=True)}
        for name, column in columns.items():
            rows.setdefault(name, []).append(column)

    add("P", k.numpy(), best_power, np.percentile(power, QUANTILES, axis=0), np.full(len(k), np.nan))
    if prior is not None:
        with torch.no_grad():
            alone = 1e9 * theory.model.power(k, torch.from_numpy(np.ascontiguousarray(prior))).numpy()
        bands = np.percentile(alone, QUANTILES, axis=0)
        add("prior", k.numpy(), bands[2], bands, np.full(len(k), np.nan))
    ell = np.arange(2, theory.lmax + 1)
    scale = _level({p: (spectra.dl[p] - imprint[p])[0].numpy() for p in ("tt", "te", "ee")})
    for pair in ("tt", "te", "ee"):
        relative = imprint[pair].numpy()[:, 2:] / scale[pair][2:]
        none = np.full(len(ell), np.nan)
        add(f"imprint_{pair}", ell, relative[0], np.percentile(relative[1:], QUANTILES, axis=0), none)
    smooth = Spectra(
        {p: (spectra.dl[p] - imprint[p])[:1] for p in spectra.dl},
        {p: x[:1] for p, x in spectra.parameters.items()},
    )
    table = bandpower_table(likelihoods, smooth, nuisance)
    for pair in ("tt", "te", "ee"):
        # each data set apart: two low-l bins among hundreds of bandpowers are what sees a cut-off
        for name in dict.fromkeys(table["data_set"]):
            use = (table["pair"] == pair) & (table["data_set"] == name)
            level = np.interp(table["ell"][use], np.arange(len(scale[pair])), scale[pair])
            columns = [
                table["ell"][use],
                (table["dl"] - table["model"])[use] / level,
                table["sigma"][use] / level,
            ]
            x, value, error = _averaged(*columns)
            add(f"data_{pair}", x, value, np.full((len(QUANTILES), len(x)), np.nan), error)
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _level(dl: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return what a change of each pair is compared with: D_l itself, sqrt(TT EE) for TE."""
    return {"tt": dl["tt"], "ee": dl["ee"], "te": np.sqrt(np.abs(dl["tt"] * dl["ee"]))}


def _averaged(
    ell: np.ndarray, value: np.ndarray, error: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return inverse-variance means of neighbouring bandpowers (their correlations are left out); a few stay as they are."""
    count = len(ell) // _BIN if len(ell) > _BIN else len(ell)
    groups = np.array_split(np.argsort(ell), count) if len(ell) else []
    out = []
    for rows in groups:
        w = error[rows] ** -2.0
        out.append([(w * ell[rows]).sum() / w.sum(), (w * value[rows]).sum() / w.sum(), w.sum() ** -0.5])
    x, y, e = np.array(out).T if out else np.empty((3, 0))
    return x, y, e


def plot_reconstruction(table: Mapping[str, np.ndarray], title: str) -> Figure:
    """Return four panels: P(k), and the change of TT, TE and EE, with 68% and 95% bands.

    Parameters
    ----------
    table : mapping
        From :func:`reconstruction`.
    title : str
    """
    with style():
        fig = new_figure(9.0, 6.0)
        axes = fig.subplots(2, 2).ravel()
        for ax, kind in zip(axes, ("P", "tt", "te", "ee"), strict=True):
            rows = table["what"] == ("P" if kind == "P" else f"imprint_{kind}")
            x, bands = table["x"][rows], [table[f"q{q:g}"][rows] for q in QUANTILES]
            alone = table["what"] == "prior"
            if kind == "P" and alone.any():
                q = {x: table[f"q{x:g}"][alone] for x in QUANTILES}
                ax.fill_between(
                    table["x"][alone], q[2.5], q[97.5], color="0.55", alpha=0.2, lw=0, label="prior, 95%"
                )
                ax.fill_between(
                    table["x"][alone], q[16.0], q[84.0], color="0.55", alpha=0.3, lw=0, label="prior, 68%"
                )
            ax.fill_between(x, bands[0], bands[4], color=THEORY, alpha=0.2, lw=0, label="95%")
            ax.fill_between(x, bands[1], bands[3], color=THEORY, alpha=0.4, lw=0, label="68%")
            ax.plot(x, table["value"][rows], color=SECOND, lw=1.0, label="best fit")
            ax.set_xscale("log")
            if kind == "P":
                ax.set(yscale="log", xlabel="k [1/Mpc]", ylabel=r"$10^9\,\mathcal{P}(k)$")
                best = table["value"][rows]
                outer = [best, bands[0], bands[4]]
                if alone.any():
                    outer += [table["q2.5"][alone], table["q97.5"][alone]]
                low, high = min(x.min() for x in outer), max(x.max() for x in outer)
                ax.set_ylim(max(low * 0.8, 0.02), high * 1.25)
                ax.legend(fontsize=8)
                continue
            use = table["what"] == f"data_{kind}"
            y, e = table["value"][use], table["error"][use]
            ax.errorbar(table["x"][use], y, yerr=e, fmt="o", ms=2, lw=0.6, color=DATA)
            ax.axhline(0, color="0.6", lw=0.6)
            curves = np.abs(np.stack([bands[0], bands[4], table["value"][rows]])[:, x < 2000])
            reach = 1.3 * max(curves.max(), 2 * np.median(e) if len(e) else 0)
            ax.set_ylim(-reach, reach)
            below = r"D_\ell" if kind != "te" else r"\sqrt{TT\,EE}"
            ax.set(xlabel=r"multipole $\ell$", ylabel=rf"$\Delta {kind.upper()} / {below}$")
        fig.suptitle(title, fontsize=10)
    return fig
