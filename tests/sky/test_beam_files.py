"""Every column of a beam file is the one that its name says, or the file is refused; nothing is guessed."""

from __future__ import annotations

import gzip
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.data import fetch
from cmbfit.errors import MapError
from cmbfit.sky.beam_columns import parse_columns
from cmbfit.sky.beam_files import read_beam
from cmbfit.sky.beams import Beam

WINDOW = "pixel_windows/pixel_window_n0032.fits"
ELL = np.arange(61)
T, E, B = (healpy.gauss_beam(np.radians(x), 60) for x in (0.5, 0.6, 0.7))


def table(columns: dict[str, np.ndarray], name: str = "") -> fits.BinTableHDU:
    return fits.BinTableHDU.from_columns(
        [fits.Column(name=k, format="D", array=v) for k, v in columns.items()], name=name
    )


def fits_file(path: Path, *tables: fits.BinTableHDU) -> Path:
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)
    return path


def text(path: Path, header: str, *columns: np.ndarray) -> Path:
    np.savetxt(path, np.column_stack([ELL, *columns]), header=header)
    return path


@pytest.mark.parametrize(
    ("header", "columns", "polarised"),
    [
        ("ell Bl_T Bl_E", (T, E), (E, E)),
        ("l, B_l^T, B_l^E, B_l^B", (T, E, B), (E, B)),
        ("ell T P", (T, E), (E, E)),
        ("l b_l b_l_pol", (T, E), (E, E)),
        ("ell wl_tt wl_ee wl_bb", (T**2, E**2, B**2), (E, B)),
        ("multipole W_l[TT] W_l[EE]", (T**2, E**2), (E, E)),
        ("l BEAM_T err BEAM_E err_E", (T, 0 * T, E, 0 * T), (E, E)),
        ("ell E T", (E, T), (E, E)),
        ("l b_l error", (T, 0.01 * T), (T, T)),
        ("ell bl", (T,), (T, T)),
    ],
)
def test_text_headers(tmp_path, header: str, columns, polarised) -> None:
    beam = read_beam(text(tmp_path / "b.txt", f"made by hand\n{header}", *columns), 50)
    for ours, wanted in zip(beam.teb, (T, *polarised), strict=True):
        np.testing.assert_allclose(ours, wanted[:51], rtol=1e-12)
    assert bool(beam.notes) == (polarised[0] is T)  # the beam of T for E and B is said, not silent


@pytest.mark.parametrize(
    ("header", "columns", "message"),
    [
        ("ell beam1 beam2", (T, E), r"\['beam1', 'beam2'\] cannot be placed"),
        ("ell Bl_T Bl_X", (T, E), r"\['Bl_X'\] cannot be placed.*--beam-columns"),
        ("a beam of two columns beside", (T, E), "does not name its 3 columns.*--beam-columns"),
        ("ell T TT", (T, E), "two columns could be the beam of T"),
        ("ell T E P", (T, E, E), "columns of P beside those of E"),
        ("ell E B", (E, B), "no column of the temperature beam"),
    ],
)
def test_what_cannot_be_placed(tmp_path, header: str, columns, message: str) -> None:
    path = text(tmp_path / "b.txt", header, *columns)
    with pytest.raises(MapError, match=message):
        read_beam(path, 50)
    said = parse_columns("t=2,e=3")
    np.testing.assert_allclose(read_beam(path, 50, columns=said).t, columns[0][:51], rtol=1e-12)
    np.testing.assert_allclose(read_beam(path, 50, columns=said).e, columns[1][:51], rtol=1e-12)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_wmap_text(tmp_path, start: int) -> None:
    rows = [f"  {l:5d}  {T[l]:.10f}  {1e-3 * T[l]:.6f}" for l in range(start, 61)]
    path = tmp_path / "wmap_ampl_bl_V1_9yr_v5p1.txt"
    path.write_text("\n".join(["# WMAP nine-year data", "# l, b_l, error", *rows]))
    beam = read_beam(path, 50)
    np.testing.assert_allclose(beam.t[start:], T[start:51], atol=1e-10)
    np.testing.assert_allclose(beam.teb[:, :2], 1, atol=1e-3)
    assert beam.lmax == 50
    with pytest.raises(MapError, match="l = 200 is needed"):
        read_beam(path, 200)
    with pytest.raises(MapError, match="no column 7"):
        read_beam(path, 50, columns={"t": 7})
    path.write_text("0 1\n1 1\n3 1\n")
    with pytest.raises(MapError, match="without gaps"):
        read_beam(path, 2)
    path.write_text("0 1e6\n1 1e6\n2 1e6\n")
    with pytest.raises(MapError, match="normalise"):
        read_beam(path, 2)


