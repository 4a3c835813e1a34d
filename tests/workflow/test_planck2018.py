"""The planck2018 configuration on stand-ins of the released files, small, through the real download code."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cmbfit.sky import read_mask_product, read_product
from cmbfit.spectra import read_spectra
from cmbfit.theory.textfile import read_arrays

from .conftest import ROOT
from .standins import Run, run_on_standins

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
CONFIGS = [ROOT / "pipeline/config/planck2018.yaml", Path(__file__).parent / "configs/planck2018_small.yaml"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Without foregrounds: the configuration has no model of them."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("planck2018")
        yield run_on_standins(folder, CONFIGS, ["checks/spectra.json", "checks/nulls.json"], 64, 0.0, patch)


def test_bad_pixels_are_cut_and_the_dipole_goes(small: Run) -> None:
    mask = read_mask_product(small.results / "maps/mask_temperature.fits")
    for split in ("1", "2"):
        stokes = read_product(small.results / f"maps/f143.{split}.fits")
        assert stokes.missing.sum() == 24  # 12 without data, 12 of excessive variance
        assert not (stokes.missing & mask.support).any()
    record = json.loads((small.results / "alms/cmb.1.h5.json").read_text())["steps"][-1]
    # the stand-ins have a dipole (3, -2, 1) and a monopole of 5 uK: those of the CMB realisation on half a sky
    # are of the order of 10 uK
    assert record["step"] == "remove monopole and dipole"
    np.testing.assert_allclose([record["monopole_uk"], *record["dipole_xyz_uk"]], [5, 3, -2, 1], atol=60)


def test_bandpowers_agree_with_the_input_sky(small: Run) -> None:
    data = read_spectra(small.results / "spectra/combined.sacc.fits")
    theory = read_arrays(small.results / "theory/fiducial.txt")
    binned = data.theory({k: theory[k] for k in ("tt", "te", "ee", "bb")})
    for name in data.names:
        chi2, dof = data.chi2(name, binned[name] if name in ("tt", "te", "ee", "bb") else None)
        assert 1 < chi2 < 36, (name, chi2, dof)  # 13 bandpowers: PTE from 1 - 1e-6 to 6e-4
    # polarisation efficiency and pixel window in place: EE to a few per cent
    weight = np.linalg.solve(data.block("ee"), binned["ee"])
    amplitude = weight @ data.values["ee"] / (weight @ binned["ee"])
    assert abs(amplitude - 1) < 4 / np.sqrt(weight @ binned["ee"])


def test_every_check_passes(small: Run) -> None:
    checks = [
        c
        for name in ("pairs", "nulls", "spectra")
        for c in json.loads((small.results / f"checks/{name}.json").read_text())["checks"]
    ]
    assert not [(c["name"], c["value"], c["comment"]) for c in checks if not c["pass"]]
    names = " ".join(c["name"] for c in checks)
    for wanted in ("d143x217, difference of channels, EE", "TT cmbxcmb", "EB null", "U sign"):
        assert wanted in names
