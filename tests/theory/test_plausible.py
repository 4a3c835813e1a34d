"""Wrong units and columns are refused by name at the reader of text; unusual universes pass."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import camb
import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.theory.plausible import require_plausible
from cmbfit.theory.textfile import read_arrays, read_spectrum

T2 = 2.7255e6**2
TO = 300  # of the spectra here
PLANCK = {
    "H0": 67.4,
    "ombh2": 0.0224,
    "omch2": 0.12,
    "tau": 0.054,
    "As": 2.1e-9,
    "ns": 0.965,
    "mnu": 0.0,
    "lens_potential_accuracy": 0,
}  # a factor is at stake: fast


@cache
def sky(**changes: float) -> dict[str, np.ndarray]:
    """CAMB's spectra: outside of the emulator that the reader compares with."""
    settings = camb.set_params(lmax=TO, WantTensors="r" in changes, **(PLANCK | changes))
    results = camb.get_results(settings)
    total = results.get_total_cls(TO, CMB_unit="muK")
    pp = results.get_lens_potential_cls(TO)[:, 0]
    return {"tt": total[:, 0], "te": total[:, 3], "ee": total[:, 1], "bb": total[:, 2], "pp": pp}


def write(path: Path, dl: dict[str, np.ndarray], *, lmax: int = TO, first: str = "") -> Path:
    table = np.column_stack([np.arange(2, lmax + 1), *(x[2 : lmax + 1] for x in dl.values())])
    np.savetxt(path, table, header=first + "ell " + " ".join(dl))
    return path


ELL = np.arange(TO + 1.0)
SQUARE = np.maximum(ELL * (ELL + 1), 1)
CL = 2 * np.pi / SQUARE
UNITS = [
    (
        "C_l in uK^2",
        CL,
        r"[01]\.\d+ times LCDM's at l = 2 and 0\.00\d+ at 29 \(C_l, which falls like 1/l\^2: multiply",
    ),
    (
        "dimensionless D_l",
        1 / T2,
        r"\d\.?\d*e-1[34] times LCDM's \(dimensionless: multiply by T_CMB\^2 = 7.43e\+12 uK\^2",
    ),
    ("dimensionless C_l", CL / T2, r"\(C_l, dimensionless: multiply by T_CMB\^2"),
    ("K^2", 1e-12, r"\d\.?\d*e-1[23] times LCDM's \(K\^2: multiply by 1e12\)"),
    ("mK^2", 1e-6, r"\d\.?\d*e-0[67] times LCDM's \(mK\^2: multiply by 1e6\)"),
]


@pytest.mark.parametrize("pair", ["tt", "te", "ee", "bb"])
@pytest.mark.parametrize(("factor", "message"), [u[1:] for u in UNITS], ids=[u[0] for u in UNITS])
def test_a_wrong_unit_is_named_though_the_file_ends_at_29(
    tmp_path: Path, pair: str, factor: np.ndarray | float, message: str
) -> None:
    path = write(tmp_path / "x.txt", {pair: sky()[pair] * factor}, lmax=29)
    with pytest.raises(SpectrumError, match=f"{pair.upper()} spectrum is .*{message}"):
        read_spectrum(path)
    assert set(read_arrays(path, units_checked=True)) == {pair}
    write(path, {pair: sky()[pair] * factor}, lmax=29, first="units_checked\n")
    assert set(read_arrays(path)) == {pair}


def test_spectra_without_the_2pi_are_named(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match=r"6\.\d+ times LCDM's \(l\(l\+1\)C_l: divide by 2pi"):
        read_spectrum(write(tmp_path / "x.txt", {"tt": 2 * np.pi * sky()["tt"]}))


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (2 * np.pi / SQUARE**2, r"\(C_L\^pp: multiply by \[L\(L\+1\)\]\^2/2pi\)"),
        (1 / SQUARE, r"\(L\(L\+1\)C_L\^pp/2pi: multiply by L\(L\+1\)\)"),
        (2 * np.pi / SQUARE, r"\(L\(L\+1\)C_L\^pp: multiply"),
        (2 * np.pi, r"\(\[L\(L\+1\)\]\^2 C_L\^pp or L\^4 C_L\^pp: divide by 2pi\)"),
        (SQUARE / 4, r"\(L\(L\+1\)C_L\^kk/2pi of kappa: multiply"),
        (2 * np.pi * T2, r"\(L\^4 C_L\^pp T_CMB\^2 of CAMB's scalCls"),
    ],
)
def test_a_wrong_convention_of_pp_is_named(tmp_path: Path, factor: np.ndarray | float, message: str) -> None:
    with pytest.raises(SpectrumError, match=message):
        read_spectrum(write(tmp_path / "x.txt", {"pp": sky()["pp"] * factor}))


@pytest.mark.parametrize("lmax", [10, 29, TO])
@pytest.mark.parametrize(
    "swap", [("te", "ee"), ("tt", "te"), ("tt", "ee"), ("ee", "bb"), ("te", "bb"), ("bb", "pp")]
)
def test_exchanged_columns_are_named(tmp_path: Path, swap: tuple[str, str], lmax: int) -> None:
    dl = dict(sky())
    one, two = swap
    dl[one], dl[two] = dl[two], dl[one]
    with pytest.raises(SpectrumError, match=r"it looks like [A-Z]{2}: columns in another order"):
        read_spectrum(write(tmp_path / "x.txt", dl, lmax=lmax))


def test_te_of_the_other_sign_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="TE spectrum is -1 times LCDM's"):
        read_spectrum(write(tmp_path / "x.txt", {"te": -sky()["te"]}))


def test_what_no_factor_explains_is_refused_without_a_cause() -> None:
    with pytest.raises(SpectrumError, match=r"TT spectrum is 1e\+04 times LCDM's\. Expected"):
        require_plausible({"tt": 1e4 * sky()["tt"]}, "x")


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"As": 4.2e-9},
        {"tau": 0.01},
        {"tau": 0.2},
        {"ns": 0.8},
        {"ns": 1.2},
        {"nrun": -0.2},
        {"r": 1.0},
        {"ombh2": 0.04, "omch2": 0.08, "H0": 90.0},
        {"ombh2": 0.01, "omch2": 0.25, "H0": 60.0},
        {"Alens": 0.0},
    ],
    ids=str,
)
def test_unusual_universes_pass_however_few_their_multipoles(changes: dict[str, float]) -> None:
    for pair, x in sky(**changes).items():
        for lmax in (2, 5, 29, TO):
            require_plausible({pair: x[: lmax + 1]}, f"to l = {lmax}")


def test_primordial_b_alone_and_no_b_at_all_pass(tmp_path: Path) -> None:
    settings = camb.set_params(lmax=TO, WantScalars=False, WantTensors=True, r=0.003, **PLANCK)
    tensor = camb.get_results(settings).get_tensor_cls(TO, CMB_unit="muK")[:, 2]
    for bb in (tensor, 0 * tensor):
        assert set(read_arrays(write(tmp_path / "x.txt", {"bb": bb}))) == {"bb"}


def test_a_cosmic_variance_realisation_passes(rng: np.random.Generator) -> None:
    for pair in ("tt", "ee", "bb", "pp"):
        drawn = sky()[pair][: TO + 1] * rng.chisquare(2 * ELL + 1) / (2 * ELL + 1)
        for lmax in (10, 29, TO):
            require_plausible({pair: drawn[: lmax + 1]}, "x")


def test_rotated_skys_tb_and_eb_are_not_judged() -> None:
    require_plausible({"tb": 1e-13 * sky()["te"], "eb": 1e3 * sky()["ee"]}, "x")
