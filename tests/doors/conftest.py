"""Fits that all doors are tried with, and files of a user's for two of them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cmbfit import data
from cmbfit.spectra.product import COMBINED, Bandpowers, write_combined
from cmbfit.theory.transfer.store import write_transfer
from tests.likelihood.conftest import fetched
from tests.theory.test_primordial_theory import made_up_expansion

from .doors import Case

EDGES = tuple(range(30, 191, 20))
"""Bins of the user's files: low, since made-up transfer functions end at l = 200."""

CUTS = {"tt": [50, 150]}
"""Of the candl file: bins whose centre lies inside."""

RANGES = {"tt": [50, 169], "ee": [30, 149]}
"""Of the own spectra: bins that lie inside."""

ERROR = 0.02
LEAKAGE = 0.1


def published() -> dict[str, np.ndarray]:
    """The spectrum of planck-lite-py's test, D_l from l = 0."""
    table = np.loadtxt(io.BytesIO(data.read_bytes("reference/Dl_planck2015fit.dat")))
    return {p: np.concatenate([[0.0, 0.0], table[:, i]]) for i, p in enumerate(("tt", "te", "ee"), start=1)}


def flat_windows() -> np.ndarray:  # shape: (8, 191)
    """Bandpowers are means over their bins."""
    ell = np.arange(EDGES[-1] + 1)
    return np.stack([((ell >= a) & (ell < b)) / (b - a) for a, b in zip(EDGES[:-1], EDGES[1:], strict=True)])


def noisy(rng: np.random.Generator, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Values with correlated errors, and their covariance."""
    error = ERROR * np.abs(truth) + 1e-3
    lags = np.abs(np.subtract.outer(np.arange(len(truth)), np.arange(len(truth))))
    covariance = np.outer(error, error) * 0.3**lags
    return rng.multivariate_normal(truth, covariance), covariance


@pytest.fixture(scope="module")
def candl_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of the user's in candl's format: TT, TE, EE with a calibration each of T and E."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "windows").mkdir()
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
        "priors": [{"par_names": "Tcal", "central_value": 1.0, "prior_std": 0.01}],
    }
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(definition))
    return path


def write_product(path: Path) -> None:
    """A run's own spectra; a window off the diagonal as masks make it, here of EE in TE."""
    w, dl = flat_windows(), published()
    windows = {(s, s): w for s in COMBINED} | {("te", "ee"): LEAKAGE * w}
    truth = np.concatenate([w @ dl[s][: w.shape[1]] if s in dl else np.zeros(len(w)) for s in COMBINED])
    values, covariance = noisy(np.random.default_rng(2), truth)
    parts = dict(zip(COMBINED, np.split(values, len(COMBINED)), strict=True))
    centres = (np.array(EDGES[:-1]) + np.array(EDGES[1:]) - 1) / 2
    path.parent.mkdir(parents=True)
    write_combined(path, Bandpowers(COMBINED, centres, EDGES, parts, covariance, windows, {"fsky": 0.5}))


def configured(folder: Path, fit: dict[str, Any], words: tuple[str, ...] = (), **more: Any) -> Case:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": {"name": "mine"}, "fits": {"it": fit}, **more}))
    return Case(str(path), "it", folder, words)


def _make(name: str, folder: Path, candl_file: Path) -> Case:
    mine = {"candl": str(candl_file), "priors": {"Ecal": {"gaussian": [1.0, 0.02]}}, "cuts": CUTS}
    match name:
        case "planck2018":
            return Case("default", "lcdm_planck2018", folder)
        case "p_act":
            fetched("act_dr6_cmb_only")
            return Case("ground", "lcdm_p_act", folder)
        case "spt3g_2018":
            fetched("spt3g_2018_lite")
            return Case("ground", "lcdm_spt3g_2018", folder)
        case "candl":
            return configured(folder, {"data": [mine, "tau_lowe"]})
        case "own_spectra":
            write_product(folder / "results/mine/spectra/VxW.sacc.fits")
            of_run = {"likelihood": {"pairs": ["tt", "te", "ee"], "ranges": RANGES}}
            return configured(folder, {"data": ["own_spectra", "tau_lowe"]}, spectra=of_run)
        case "evaporation":
            return Case("evaporation", "pbh_1e15", folder, ("--evaporation", "1e15"))
        case _:
            write_transfer(folder / "transfer", made_up_expansion())
            theory = {"primordial": name, "transfer": str(folder / "transfer")}
            words = ("--primordial", name, "--transfer", str(folder / "transfer"))
            return configured(folder, {"data": [mine, "tau_lowe"], "theory": theory}, words)


@pytest.fixture(
    scope="module",
    params=[
        "planck2018",
        pytest.param("p_act", marks=pytest.mark.network),
        pytest.param("spt3g_2018", marks=pytest.mark.network),
        "candl",
        "own_spectra",
        "evaporation",
        "power_law",
        "cutoff_exponential",
    ],
)
def case(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, candl_file: Path
) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # a run's results lie where it is started
        yield _make(request.param, folder, candl_file)
