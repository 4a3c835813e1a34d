"""The wmap9 configuration on stand-ins of the released files, small, through the real download code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from cmbfit.sky.foregrounds import Foreground
from cmbfit.spectra import read_spectra
from cmbfit.theory.textfile import read_arrays

from .conftest import ROOT
from .standins import Run, run_on_standins

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
CONFIGS = [ROOT / "pipeline/config/wmap9.yaml", Path(__file__).parent / "configs/wmap9_small.yaml"]
TARGETS = ["figures/nulls.png", "checks/spectra.json"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with pytest.MonkeyPatch.context() as patch:
        yield run_on_standins(tmp_path_factory.mktemp("wmap9"), CONFIGS, TARGETS, 64, 1.0, patch)


def test_files_came_through_the_download_code(small: Run) -> None:
    cached = {p.name for p in (small.cache / "wmap9").rglob("*.fits")}
    assert len(cached) == 24 + 4 + 2  # V and W by year and assembly, K by year, two masks
    assert "wmap_iqumap_r9_yr4_W4_v5.fits" in cached


def test_template_coefficients_come_back(small: Run) -> None:
    """a_K and a_dust against the spectral laws that made the sky, in units of their errors.

    Two templates and two fields: 4.5 sigma in chi2 of four is a one-in-a-thousand event (chi2 = 18.5).
    """
    zero = np.zeros((3, 1))
    synchrotron, dust = Foreground("synchrotron", zero, 23.0, -3.1), Foreground("dust", zero, 353.0, 1.54)
    law = np.array([[f.factor(nu) for f in (synchrotron, dust)] for nu in (22.8, 353.0)])
    for field, nu in (("V", 60.8), ("W", 93.5)):
        fit = json.loads((small.results / f"maps/{field}.templates.json").read_text())
        # a_K K + a_d dust must give what the field has of both foregrounds
        true = np.linalg.solve(law.T, [synchrotron.factor(nu), dust.factor(nu)])
        delta = np.array(fit["a"]) - true
        chi2 = delta @ np.linalg.solve(np.array(fit["covariance_a"]), delta)
        assert chi2 < 13.8, (field, fit["a"], true.tolist(), chi2)  # two coefficients: one in a thousand
        assert fit["checks"][0]["pass"]


def test_bandpowers_agree_with_the_input_sky(small: Run) -> None:
    data = read_spectra(small.results / "spectra/combined.sacc.fits")
    theory = read_arrays(small.results / "theory/fiducial.txt")
    binned = data.theory({k: theory[k] for k in ("tt", "te", "ee", "bb")})
    for name in data.names:
        chi2, dof = data.chi2(name, binned[name] if name in ("tt", "te", "ee", "bb") else None)
        assert 1 < chi2 < 36, (name, chi2, dof)  # 13 bandpowers: PTE from 1 - 1e-6 to 6e-4
    # the sky is really measured: TT to better than 15 % in each bin above l = 40
    assert (data.error("tt") / binned["tt"])[5:].max() < 0.15


def test_every_check_passes_and_is_shown(small: Run) -> None:
    checks = [
        c
        for name in ("pairs", "nulls", "spectra")
        for c in json.loads((small.results / f"checks/{name}.json").read_text())["checks"]
    ]
    failed = [(c["name"], c["value"], c["comment"]) for c in checks if not c["pass"]]
    assert not failed
    names = " ".join(c["name"] for c in checks)
    for wanted in ("V, 2 differences of splits, EE", "tt VxV - tt VxW", "EB null", "U sign", "TE PTE"):
        assert wanted in names
    with h5py.File(small.results / "spectra/pairs.h5") as f:
        assert f["values"].shape == (21, 13)
    assert (small.results / "figures/nulls.png").read_bytes().startswith(b"\x89PNG")
