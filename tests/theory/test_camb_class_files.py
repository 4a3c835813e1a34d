"""Files that CAMB and CLASS themselves wrote, against CAMB's numbers in memory and CLASS's second format."""

from __future__ import annotations

import re
from pathlib import Path

import camb
import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.theory.textfile import read_arrays, read_spectrum

LMAX = 400
INI = """
output_root = {root}
get_scalar_cls = T
get_tensor_cls = T
get_transfer = F
do_lensing = T
do_nonlinear = 0
l_max_scalar = 600
k_eta_max_scalar = 1500
l_max_tensor = 200
k_eta_max_tensor = 500
ombh2 = 0.0224
omch2 = 0.12
hubble = 67.4
omnuh2 = 0
omk = 0
temp_cmb = 2.7255
helium_fraction = 0.2454
massless_neutrinos = 3.044
massive_neutrinos = 0
initial_power_num = 1
scalar_amp(1) = 2.1e-9
scalar_spectral_index(1) = 0.965
initial_ratio(1) = 0.05
re_optical_depth = 0.054
reionization = T
re_use_optical_depth = T
scalar_output_file = scalCls.dat
lensed_output_file = lensedCls.dat
lensed_total_output_file = lensedtotCls.dat
lens_potential_output_file = lenspotentialCls.dat
"""
OUTPUT_SCALE = "CMB_outputscale = 7.42835025e12\n"
# CAMB's text has six digits, or eight (save_cmb_power_spectra): half a unit of the last one, of a number like 1.00
SIX, EIGHT = 5.1e-6, 5.1e-8
TENSORS = 2e-5  # seen 1.1e-5 in BB: the file and the Python interface add tensors in different precision
CLASS = Path(__file__).parent / "class_files"


class Camb:
    """CAMB's files of one cosmology and the same spectra from its Python interface."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, scale in (("muK", OUTPUT_SCALE), ("raw", "")):
            ini = folder / f"{name}.ini"
            ini.write_text(scale + INI.format(root=folder / name))
            camb.run_ini(str(ini))
        results = camb.get_results(camb.read_ini(str(folder / "muK.ini")))
        results.save_cmb_power_spectra(str(folder / "saved.txt"), LMAX)
        self.truth = results.get_cmb_power_spectra(lmax=LMAX, CMB_unit="muK")

    def of(self, kind: str) -> dict[str, np.ndarray]:
        columns = zip(("tt", "ee", "bb", "te"), self.truth[kind].T, strict=True)
        return {**dict(columns), "pp": self.truth["lens_potential"][:, 0]}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Camb:
    return Camb(tmp_path_factory.mktemp("camb"))


@pytest.mark.parametrize(
    ("name", "kind", "pairs", "rtol"),
    [
        ("muK_lensedCls.dat", "lensed_scalar", ["tt", "ee", "bb", "te"], SIX),
        ("muK_lensedtotCls.dat", "total", ["tt", "ee", "bb", "te"], TENSORS),
        ("muK_lenspotentialCls.dat", "total", ["pp"], SIX),  # its T, E and B are unlensed
        ("saved.txt", "total", ["tt", "ee", "bb", "te", "pp"], EIGHT),  # rows from l = 0
    ],
)
def test_cambs_files_give_cambs_numbers(
    files: Camb, name: str, kind: str, pairs: list[str], rtol: float
) -> None:
    got, truth = read_arrays(files.folder / name), files.of(kind)
    assert set(got) == set(pairs)
    for pair, x in got.items():
        n = min(len(x), LMAX + 1)
        np.testing.assert_allclose(x[2:n], truth[pair][2:n], rtol=rtol, atol=0, err_msg=pair)
        np.testing.assert_array_equal(x[:2], 0)


def test_cambs_files_without_an_output_scale_are_dimensionless_and_refused(files: Camb) -> None:
    """What `camb FILE.ini` writes unless CMB_outputscale is set."""
    message = (
        r"TT spectrum is 1\.\d+e-13 times LCDM's \(dimensionless: multiply by T_CMB\^2 = 7.43e\+12 uK\^2"
    )
    with pytest.raises(SpectrumError, match=message):
        read_spectrum(files.folder / "raw_lensedCls.dat")
    assert set(read_arrays(files.folder / "raw_lenspotentialCls.dat")) == {"pp"}  # has no unit


def test_scalcls_is_refused_since_its_pp_is_another(files: Camb) -> None:
    path = files.folder / "muK_scalCls.dat"
    with pytest.raises(SpectrumError, match=r"CAMB's scalCls: unlensed, and PP there is L\^4 C_L times"):
        read_spectrum(path)
    # CAMB's own numbers say so: L^4 C_L T_CMB^2 from [L(L+1)]^2 C_L/2pi
    ell, pp = np.loadtxt(path, usecols=(0, 4), unpack=True)
    n = LMAX - 1
    ours = files.of("total")["pp"][2 : LMAX + 1]
    np.testing.assert_allclose(
        pp[:n], 2 * np.pi * ell[:n] ** 2 / (ell[:n] + 1) ** 2 * ours * 7.42835025e12, rtol=SIX
    )


def test_classs_two_formats_are_the_same_spectra() -> None:
    """CLASS's own conversion (`format = camb`: uK^2, deflection) is the truth for ours."""
    own = read_arrays(CLASS / "class_format_cl_lensed.dat")
    other = read_arrays(CLASS / "camb_format_cl_lensed.dat")
    assert set(own) == set(other) == {"tt", "te", "ee", "bb", "pp"}
    names = {"tt": 1, "ee": 2, "bb": 3, "te": 4, "pp": 5}
    table = np.loadtxt(CLASS / "camb_format_cl_lensed.dat")
    for pair, column in names.items():
        np.testing.assert_array_equal(other[pair][2:], table[:, column])
        np.testing.assert_allclose(own[pair], other[pair], rtol=1e-11)  # 13 digits in both


def test_classs_lensed_spectra_agree_with_cambs(files: Camb) -> None:
    got, truth = read_arrays(CLASS / "class_format_cl_lensed.dat"), files.of("lensed_scalar")
    # two codes, few multipoles, and reionisation of their own: a wrong unit would be 1e13, a wrong l(l+1) 6 and more
    for pair in ("tt", "ee", "pp"):
        np.testing.assert_allclose(got[pair][2:61], truth[pair][2:61], rtol=0.03, err_msg=pair)


def test_classs_spectra_without_lensing_are_refused() -> None:
    with pytest.raises(
        SpectrumError, match=r"unlensed spectra of CLASS \(dimensionless total .* _cl_lensed.dat"
    ):
        read_spectrum(CLASS / "class_format_cl.dat")


def test_classs_columns_without_classs_unit_line_are_refused(tmp_path: Path) -> None:
    text = (CLASS / "camb_format_cl_lensed.dat").read_text()
    path = tmp_path / "x.dat"
    path.write_text(re.sub(r"\A.*\n", "", text))
    with pytest.raises(SpectrumError, match="without CLASS's first header line"):
        read_spectrum(path)
    path.write_text(text.replace("(units: [microK]^2)", ""))
    with pytest.raises(SpectrumError, match=r"to say dimensionless or \[microK\]\^2"):
        read_spectrum(path)
