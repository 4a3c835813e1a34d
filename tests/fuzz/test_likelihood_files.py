"""Data sets: SACC files (other people's and our own product), candl definitions, WMAP's archive."""

from __future__ import annotations

import copy
import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacc
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cmbfit.fit.build import load_data
from cmbfit.likelihood.pixel.wmap9 import MEMBERS, read_wmap9_lowl
from cmbfit.likelihood.sacc_data import read_own_spectra
from cmbfit.likelihood.user_files import read_user_candl, read_user_sacc
from cmbfit.spectra.product import COMBINED, Bandpowers, leakage_path, write_combined
from tests.fuzz.damage import damaged, damaged_fits, damaged_tree
from tests.fuzz.judge import judge

LMAX, BINS = 40, 4
_RNG = np.random.default_rng(4)


def _windows() -> np.ndarray:
    out = np.zeros((BINS, LMAX + 1))
    for b in range(BINS):
        out[b, 4 + 8 * b : 12 + 8 * b] = 1 / 8
    return out


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SACC file as another code writes it."""
    file = sacc.Sacc()
    ell = np.arange(2, LMAX + 1)
    for name, quantity, spin in (("a0", "cmb_temperature", 0), ("a2", "cmb_polarization", 2)):
        file.add_tracer("Map", name, quantity=quantity, spin=spin, ell=ell, beam=np.ones(ell.size))
    window = sacc.BandpowerWindow(ell, _windows()[:, 2:].T)
    for kind, one, two in (("cl_00", "a0", "a0"), ("cl_0e", "a0", "a2"), ("cl_ee", "a2", "a2")):
        file.add_ell_cl(kind, one, two, 8.0 * np.arange(BINS) + 8, _RNG.normal(size=BINS), window=window)
    file.add_covariance(np.diag(1 + _RNG.random(3 * BINS)))
    path = tmp_path_factory.mktemp("foreign") / "x.fits"
    file.save_fits(str(path))
    read_user_sacc(path, unit="dl", units_checked=True)
    return path


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Path:
    n = len(COMBINED) * BINS
    windows = {(s, s): _windows() for s in COMBINED} | {("ee", "bb"): 0.01 * _windows()}
    data = Bandpowers(
        COMBINED, 8.0 * np.arange(BINS) + 8, tuple(range(4, 37, 8)), {s: _RNG.normal(size=BINS) for s in COMBINED},
        np.diag(1 + _RNG.random(n)), windows, {"fsky": 0.5},
    )  # fmt: skip
    path = tmp_path_factory.mktemp("product") / "x.sacc.fits"
    write_combined(path, data)
    read_own_spectra(path, "own", survey="x")
    return path


@given(st.data())
def test_sacc(foreign: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.fits"
    path.write_bytes(data.draw(damaged_fits(foreign.read_bytes())))
    judge("SACC file", lambda: read_user_sacc(path, unit="cl", units_checked=True))


@given(st.data())
def test_own_product(product: Path, tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "x.sacc.fits"
    for file in (product, leakage_path(product)):
        shutil.copy(file, tmp_path / file.name)
    victim = data.draw(st.sampled_from([path, path, leakage_path(path)]))
    victim.write_bytes(data.draw(damaged_fits(victim.read_bytes())))
    judge("spectrum product", lambda: read_own_spectra(path, "own", survey="x"))


SPEC: dict[str, Any] = {
    "name": "toy",
    "band_power_file": "data.txt",
    "covariance_file": "covariance.txt",
    "window_functions_folder": "windows/",
    "hartlap_correction": {"N_sims": 100},
    "spectra_info": [{"TT 150x150": BINS}, {"EE 150x150": BINS}],
    "data_model": [
        {"Module": "common.AberrationCorrection", "aberration_coefficient": -0.0005},
        {"Module": "common.CalibrationAuto", "spec_param_dict": {"TT 150x150": ["Tcal", "Tcal"]}},
        {"Module": "common.PolarisationCalibrationDivision", "cal_param": "Ecal"},
    ],
    "priors": [
        {"par_names": "tau", "central_value": 0.05, "prior_std": 0.006},
        {"par_names": ["Tcal", "Ecal"], "central_value": [1.0, 1.0], "prior_covariance": "prior.txt"},
    ],
}


def _text(table: np.ndarray) -> bytes:
    out = io.BytesIO()
    np.savetxt(out, table)
    return out.getvalue()


def _candl_files() -> dict[str, bytes]:
    table = _text(np.column_stack([np.arange(2, LMAX + 1), _windows()[:, 2:].T]))
    return {
        "data.txt": _text(_RNG.normal(size=2 * BINS)),
        "covariance.txt": _text(np.diag(1 + _RNG.random(2 * BINS))),
        "prior.txt": b"1e-4 2e-5\n2e-5 1e-4\n",
        **{f"windows/{s}_150x150_window_functions.txt": table for s in ("TT", "EE")},
    }


FILES = _candl_files()


@given(st.data())
def test_candl(tmp_path: Path, data: st.DataObject) -> None:
    files, spec = dict(FILES), copy.deepcopy(SPEC)
    if data.draw(st.integers(0, 2)):
        spec = data.draw(damaged_tree(spec))
    else:
        name = data.draw(st.sampled_from(sorted(files)))
        files[name] = data.draw(damaged(files[name]))
    text = yaml.dump(spec).encode()
    for name, raw in {
        **files,
        "x.yaml": text if data.draw(st.integers(0, 4)) else data.draw(damaged(text)),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(raw)
    judge("candl data set", lambda: read_user_candl(tmp_path / "x.yaml", units_checked=True))


def test_the_undamaged_candl_set_is_read(tmp_path: Path) -> None:
    (tmp_path / "windows").mkdir()
    for name, raw in {**FILES, "x.yaml": yaml.dump(SPEC).encode()}.items():
        (tmp_path / name).write_bytes(raw)
    (like,) = load_data([{"candl": str(tmp_path / "x.yaml"), "units_checked": True}])
    assert like.info.n_data == 2 * BINS


@pytest.mark.parametrize("raw", [b"", b"1.0\n", b"1 2\n3 4\n"])
def test_a_candl_covariance_of_another_size_is_refused(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "windows").mkdir()
    for name, content in {**FILES, "x.yaml": yaml.dump(SPEC).encode(), "covariance.txt": raw}.items():
        (tmp_path / name).write_bytes(content)
    assert not judge("candl data set", lambda: read_user_candl(tmp_path / "x.yaml", units_checked=True))


def _wmap_archive() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in MEMBERS.values():
            entry = tarfile.TarInfo(f"wmap/{name}")
            raw = b"0.5 0\n" * 40 if name.endswith(".txt") else b"SIMPLE  =                    T" + b" " * 50
            entry.size = len(raw)
            tar.addfile(entry, io.BytesIO(raw))
    return out.getvalue()


@given(damaged(_wmap_archive()))
def test_wmap_archive(raw: bytes) -> None:
    judge("WMAP archive", lambda: read_wmap9_lowl(raw))
