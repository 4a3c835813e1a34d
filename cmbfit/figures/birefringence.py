"""Rotation of polarisation: published angles, and what the run's own spectra say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style


def plot_birefringence(record: Mapping[str, Any], curves: Mapping[str, Any]) -> Figure:
    """Return published angles beside the posterior of this run.

    Parameters
    ----------
    record, curves : mapping
        From :func:`cmbfit.theory.birefringence.bandpowers.rotation_record`, and its ``curves``.
    """
    published = record["published"]
    beta, density = np.array(curves["beta_deg"]), np.array(curves["density"])
    flat = 1 / (len(beta) * (beta[1] - beta[0]))
    with style():
        fig = new_figure(9, 3.2)
        left, right = fig.subplots(1, 2, width_ratios=(1.1, 1))
        for i, p in enumerate(published):
            left.errorbar(p["value"], -i, xerr=p["error"], fmt="o", color=DATA, ms=5, capsize=2)
        left.set_yticks([-i for i in range(len(published))], [p["name"] for p in published])
        left.axvline(0, color="0.6", lw=0.8)
        left.set(xlabel=r"$\beta$ [deg]", ylim=(-len(published) + 0.4, 0.6))
        left.set_title("published, 68%")
        right.plot(beta, density, color=THEORY, label="this run")
        right.axhline(flat, color="0.6", ls="--", label="no data")
        right.axvspan(
            min(p["value"] - p["error"] for p in published),
            max(p["value"] + p["error"] for p in published),
            color=SECOND,
            lw=0.5,
            label="published",
        )
        low, high = record["ell"]
        says = "" if record["constrained"] else ": no constraint"
        right.set_title(f"EB, TB, l = {low}-{high}{says}")
        right.set(xlabel=r"$\beta$ [deg]", ylabel="density [1/deg]", ylim=(0, None))
        right.legend(fontsize=8)
    return fig


def birefringence_table(curves: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the posterior of the run on its grid."""
    return {"beta_deg": np.array(curves["beta_deg"]), "density_per_deg": np.array(curves["density"])}


def plot_angles(record: Mapping[str, Any]) -> Figure:
    """Return the angle of each channel, and of all together, beside published ones.

    Parameters
    ----------
    record : mapping
        From :func:`cmbfit.theory.birefringence.channel_fit.fit_channels`.
    """
    table = angle_table(record)
    rows = range(len(table["name"]))
    colours = {"channel": THEORY, "beta": SECOND, "published": DATA}
    with style():
        fig = new_figure(6.5, 1.2 + 0.32 * len(rows))
        ax = fig.subplots()
        for i in rows:
            ax.errorbar(
                table["angle_deg"][i], -i, xerr=table["error_deg"][i], fmt="o", color=colours[table["kind"][i]], ms=5,
                capsize=2,
            )  # fmt: skip
        ax.set_yticks([-i for i in rows], table["name"])
        ax.axvline(0, color="0.6", lw=0.8)
        low, high = record["ell"]
        ax.set(xlabel="angle [deg], 68%", ylim=(-len(rows) + 0.4, 0.6))
        ax.set_title(f"detectors + beta from EB, l = {low:g}-{high:g} (blue)")
    return fig


def angle_table(record: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the plotted angles."""
    beta = record["beta"]
    known = beta["alpha_deg"] > 0 or beta["alpha_own_deg"] > 0
    rows = [("channel", name, c["angle"], c["error"]) for name, c in record["channels"].items()]
    rows += [("beta", "beta, if dust has no EB", beta["value"], beta["error"])] if known else []
    rows += [("published", p["name"], p["value"], p["error"]) for p in record["published"]]
    kind, name, angle, error = zip(*rows, strict=True)
    return {
        "kind": np.array(kind),
        "name": np.array(name),
        "angle_deg": np.array(angle),
        "error_deg": np.array(error),
    }
