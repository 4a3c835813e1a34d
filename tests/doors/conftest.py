"""Fits that every door is tried with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cmbfit.theory.transfer.store import write_transfer
from tests.likelihood.conftest import fetched
from tests.theory.test_primordial_theory import made_up_expansion

from .doors import Case
from .files import CUTS, RANGES, write_candl, write_product

SHIPPED = {
    "planck2018": ("default", "lcdm_planck2018", ""),
    "p_act": ("ground", "lcdm_p_act", "act_dr6_cmb_only"),
    "spt3g_2018": ("ground", "lcdm_spt3g_2018", "spt3g_2018_lite"),
    "evaporation": ("evaporation", "pbh_1e15", ""),
}
"""Shipped configuration, its fit, and the data set that is not in the repository."""

ITEM = {"candl": "mine/mine.yaml", "cuts": CUTS}
APART = {"Tcal": {"gaussian": [1.0, 0.01]}, "Ecal": {"uniform": [0.8, 1.2]}}
"""Priors in place of those of the file."""


def own(name: str, folder: Path, fit: dict[str, Any], words: tuple[str, ...] = (), **more: Any) -> Case:
    """A configuration of the user's."""
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"run": {"name": "mine"}, "fits": {"it": fit}, **more}))
    return Case(name, str(path), "it", folder, words)


def make(name: str, folder: Path) -> Case:
    if name in SHIPPED:
        config, fit, data = SHIPPED[name]
        if data:
            fetched(data)
        return Case(name, config, fit, folder, ("--evaporation=1e15",) if name == "evaporation" else ())
    if name == "own_spectra":
        write_product(folder / "results/mine/spectra/VxW.sacc.fits")
        spectra = {"likelihood": {"pairs": ["tt", "te", "ee"], "ranges": RANGES}}
        return own(name, folder, {"data": ["own_spectra", "tau_lowe"]}, spectra=spectra)
    write_candl(folder / "mine")
    if name == "candl":
        return own(name, folder, {"data": [ITEM, "tau_lowe"]})
    write_transfer(folder / "transfer", made_up_expansion())
    fit = {
        "data": [ITEM | {"priors": APART}, "tau_lowe"],
        "theory": {"primordial": name, "transfer": "transfer"},
    }
    return own(name, folder, fit, (f"--primordial={name}", "--transfer=transfer"))


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
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # paths of a configuration, and results, lie where a run is started
        yield make(request.param, folder)
