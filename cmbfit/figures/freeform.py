"""Free-form P(k) averaged over the number of knots: bands of posterior and prior, and the evidence by number of knots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cmbfit.figures.style import SECOND, SERIES, THEORY, new_figure, style
from cmbfit.theory.primordial_theory import DISTANCE

_ZOOM = 0.15
"""Half the height of the panel of ratios."""


def plot_freeform(groups: Sequence[Mapping[str, Any]]) -> Figure:
    """Return a column of panels for each set of data, and the evidences below.

    Parameters
    ----------
    groups : sequence of mapping
        ``title`` and what :func:`cmbfit.inference.freeform.average` returns.
    """
    n = len(groups)
    with style():
        fig = new_figure(max(7.0, 5.0 * n), 8.6)
        grid = fig.add_gridspec(3, n, height_ratios=[1.25, 1.0, 0.9])
        for i, group in enumerate(groups):
            top = fig.add_subplot(grid[0, i])
            _spectrum(top, group)
            _ratio(fig.add_subplot(grid[1, i], sharex=top), group)
        _evidences(fig.add_subplot(grid[2, :]), groups)
    return fig


def freeform_table(groups: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Return the bands of the figure as columns: ln(10^10 P) of average, prior and each number of knots."""
    rows: dict[str, list[np.ndarray]] = {}
    for group in groups:
        k = np.array(group["k"])
        of_models = {m["name"]: m["bands"] for m in group["models"] if "bands" in m}
        for what, bands in {"average": group["average"], "prior": group["prior"], **of_models}.items():
            columns = {
                "data": np.full(len(k), group["title"]),
                "what": np.full(len(k), what),
                "k_per_Mpc": k,
                **{q: np.array(x) for q, x in bands.items()},
            }
            for name, column in columns.items():
                rows.setdefault(name, []).append(column)
    return {name: np.concatenate(parts) for name, parts in rows.items()}


def _multipole(k: ArrayLike) -> ArrayLike:
    return np.asarray(k) * DISTANCE


def _wavenumber(ell: ArrayLike) -> ArrayLike:
    return np.asarray(ell) / DISTANCE


def _spectrum(ax: Axes, group: Mapping[str, Any]) -> None:
    k = np.array(group["k"])
    for what, colour, name in (("prior", "0.55", "prior alone"), ("average", THEORY, "posterior")):
        q = {x: np.array(y) for x, y in group[what].items()}
        ax.fill_between(k, q["q2.5"], q["q97.5"], color=colour, alpha=0.22, lw=0, label=f"{name}, 95%")
        ax.fill_between(k, q["q16"], q["q84"], color=colour, alpha=0.4, lw=0, label=f"{name}, 68%")
    ax.plot(k, group["average"]["q50"], color=THEORY, lw=1)
    ax.set(xscale="log", ylabel=r"$\ln(10^{10}\,\mathcal{P}(k))$", xlim=(k[0], k[-1]))
    ax.legend(fontsize=8, ncols=2, loc="upper center")
    low, high = (np.array(group["prior"][q]) for q in ("q2.5", "q97.5"))
    ax.set_ylim(low.min() - 0.05, high.max() + 0.45)
    upper = ax.secondary_xaxis("top", functions=(_multipole, _wavenumber))
    upper.set_xlabel(rf"multipole $\ell \approx k D$, D = {DISTANCE:.0f} Mpc")
    ax.set_title(group["title"], fontsize=9)


def _ratio(ax: Axes, group: Mapping[str, Any]) -> None:
    k = np.array(group["k"])
    reference = next(m for m in group["models"] if m["name"] == group["reference"])
    base = np.array(reference["bands"]["q50"])
    for what, colour in (("prior", "0.55"), ("average", THEORY)):
        q = {x: np.exp(np.array(y) - base) - 1 for x, y in group[what].items()}
        ax.fill_between(k, q["q2.5"], q["q97.5"], color=colour, alpha=0.22, lw=0)
        ax.fill_between(k, q["q16"], q["q84"], color=colour, alpha=0.4, lw=0)
        if what == "average":
            ax.plot(k, q["q50"], color=THEORY, lw=1)
    ax.axhline(0, color=SECOND, lw=1)
    inner = [np.exp(np.array(group["average"][q]) - base) - 1 for q in ("q2.5", "q97.5")]
    use = (k * DISTANCE > 8) & (k * DISTANCE < 2500)
    reach = max(_ZOOM, 1.15 * float(np.abs(np.stack(inner))[:, use].max()))
    ax.set(xscale="log", ylim=(-reach, reach), xlabel="k [1/Mpc]")
    ax.set_ylabel(f"P / (median of {reference['knots']} knots) − 1")


def _evidences(ax: Axes, groups: Sequence[Mapping[str, Any]]) -> None:
    for i, group in enumerate(groups):
        found = [m for m in group["models"] if m.get("ln_b") is not None]
        x = np.array([m["knots"] for m in found]) + 0.08 * (i - (len(groups) - 1) / 2)
        ax.errorbar(
            x, [m["ln_b"] for m in found], yerr=[m["log_z_error"] for m in found],
            fmt="o", ms=5, capsize=3, color=(THEORY, SECOND, *SERIES)[i], label=group["title"],
        )  # fmt: skip
    ax.axhline(0, color="0.5", lw=0.8)
    ax.axhspan(-1, 1, color="0.92", lw=0, zorder=0)
    values = [m["ln_b"] for g in groups for m in g["models"] if m.get("ln_b") is not None and m["knots"] > 1]
    if values:  # one knot is excluded by tens, and would hide the others
        low, high = min([*values, -1.0]), max([*values, 1.0])
        ax.set_ylim(low - 0.15 * (high - low) - 0.3, high + 0.15 * (high - low) + 0.3)
    bottom = ax.get_ylim()[0]
    for i, group in enumerate(groups):
        for m in group["models"]:
            if m.get("ln_b") is not None and m["ln_b"] < bottom:
                ax.annotate(
                    f"↓ {m['ln_b']:.0f}", (m["knots"] + 0.35 * i, bottom), fontsize=8,
                    color=(THEORY, SECOND, *SERIES)[i], ha="center", va="bottom",
                )  # fmt: skip
    ax.set(xlabel="number of knots N", ylabel="ln B against N = 2")
    ax.set_xticks(sorted({m["knots"] for g in groups for m in g["models"]}))
    if len(groups) > 1:
        ax.legend(fontsize=8)
