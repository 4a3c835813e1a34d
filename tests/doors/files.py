"""Files of a user's own, small enough that numpy says what their ln L must be."""

from __future__ import annotations

import io
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import yaml

from cmbfit import data
from cmbfit.spectra.product import COMBINED, Bandpowers, write_combined

EDGES = tuple(range(30, 191, 20))
"""Bins of the user's files: low, since made-up transfer functions end at l = 200."""

CUTS = {"tt": [50, 150]}
"""Of the candl file: bins whose centre lies inside."""

RANGES = {"tt": [50, 169], "ee": [30, 149]}
"""Of the own spectra: bins that lie inside."""

TOGETHER = np.array([[1e-4, 1e-4], [1e-4, 4e-4]])
"""Covariance of the candl file's prior of Tcal and Ecal: correlated by a half."""

ERROR = 0.02
LEAKAGE = 0.1


def published() -> dict[str, np.ndarray]:
    """The spectrum of planck-lite-py's test, D_l from l = 0."""
    table = np.loadtxt(io.BytesIO(data.read_bytes("reference/Dl_planck2015fit.dat")))
    return {p: np.concatenate([[0.0, 0.0], table[:, i]]) for i, p in enumerate(("tt", "te", "ee"), start=1)}


def flat_windows() -> np.ndarray:  # shape: (8, 191)
    """Bandpowers are means over their bins."""
    ell = np.arange(EDGES[-1] + 1)
    return np.stack([((ell >= a) & (ell < b)) / (b - a) for a, b in pairwise(EDGES)])


def noisy(rng: np.random.Generator, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values with correlated errors, and their covariance."""
    error = ERROR * np.abs(truth) + 1e-3
    lags = np.abs(np.subtract.outer(np.arange(len(truth)), np.arange(len(truth))))
    covariance = np.outer(error, error) * 0.3**lags
    return rng.multivariate_normal(truth, covariance), covariance


def write_candl(folder: Path) -> None:
    """A data set in candl's format: TT, TE, EE with a calibration each of T and E."""
    (folder / "windows").mkdir(parents=True)
    names, dl, w = ("TT 90x90", "TE 90x90", "EE 90x90"), published(), flat_windows()
    for name in names:
        np.savetxt(
            folder / f"windows/{name.replace(' ', '_')}_window_functions.txt",
            np.column_stack([np.arange(2, w.shape[1]), w[:, 2:].T]),
        )
    truth = np.concatenate([w @ dl[name[:2].lower()][: w.shape[1]] for name in names])
    values, covariance = noisy(np.random.default_rng(1), truth)
    np.savetxt(folder / "values.txt", values)
    np.savetxt(folder / "covariance.txt", covariance)
    divisors = (["Tcal", "Tcal"], ["Tcal", "Tcal", "Ecal"], ["Tcal", "Tcal", "Ecal", "Ecal"])
    definition = {
        "name": "mine",
        "band_power_file": "values.txt",
        "covariance_file": "covariance.txt",
        "window_functions_folder": "windows/",
        "spectra_info": [{name: w.shape[0]} for name in names],
        "data_model": [
            {"Module": "common.CalibrationAuto", "descriptor": name, "spec_param_dict": {name: by}}
            for name, by in zip(names, divisors, strict=True)
        ],
        "priors": [
            {"par_names": ["Tcal", "Ecal"], "central_value": [1.0, 1.0], "prior_covariance": "together.txt"}
        ],
    }
    np.savetxt(folder / "together.txt", TOGETHER)
    (folder / "mine.yaml").write_text(yaml.safe_dump(definition))


def product_numbers() -> tuple[np.ndarray, np.ndarray]:
    """Bandpowers of tt, ee, bb, te, eb, tb and their covariance."""
    w, dl = flat_windows(), published()
    truth = np.concatenate([w @ dl[s][: w.shape[1]] if s in dl else np.zeros(len(w)) for s in COMBINED])
    return noisy(np.random.default_rng(2), truth)


def write_product(path: Path) -> None:
    """A run's own spectra; a window off the diagonal as masks make it, here of EE in TE."""
    w = flat_windows()
    windows = {(s, s): w for s in COMBINED} | {("te", "ee"): LEAKAGE * w}
    values, covariance = product_numbers()
    parts = dict(zip(COMBINED, np.split(values, len(COMBINED)), strict=True))
    centres = (np.array(EDGES[:-1]) + np.array(EDGES[1:]) - 1) / 2
    path.parent.mkdir(parents=True)
    write_combined(path, Bandpowers(COMBINED, centres, EDGES, parts, covariance, windows, {"fsky": 0.5}))


def binned(dl: Mapping[str, np.ndarray], pair: str) -> np.ndarray:
    """Means of D_l over the bins, in a loop."""
    return np.array([dl[pair][a:b].mean() for a, b in pairwise(EDGES)])


def quadratic_form(values: np.ndarray, model: np.ndarray, covariance: np.ndarray, kept: list[bool]) -> float:
    """Return -chi2 / 2 of the bandpowers that are kept."""
    rows = np.flatnonzero(kept)
    residual = (values - model)[rows]
    return -0.5 * float(residual @ np.linalg.solve(covariance[np.ix_(rows, rows)], residual))


def candl_by_hand(folder: Path, dl: Mapping[str, np.ndarray], point: Mapping[str, float]) -> float:
    """Ln L of the candl file with its cuts."""
    t, e = point["Tcal"], point["Ecal"]
    model = np.concatenate(
        [binned(dl, "tt") / t**2, binned(dl, "te") / (t**2 * e), binned(dl, "ee") / (t**2 * e**2)]
    )
    low, high = CUTS["tt"]
    kept = [low <= (a + b - 1) / 2 <= high for a, b in pairwise(EDGES)] + [True] * (2 * len(EDGES) - 2)
    values, covariance = (np.loadtxt(folder / f"{n}.txt") for n in ("values", "covariance"))
    return quadratic_form(values, model, covariance, kept)


def product_by_hand(dl: Mapping[str, np.ndarray]) -> float:
    """Ln L of the own spectra in their ranges."""
    none = np.zeros(len(EDGES) - 1)
    models = {"tt": binned(dl, "tt"), "ee": binned(dl, "ee")}
    models["te"] = binned(dl, "te") + LEAKAGE * binned(dl, "ee")
    kept = []
    for s in COMBINED:
        low, high = RANGES.get(s, (0, 1000)) if s in models else (0, -1)
        kept += [low <= a and b - 1 <= high for a, b in pairwise(EDGES)]
    values, covariance = product_numbers()
    return quadratic_form(values, np.concatenate([models.get(s, none) for s in COMBINED]), covariance, kept)
