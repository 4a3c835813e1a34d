"""Spectra as text: every code's header is understood, and what is ambiguous is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import SpectrumError
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.textfile import read_spectrum, write_spectrum

ELL = np.arange(2, 12)
COLUMNS = {
    "tt": 1000.0 + ELL,
    "te": 5.0 * np.sin(ELL),
    "ee": 0.1 * ELL,
    "bb": 1e-3 * ELL,
    "pp": 1e-7 * ELL,
    "kk": 2e-7 * ELL,
}


def save(path: Path, names: list[str], header: str, ell: np.ndarray = ELL) -> Path:
    np.savetxt(path, np.column_stack([ell, *(COLUMNS[n] for n in names)]), header=header, comments="")
    return path


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("# ell TT TE EE BB pp kk", ["tt", "te", "ee", "bb", "pp", "kk"]),  # candl
        (
            "#    L    TT             TE             EE             BB             PP",
            ["tt", "te", "ee", "bb", "pp"],
        ),
        ("# ell, DTT, DTE, DEE\n# from class within cobaya", ["tt", "te", "ee"]),  # planck-lite-py
        ("# made by CAMB\n# l Dl_TT Dl_EE Dl_BB Dl_TE", ["tt", "ee", "bb", "te"]),
        ("#ell D_TT D_EE", ["tt", "ee"]),
        ("# multipole ; tt", ["tt"]),
        ("# ell tt te ee bb pp", ["tt", "te", "ee", "bb", "pp"]),  # cmbfit
    ],
)
def test_headers_of_other_codes_name_the_columns(tmp_path: Path, header: str, names: list[str]) -> None:
    got = read_spectrum(save(tmp_path / "x.txt", names, header), units_checked=True)
    assert set(got.dl) == set(names) - {"kk"}
    assert got.lmax == 11
    for pair, x in got.dl.items():
        assert x.shape == (1, 12)
        assert x.dtype == torch.float64
        np.testing.assert_array_equal(x[0, :2], 0)
        np.testing.assert_allclose(x[0, 2:], COLUMNS[pair], rtol=1e-15)


def test_rows_of_zeros_at_l_0_and_1_are_skipped(tmp_path: Path) -> None:
    for first in ("0 0\n1 0\n", "1 0\n", ""):
        (tmp_path / "x.txt").write_text(f"# L TT\n{first}2 1000\n3 900\n")
        np.testing.assert_array_equal(read_spectrum(tmp_path / "x.txt").dl["tt"][0], [0, 0, 1000, 900])
    for text in ("0 0\n1 5\n2 1000\n", "0 0\n1 0\n", "0 0\n2 1000\n4 900\n"):
        (tmp_path / "x.txt").write_text(f"# L TT\n{text}")
        with pytest.raises(SpectrumError, match=r"expected rows from l = 2|row 1 is l = 4"):
            read_spectrum(tmp_path / "x.txt")


def test_without_a_header_only_tt_te_ee_is_read(tmp_path: Path) -> None:
    got = read_spectrum(save(tmp_path / "x.txt", ["tt", "te", "ee"], "# by hand"))
    np.testing.assert_allclose(got.dl["te"][0, 2:], COLUMNS["te"], rtol=1e-15)


def test_a_published_file_without_names_of_columns_is_read(fixed_spectrum: Path) -> None:
    assert read_spectrum(fixed_spectrum).dl["te"][0, 3].item() == 3.942317917867736998


def test_the_planck_best_fit_is_read(reference_folder: Path) -> None:
    planck = read_spectrum(reference_folder / "base_plikHM_TTTEEE_lowl_lowE.minimum.theory_cl")
    assert {p: x[0, 2].item() for p, x in planck.dl.items()} == {
        "tt": 1017.48, "te": 2.61914, "ee": 0.030894, "bb": 1.81852e-6, "pp": 5.01561e-8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "header", "ell", "message"),
    [
        (["tt", "te", "ee"], "# ell tt te ee", ELL - 2, "expected rows from l = 2, the first row is l = 0"),
        (["tt", "te", "ee"], "# ell tt te ee", ELL + 28, "the first row is l = 30"),
        (["tt", "te", "ee"], "# ell tt te ee", 2 * ELL - 2, "row 1 is l = 4, not 3"),
        (["tt", "te", "ee"], "# ell tt te ee", ELL + 0.5, "expected rows from l = 2"),
        (["tt"], "", ELL, "expected columns ell TT TE EE, found 2 columns"),
        (["tt", "te"], "", ELL, "found 3 columns"),
        (["tt", "ee", "bb", "te"], "", ELL, "5 columns and no header"),  # CAMB's order, or any
        (["tt", "te", "ee", "bb"], "# a comment", ELL, "5 columns and no header"),
        (["tt", "ee", "te"], "", ELL, "do not look like ell TT TE EE"),  # CAMB's order without BB
        (["tt", "ee", "bb"], "", ELL, "do not look like ell TT TE EE"),
        (["tt", "tt", "ee"], "# ell tt tt ee", ELL, "named twice"),
        (["kk"], "# ell kk", ELL, "no column of power"),
    ],
)
def test_ambiguous_tables_are_refused(
    tmp_path: Path, names: list[str], header: str, ell: np.ndarray, message: str
) -> None:
    with pytest.raises(SpectrumError, match=message):
        read_spectrum(save(tmp_path / "x.txt", names, header, ell))


@pytest.mark.parametrize("bad", ["nan", "inf", "-inf"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(f"# ell tt\n2 1000\n3 {bad}\n4 900\n")
    with pytest.raises(SpectrumError, match="not finite"):
        read_spectrum(path)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"# ell tt\n2 1000\n3\n", "expected a text table"),
        (b"# ell tt\n2 many\n", "expected a text table"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "expected a text table"),
        (b"", "holds no numbers"),
        (b"# ell tt\n", "holds no numbers"),
    ],
)
def test_files_that_are_no_tables_are_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(raw)
    with pytest.raises(SpectrumError, match=message):
        read_spectrum(path)
    with pytest.raises(SpectrumError, match="no such file"):
        read_spectrum(tmp_path / "absent.txt")
    with pytest.raises(SpectrumError, match="expected a text table"):
        read_spectrum(tmp_path)


def test_written_files_are_read_by_numpy_and_back_to_the_last_bit(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    dl = {p: torch.from_numpy(rng.standard_normal((1, 40)) * 10.0 ** rng.integers(-9, 4)) for p in ("pp", "tt", "te", "ee")}  # fmt: skip
    for x in dl.values():
        x[:, :2] = 0
    path = tmp_path / "x.txt"
    write_spectrum(path, Spectra(dl))
    lines = path.read_text().splitlines()
    assert lines[0] == "# ell tt te ee pp"
    assert not any(line.startswith("#") for line in lines[1:])
    table = np.loadtxt(path)
    assert table[0, 0] == 2
    np.testing.assert_array_equal(table[:, 4], dl["pp"][0, 2:].numpy())
    got = read_spectrum(path, units_checked=True)
    for pair, x in dl.items():
        assert torch.equal(got.dl[pair], x)


def test_a_batch_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="found a batch of 2"):
        write_spectrum(tmp_path / "x.txt", Spectra({"tt": torch.zeros(2, 5, dtype=torch.float64)}))
    assert list(tmp_path.iterdir()) == []
