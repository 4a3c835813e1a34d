"""What a low-l temperature map says, as one record: power by multipole, goodness of fit, templates, clean map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.linalg
from scipy import special

from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.pixel.estimate import Bandpowers, quadratic_estimate, slice_log_prob
from cmbfit.likelihood.pixel.likelihood import PixelLikelihood
from cmbfit.likelihood.pixel.wmap7 import LowlSky
from cmbfit.sky.maps import Array
from cmbfit.theory.spectra import Spectra


def analyse(sky: LowlSky, like: PixelLikelihood, fiducial: Spectra) -> dict[str, Any]:
    """Return a JSON-able record of a low-l temperature map at a fiducial model.

    Returns
    -------
    dict
        `ell`, `dl`, `covariance` (quadratic estimates, uK^2), `fiducial`; `slices`: median and 68% interval of
        each D_l >= 0 with the others at the fiducial, flat prior; `pixels` and `estimates`: chi2, degrees of
        freedom and PTE of the fiducial; `templates`: amplitude and error with the fiducial's CMB as noise (V-W
        in units of itself, the others in uK); `map`: RING pixels, data and data less templates in uK.
    """
    estimate = quadratic_estimate(like, fiducial)
    fid = fiducial.dl["tt"][0].detach().cpu().numpy()[estimate.ell]
    low = scipy.linalg.cholesky(sky.covariance(fiducial), lower=True)
    columns = np.column_stack(list(sky.templates.values()))
    white = scipy.linalg.solve_triangular(low, np.column_stack([columns, sky.data]), lower=True)
    t, d = white[:, :-1], white[:, -1]
    covariance = np.linalg.inv(t.T @ t)
    amplitude = covariance @ (t.T @ d)
    chi2_pixels = float(np.sum((d - t @ amplitude) ** 2))
    difference = estimate.dl - fid
    chi2 = float(difference @ np.linalg.solve(estimate.covariance, difference))
    n_pixels, n = like.summary.n_data, len(estimate.dl)
    return {
        "ell": estimate.ell.tolist(),
        "dl": estimate.dl.tolist(),
        "covariance": estimate.covariance.tolist(),
        "fiducial": fid.tolist(),
        "slices": _slices(like, fiducial, estimate),
        "pixels": {"chi2": chi2_pixels, "dof": n_pixels, "pte": float(special.chdtrc(n_pixels, chi2_pixels))},
        "estimates": {"chi2": chi2, "dof": n, "pte": float(special.chdtrc(n, chi2))},
        "templates": {
            name: [float(a), float(e)]
            for name, a, e in zip(sky.templates, amplitude, np.sqrt(np.diag(covariance)), strict=True)
        },
        "map": {
            "nside": sky.averages.nside,
            "pixel": sky.averages.pixels.tolist(),
            "data": sky.data.tolist(),
            "clean": (sky.data - columns @ amplitude).tolist(),
        },
    }


def _slices(like: PixelLikelihood, fiducial: Spectra, estimate: Bandpowers) -> dict[str, list[float]]:
    """Quantiles 0.16, 0.5, 0.84 of each multipole's conditional posterior."""
    out: dict[str, list[float]] = {"low": [], "median": [], "high": []}
    sigma = np.sqrt(np.diag(estimate.covariance))
    for ell, error in zip(estimate.ell, sigma, strict=True):
        grid = np.linspace(0, 12 * error + max(0.0, float(estimate.dl[ell - estimate.ell[0]])), 3000)
        ln = slice_log_prob(like, fiducial, "tt", int(ell), grid)
        p = np.exp(ln - ln.max())
        cumulative = np.cumsum(p) / p.sum()
        for name, q in (("low", 0.16), ("median", 0.5), ("high", 0.84)):
            out[name].append(float(np.interp(q, cumulative, grid)))
    return out


def amplitude_in(record: Mapping[str, Any], lmin: int, lmax: int) -> tuple[float, float]:
    """Return the best amplitude of the fiducial's shape in lmin-lmax and its error, from the estimates."""
    ell = np.array(record["ell"])
    use = (ell >= lmin) & (ell <= lmax)
    shape = np.array(record["fiducial"])[use]
    weighted = np.linalg.solve(np.array(record["covariance"])[np.ix_(use, use)], shape)
    norm = float(shape @ weighted)
    return float(weighted @ np.array(record["dl"])[use]) / norm, norm**-0.5


def band_amplitudes(like: GaussianBandpowers, fiducial_dl: Array) -> list[tuple[int, int, float, float]]:
    """Return (lmin, lmax, amplitude of the fiducial, error) of each TT bin of another data set."""
    windows = next(block.window for block in like.blocks if block.pair == "tt").numpy()
    model = windows @ fiducial_dl[: windows.shape[1]]
    rows = []
    for window, value, sigma, m in zip(windows, like.data.numpy(), like.sigma.numpy(), model, strict=True):
        used = np.flatnonzero(window)
        rows.append((int(used[0]), int(used[-1]), float(value / m), float(sigma / m)))
    return rows


def lowl_checks(
    record: Mapping[str, Any], published: Sequence[tuple[int, int, float, float]], label: str
) -> list[dict[str, Any]]:
    """Return rows of the report's table: goodness of fit, and the power against a published measurement.

    The two measure the same sky, so the difference should stay within the larger of the errors, which are
    mostly cosmic variance.
    """
    rows = []
    for key, name in (("pixels", "pixels"), ("estimates", "multipoles")):
        got = record[key]
        comment = f"chi2 {got['chi2']:.1f} / {got['dof']}"
        rows.append(_row(f"low-l TT: PTE of the fiducial, {name}", got["pte"], 0.01, 0.99, comment))
    for low, high, other, sigma in published:
        ours, error = amplitude_in(record, low, high)
        name = f"low-l TT: power at l = {low}-{high} less {label}, in the larger error"
        comment = f"{ours:.3f} +- {error:.3f} against {other:.3f} +- {sigma:.3f} of the fiducial"
        rows.append(_row(name, (ours - other) / max(error, sigma), -1.0, 1.0, comment))
    return rows


def _row(name: str, value: float, low: float, high: float, comment: str) -> dict[str, Any]:
    tolerance = f"[{low:g}, {high:g}]"
    passed = bool(low <= value <= high)
    return {"name": name, "value": value, "tolerance": tolerance, "comment": comment, "pass": passed}
