"""Fixtures shared by all tests: seeded randomness, torch's global state, reference files, slow objects."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cmbfit import data
from cmbfit.fit import build_posterior, complete_fit
from cmbfit.likelihood import Posterior, load_likelihood
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.compiled import compile_posterior
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra

ROOT = Path(__file__).resolve().parent.parent

# what the user of this machine has trusted is none of the tests' business
os.environ["CMBFIT_LOCK"] = "/nonexistent/cmbfit-lock.yaml"


@pytest.fixture(autouse=True, scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Secrets of blinded runs that tests load are not made among the user's."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


LONGEST = (
    "workflow/test_products.py",  # of the one whole run: who else needs it waits, and so comes later
    "faults/test_harness.py",
)
"""Files that take tens of seconds, in the order in which they begin: first, so that none is left alone with one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the others stay in their order (`--no-loadscope-reorder`)."""
    place = {ROOT / "tests" / name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


PLANCK_POINT = {
    "ombh2": 0.022383,
    "omch2": 0.12011,
    "theta_MC_100": 1.040909,
    "tau": 0.0543,
    "logA": 3.0448,
    "ns": 0.96605,
}
"""Best fit of Planck 2018 TT,TE,EE+lowE (also the point of Cobaya's own likelihood tests)."""


@pytest.fixture(autouse=True)
def torch_state() -> Iterator[None]:
    """Fail a test that leaves torch's default dtype or thread count changed."""
    before = torch.get_default_dtype(), torch.get_num_threads()
    yield
    after = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(before[0])
    torch.set_num_threads(before[1])
    assert after == before


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def reference_folder() -> Path:
    """Published spectra of the project's data mirror, which lies beside a development checkout only."""
    folder = ROOT.parent / "shared" / "data-mirror" / "reference"
    if not folder.is_dir():
        pytest.skip(f"the data mirror is not beside this checkout ({folder})")
    return folder


@pytest.fixture(scope="session")
def fixed_spectrum(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spectrum of planck-lite-py's and Cobaya's tests: l from 2, columns l TT TE EE, D_l [uK^2]."""
    path = tmp_path_factory.mktemp("reference") / "Dl_planck2015fit.dat"
    path.write_bytes(data.read_bytes("reference/Dl_planck2015fit.dat"))
    return path


@pytest.fixture(scope="session")
def emulator() -> LinearEmulator:
    return load_emulator("lcdm_planck2018")


@pytest.fixture(scope="session")
def likelihoods() -> dict[str, Likelihood]:
    names = ("ttteee", "tt")
    out = {name: load_likelihood(f"planck2018_plik_lite_{name}") for name in names}
    return out | {
        "bins": load_likelihood("planck2018_lowl_tt_2bin"),
        "lowe": load_likelihood("planck2018_lowl_ee"),
    }


@pytest.fixture(scope="session")
def fit_config() -> dict[str, Any]:
    """The default run's fit."""
    text = (ROOT / "pipeline" / "config" / "default.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["fits"]["lcdm_planck2018"]


@pytest.fixture(scope="session")
def posterior(fit_config: dict[str, Any]) -> Posterior:
    return build_posterior(complete_fit("lcdm_planck2018", fit_config, "lcdm_planck2018"), fold=False)


@pytest.fixture(scope="session")
def compiled(posterior: Posterior) -> Posterior:
    return compile_posterior(posterior)


@pytest.fixture(scope="session")
def camb_planck_point() -> Spectra:
    """CAMB at Planck's best fit, with the lensing accuracy that Planck 2018 used."""
    theory = CambTheory(CambSettings(lmax=2508, lens_potential_accuracy=1))
    return theory.spectra(point_from_values(theory, PLANCK_POINT))
