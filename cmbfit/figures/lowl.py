"""Low-l TT: power of single multipoles with LCDM and Planck's bins, and the map it comes from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cmbfit.figures.maps import SIGNED, draw_mollweide
from cmbfit.figures.style import DATA, SECOND, THEORY, new_figure, style


def plot_lowl_power(record: Mapping[str, Any]) -> Figure:
    """Return D_l^TT by multipole: slices of ln L as bars, quadratic estimates as points.

    Parameters
    ----------
    record : mapping
        From :func:`cmbfit.likelihood.pixel.analysis.analyse`, with `published` beside.
    """
    ell, fid = np.array(record["ell"]), np.array(record["fiducial"])
    s = {k: np.array(v) for k, v in record["slices"].items()}
    with style():
        fig = new_figure(8, 4.2)
        ax = fig.subplots()
        ax.plot(ell, fid, color=THEORY, label="fiducial LCDM")
        ax.errorbar(
            ell,
            s["median"],
            yerr=[s["median"] - s["low"], s["high"] - s["median"]],
            fmt="o",
            ms=4,
            lw=1,
            color=DATA,
            label=r"pixel likelihood: 68% of each $D_\ell$, others fixed",
        )
        ax.plot(ell + 0.25, record["dl"], "x", ms=4, color="0.45", label="quadratic estimates")
        for k, (low, high, amplitude, sigma) in enumerate(record["published"]["bins"]):
            use = (ell >= low) & (ell <= high)
            ax.fill_between(
                ell[use],
                (amplitude - sigma) * fid[use],
                (amplitude + sigma) * fid[use],
                color=SECOND,
                alpha=0.25,
                lw=0,
                label=record["published"]["label"] if k == 0 else None,
            )
        ax.set(
            xlabel=r"multipole $\ell$", ylabel=r"$D_\ell^{TT}$ [$\mu$K$^2$]", ylim=(0, 1.05 * s["high"].max())
        )
        pixels, multipoles = record["pixels"], record["estimates"]
        ax.set_title(
            f"WMAP7 V: $\\chi^2$ of LCDM {pixels['chi2']:.0f}/{pixels['dof']} pixels (PTE {pixels['pte']:.2f}), "
            f"{multipoles['chi2']:.1f}/{multipoles['dof']} multipoles (PTE {multipoles['pte']:.2f})",
            fontsize=9,
        )
        ax.legend(fontsize=8, loc="upper right")
    return fig


def lowl_power_table(record: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the plotted numbers, one row a multipole, uK^2."""
    ell = np.array(record["ell"])
    bins = np.full((2, len(ell)), np.nan)
    for low, high, amplitude, sigma in record["published"]["bins"]:
        use = (ell >= low) & (ell <= high)
        bins[0, use], bins[1, use] = amplitude, sigma
    return {
        "ell": ell,
        "dl_estimate_uk2": np.array(record["dl"]),
        "sigma_uk2": np.sqrt(np.diag(np.array(record["covariance"]))),
        "slice_median_uk2": np.array(record["slices"]["median"]),
        "slice_16_uk2": np.array(record["slices"]["low"]),
        "slice_84_uk2": np.array(record["slices"]["high"]),
        "fiducial_uk2": np.array(record["fiducial"]),
        "published_over_fiducial": bins[0],
        "published_sigma_over_fiducial": bins[1],
    }


def plot_lowl_maps(record: Mapping[str, Any]) -> Figure:
    """Return three Mollweide panels: the data, what the templates take away, and what is left."""
    m = record["map"]
    data, clean = np.array(m["data"]), np.array(m["clean"])
    panels = (("used V map", data), ("templates taken off", data - clean), ("map without templates", clean))
    with style():
        fig = new_figure(11, 3.3)
        axes = fig.subplots(1, 3, subplot_kw={"projection": "mollweide"})
        for ax, (title, values) in zip(axes, panels, strict=True):
            full = np.full(12 * m["nside"] ** 2, np.nan)
            full[m["pixel"]] = values
            top = float(np.percentile(np.abs(values), 99))
            mesh = draw_mollweide(ax, full, (-top, top), SIGNED)
            ax.set_title(title)
            bar = fig.colorbar(mesh, ax=ax, orientation="horizontal", shrink=0.7, aspect=26, pad=0.04)
            bar.set_label(r"$\mu$K$_{\rm CMB}$")
        amplitudes = "; ".join(f"{k}: {a:.2f} $\\pm$ {e:.2f}" for k, (a, e) in record["templates"].items())
        fig.supxlabel(f"nside {m['nside']}, Galactic; grey: masked. {amplitudes}", fontsize=8)
    return fig


def lowl_map_table(record: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the plotted numbers, one row a used RING pixel, uK_CMB."""
    m = record["map"]
    return {"pixel": np.array(m["pixel"]), "data_uk": np.array(m["data"]), "clean_uk": np.array(m["clean"])}
