"""A user with a folder of their own, who has allowed no code; and made-up transfer functions in the real format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmbfit.registry import entry_points
from cmbfit.theory.transfer.expansion import ExpansionArrays, TransferExpansion
from cmbfit.theory.transfer.plan import CENTRE, STEPS
from cmbfit.theory.transfer.store import write_transfer

from .change import Change

_LMAX = 1100  # a thousand beyond the last lensed multipole, of which low-l data need 29
_LEVELS = {"tt": 1000.0, "te": 0.1, "ee": 0.01, "pp": 5e-8}


@pytest.fixture
def change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Change:
    """An empty folder to work in, besides the folder of the change itself."""
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
