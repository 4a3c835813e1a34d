"""A user with a folder of their own, who has allowed no code; and made-up transfer functions in the real format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from cmbfit.registry import entry_points
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.transfer.expansion import ExpansionArrays, TransferExpansion
from cmbfit.theory.transfer.plan import CENTRE, STEPS
from cmbfit.theory.transfer.store import write_transfer

from .change import Change

_LMAX = 1110  # a thousand beyond the last lensed multipole
_LEVELS = {"tt": 1000.0, "te": 0.1, "ee": 0.01, "pp": 5e-8}


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """An empty folder to work in, besides the folder of the change itself."""
    (tmp_path / "config").mkdir()  # astropy warns of one that is not there
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "0")  # set, so that what --allow-code sets is undone
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    entry_points.cache_clear()
    return Change(work)


def _kernels(ell: np.ndarray, k: np.ndarray, level: float) -> np.ndarray:
    """Broad bumps at k = l/14000 Mpc; D_l near `level` for A_s = 2.1e-9."""
    peak = np.exp(-0.5 * ((np.log(k)[None] - np.log((ell[:, None] + 3) / 14_000)) / 0.1) ** 2)
    return level / 2.1e-9 * peak / peak.sum(1, keepdims=True)


POINT = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.041, "tau": 0.055, "logA": 3.045, "ns": 0.965}
"""Where the made-up bandpowers come from."""


@pytest.fixture(scope="session")
def bandpowers(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Twenty bins of TT with errors of 5% as a release in candl's format: the definition's path."""
    folder = tmp_path_factory.mktemp("release")
    with torch.no_grad():
        theta = torch.tensor([list(POINT.values())], dtype=torch.float64)
        sky = load_emulator("lcdm_planck2018").spectra(theta).dl["tt"][0, 2:102].numpy()
    mean = sky.reshape(20, 5).mean(1)
    noise = 0.05 * np.random.default_rng(4).standard_normal(20)
    windows = np.kron(np.eye(20), np.full((5, 1), 0.2))
    (folder / "windows").mkdir()
    name = folder / "windows" / "TT_90x90_window_functions.txt"
    np.savetxt(name, np.column_stack([np.arange(2, 102), windows]))
    np.savetxt(folder / "data.txt", mean * (1 + noise))
    np.savetxt(folder / "cov.txt", np.diag((0.05 * mean) ** 2))
    definition = {
        "name": "bins",
        "band_power_file": "data.txt",
        "covariance_file": "cov.txt",
        "window_functions_folder": "windows",
        "spectra_info": [{"TT 90x90": 20}],
        "data_model": [],
    }
    (folder / "bins.yaml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    return str(folder / "bins.yaml")


@pytest.fixture(scope="session")
def transfer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Folder of made-up transfer functions that no background parameter changes."""
    k = np.geomspace(5e-6, 0.6, 600)
    ell, sampled = np.arange(2, _LMAX + 1), np.unique(np.geomspace(2, _LMAX, 30).astype(int))
    arrays = ExpansionArrays(
        k,
        ell,
        sampled,
        np.array(list(CENTRE.values())),
        np.array(list(STEPS.values())),
        np.concatenate([[9.54], np.zeros(24)]),
        {p: _kernels(ell, k, x).astype(np.float32) for p, x in _LEVELS.items()},
        {p: np.zeros((24, len(sampled), len(k)), np.float32) for p in _LEVELS},
    )
    folder = tmp_path_factory.mktemp("transfer")
    write_transfer(folder, TransferExpansion(arrays, {"code": "toy", "nodes": {"reach": 0.4}}))
    return str(folder)