def test_hfi_files(tmp_path) -> None:
    """The layouts of BeamWf_HFI_R3.01: Bl_TEB in one table, Wl with each spectrum in its own."""
    bl = fits_file(tmp_path / "Bl_TEB_R3.01_fullsky_143x143.fits", table({"T": T, "E": E, "B": B}))
    wanted = np.array([T, E, B])[:, :51]
    np.testing.assert_allclose(read_beam(bl, 50).teb, wanted)
    hdus = [
        table({f"{x}_2_{x}": v**2, f"{x}_2_TE": 1e-4 * v, f"{x}_2_TB": 2e-5 * v}, x)
        for x, v in (("TT", T), ("EE", E), ("BB", B))
    ]
    wl = fits_file(tmp_path / "Wl_R3.01_plikmask_143x143.fits", *hdus)
    squared = read_beam(wl, 50)
    np.testing.assert_allclose(squared.teb, wanted, rtol=1e-12)
    assert squared.t_to_e is None
    only_tt = read_beam(wl, 50, hdus=("TT",))
    assert "serves E and B" in only_tt.notes[0]
    leaky = read_beam(wl, 50, hdus=("TT", "EE", "BB"), leakage=True)
    np.testing.assert_allclose(leaky.t_to_e, 1e-4, rtol=1e-12)  # TT_2_TE = b^T times it
    windowed, p = leaky.times_pixel_window(fetch(WINDOW)), Beam.unit(50).times_pixel_window(fetch(WINDOW)).e
    np.testing.assert_allclose(windowed.t_to_e, 1e-4 * p, rtol=1e-12)
    np.testing.assert_allclose(windowed.cut(20).t_to_b, 2e-5 * p[:21], rtol=1e-12)
    np.testing.assert_allclose(leaky.cut(20).t_to_e, 1e-4, rtol=1e-12)
    with pytest.raises(MapError, match="without leakage"):
        Beam.unit(50) * leaky
    with pytest.raises(MapError, match="no column TT_2_TE"):
        read_beam(bl, 50, leakage=True)
    with pytest.raises(MapError, match="l = 61 is needed"):
        read_beam(bl, 61)
    with pytest.raises(MapError, match="no column of the temperature beam"):
        read_beam(fits_file(tmp_path / "bad.fits", table({"E": E})), 5)
    with pytest.raises(MapError, match="below zero"):
        read_beam(fits_file(tmp_path / "bad.fits", table({"TT_2_TT": -T})), 5)


def test_other_fits(tmp_path) -> None:
    """A component map with its beams in the second table, gzipped files, a choice between two tables."""
    sky = table({"T": np.zeros(12), "Q_STOKES": np.zeros(12)}, "COMP-MAP")
    sky.header["ORDERING"] = "RING"
    comp = fits_file(tmp_path / "comp.fits", sky, table({"INT_BEAM": T, "POL_BEAM": E}, "BEAMTF"))
    packed = tmp_path / "comp.fits.gz"
    packed.write_bytes(gzip.compress(comp.read_bytes()))
    for path in (comp, packed):
        np.testing.assert_allclose(read_beam(path, 50).teb, np.array([T, E, E])[:, :51])
    two = fits_file(tmp_path / "two.fits", table({"BL": T}, "D1"), table({"BL": E}, "D2"))
    with pytest.raises(MapError, match=r"two columns could be the beam of T: found \['D1:BL', 'D2:BL'\]"):
        read_beam(two, 50)
    assert read_beam(two, 50, columns={"t": "D2:BL"}).t[50] == pytest.approx(E[50])
    with pytest.raises(MapError, match="2 columns are 'BL'"):
        read_beam(two, 50, columns={"t": "BL"})


def test_a_beam_may_end_where_the_bins_end(tmp_path) -> None:
    """What a file leaves out goes on as a Gaussian, which a Gaussian beam is: healpy's own numbers come back."""
    longer = [healpy.gauss_beam(np.radians(x), 200) for x in (0.5, 0.6)]
    path = text(tmp_path / "b.txt", "l T P", T, E)
    beam = read_beam(path, 200, need=60)
    np.testing.assert_allclose(beam.teb[:2], longer, rtol=1e-9)
    assert "ends at l = 60" in beam.notes[0]
    with pytest.raises(MapError, match="up to l = 60, l = 61 is needed"):
        read_beam(path, 200, need=61)


@pytest.mark.parametrize("words", ["e=3", "t=2,p=3,e=4", "x=2", "t", "t=2,t=3", "t="])
def test_words_for_columns(words: str) -> None:
    with pytest.raises(MapError, match="beam columns"):
        parse_columns(words)
