"""`cmbfit spectra` from files to files: known skies come back, and bad input is one line and exit code 2."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.cli.app import main
from cmbfit.sky import Mask, StokesMap, apodise
from cmbfit.sky.beams import Beam
from cmbfit.sky.fits import write_mask, write_product
from cmbfit.spectra import read_spectra
from cmbfit.spectra.text import read_windows
from tests.spectra.simulation import LMAX, NSIDE, Sky, input_dl

NPIX = 12 * NSIDE**2
FWHM = ("--fwhm-arcmin", "30", "--fwhm-arcmin", "60")


@dataclass
class Files:
    """A sky in two maps of different beams, its mask and its theory."""

    folder: Path

    def __truediv__(self, name: str) -> str:
        return str(self.folder / name)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Files:
    out = Files(tmp_path_factory.mktemp("maps"))
    dl = input_dl()
    for name, stokes in zip(("a.fits", "b.fits"), Sky(dl).draw(np.random.default_rng(3)), strict=True):
        i = stokes.i + 50  # a monopole to be removed
        write_product(out / name, StokesMap(i, stokes.q, stokes.u, coord="G"))
    z = healpy.pix2vec(NSIDE, np.arange(NPIX))[2]
    mask = apodise(Mask((np.abs(z) > 0.15).astype(float), coord="G"), 12, "C2")
    write_mask(out / "mask.fits", mask)
    write_mask(out / "sharp.fits", Mask(mask.support.astype(float), coord="G"))
    table = np.column_stack([np.arange(2, LMAX + 1)] + [dl[k][2:] for k in ("tt", "te", "ee", "bb")])
    np.savetxt(out / "theory.txt", table, header="units_checked\nell tt te ee bb")
    return out


def run(monkeypatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["cmbfit", "spectra", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def table(path: Path) -> np.ndarray:
    return np.genfromtxt(path, names=True)


def test_text_with_errors(files, tmp_path, monkeypatch) -> None:
    """Every spectrum of the sky within its own errors; pixel windows are not in these simulated maps."""
    out = tmp_path / "x.txt"
    code = run(
        monkeypatch, files / "a.fits", files / "b.fits", "--mask", files / "mask.fits", *FWHM, "--no-pixwin",
        "--lmax", 64, "--bin-width", 9, "--theory", files / "theory.txt", "-o", out,
    )  # fmt: skip
    assert code == 0
    header = out.read_text().splitlines()[0]
    names = ["tt", "te", "ee", "bb", "tb", "eb", "et", "bt", "be"]
    assert header.split() == ["#", "ell_eff", *names, *(f"err_{n}" for n in names)]
    x, dl = table(out), input_dl()
    np.testing.assert_allclose(x["ell_eff"], np.arange(6, 61, 9))
    for name in names:
        spectrum = dl.get(name, dl.get(name[::-1], np.zeros(LMAX + 1)))
        mean = [spectrum[2 + 9 * k : 11 + 9 * k].mean() for k in range(7)]
        pull = (x[name] - mean) / x[f"err_{name}"]
        assert np.abs(pull).max() < 4, (name, pull)
    record = json.loads(Path(f"{out}.json").read_text())
    assert record["settings"]["edges"][0] == 2
    assert len(record["inputs"]) == 4


def test_windows_beside_text(files, tmp_path, monkeypatch) -> None:
    """What a noiseless sky's text is to be compared with: windows hold beams that fall inside a bin, means do not.

    The mean over 20 skies of known input, bins of 30 under beams of 3 degrees, that fall by e^-2 within the last bin: a
    plain mean of D_l is off by 4 % (TE, EE) or more, windows agree within the scatter of the mean.
    """
    dl, skies, rng = input_dl(), 20, np.random.default_rng(8)
    beam = Beam.gaussian(LMAX, 180)
    spectra = np.array([dl[k] for k in ("tt", "ee", "bb", "te")]) / np.where(
        np.arange(LMAX + 1) > 1, np.arange(LMAX + 1) * np.arange(1, LMAX + 2) / (2 * np.pi), np.inf
    )
    found = []
    for _ in range(skies):
        np.random.seed(rng.integers(1 << 31))  # noqa: NPY002 (healpy draws from it)
        alm = [scale(a, b) for a, b in zip(healpy.synalm(spectra, new=True), beam.teb, strict=True)]
        stokes = StokesMap(*healpy.alm2map(alm, NSIDE), coord="G")
        write_product(tmp_path / "m.fits", stokes)
        out = tmp_path / "x.txt"
        words = ("--mask", files / "mask.fits", "--fwhm-arcmin", 180, "--no-pixwin", "--keep-dipole")
        assert run(monkeypatch, tmp_path / "m.fits", *words, "--lmax", 61, "-o", out) == 0
        found.append([table(out)[n] for n in ("tt", "te", "ee", "bb")])
    windows = read_windows(out)
    mean, error = np.mean(found, axis=0), np.std(found, axis=0) / np.sqrt(skies)
    for k, name in enumerate(("tt", "te", "ee", "bb")):
        expected = sum(w @ dl[source] for (to, source), w in windows.items() if to == name and source in dl)
        assert np.abs((mean[k] - expected) / error[k]).max() < 4, name
    plain = np.array([[dl[n][lo : lo + 30].mean() for lo in (2, 32)] for n in ("te", "ee")])
    windowed = np.array([windows[n, n] @ dl[n] for n in ("te", "ee")])
    assert (np.abs(windowed / plain - 1) > 0.02).any()
    in_cl = tmp_path / "c.txt"
    assert run(monkeypatch, tmp_path / "m.fits", *words, "--lmax", 61, "--cl", "-o", in_cl) == 0
    scatter = np.std(found, axis=0)[0] * mean_of_cl(dl["tt"], ((2, 32), (32, 62))) / mean[0]
    assert np.abs((table(in_cl)["tt"] - read_windows(in_cl)["tt", "tt"] @ dl["tt"]) / scatter).max() < 4


def mean_of_cl(dl: np.ndarray, bins: tuple[tuple[int, int], ...]) -> np.ndarray:
    return np.array([np.mean([2 * np.pi * dl[l] / (l * (l + 1)) for l in range(*b)]) for b in bins])


def scale(alm: np.ndarray, b: np.ndarray) -> np.ndarray:
    return healpy.almxfl(alm, b)


def test_sacc_and_masks_of_each_map(files, tmp_path, monkeypatch) -> None:
    out = tmp_path / "x.sacc.fits"
    words = (
        files / "a.fits",
        files / "b.fits",
        "--mask",
        files / "mask.fits",
        "--mask2",
        files / "sharp.fits",
        *FWHM,
    )
    bins = tmp_path / "edges.txt"
    bins.write_text("# edges\n2\n12\n30\n60\n")
    assert (
        run(monkeypatch, *words, "--no-pixwin", "--bins", bins, "--theory", files / "theory.txt", "-o", out)
        == 0
    )
    data = read_spectra(out)
    assert data.edges == (2, 12, 30, 60)
    expected = data.theory(input_dl())
    for name in ("tt", "ee", "te"):
        assert np.abs((data.values[name] - expected[name]) / data.error(name)).max() < 4, name
    assert run(monkeypatch, *words, "--no-pixwin", "--bins", bins, "-o", tmp_path / "y.txt") == 0
    np.testing.assert_allclose(table(tmp_path / "y.txt")["tt"], data.values["tt"], rtol=1e-8)


@pytest.mark.slow
def test_masks_of_polarisation(files, tmp_path, monkeypatch) -> None:
    """--mask-p masks Q and U: TT is that of --mask alone, EE and BB are those of --mask-p alone, TE is neither."""
    bins = tmp_path / "edges.txt"
    bins.write_text("2\n12\n30\n60\n")
    common = (*FWHM, "--no-pixwin", "--bins", bins, "--theory", files / "theory.txt")
    runs = {
        "apart": ("--mask", files / "mask.fits", "--mask-p", files / "sharp.fits"),
        "t": ("--mask", files / "mask.fits"),
        "p": ("--mask", files / "sharp.fits"),
        "each": ("--mask", files / "mask.fits", "--mask-p", files / "sharp.fits", "--mask2", files / "mask.fits",
                 "--mask2-p", files / "sharp.fits"),
    }  # fmt: skip
    for name, words in runs.items():
        out = tmp_path / f"{name}.txt"
        assert run(monkeypatch, files / "a.fits", files / "b.fits", *words, *common, "-o", out) == 0
    x = {name: table(tmp_path / f"{name}.txt") for name in runs}
    for column in x["t"].dtype.names:
        np.testing.assert_allclose(x["each"][column], x["apart"][column], rtol=1e-9)
    for spectrum, same in (("tt", "t"), ("ee", "p"), ("bb", "p"), ("eb", "p")):
        for column in (spectrum, f"err_{spectrum}"):
            np.testing.assert_allclose(x["apart"][column], x[same][column], rtol=1e-3)
    assert all((np.abs(x["apart"]["te"] / x[other]["te"] - 1) > 1e-3).all() for other in "tp")
    record = json.loads((tmp_path / "apart.txt.json").read_text())
    assert any("sharp" in json.dumps(i) for i in record["inputs"])


def test_one_map_pure_b_and_cl(files, tmp_path, monkeypatch) -> None:
    """Auto-spectra hold the noise; C_l is D_l over l(l+1)/2pi, averaged over modes."""
    beam = tmp_path / "beam.txt"
    b = np.exp(
        -0.5
        * np.arange(LMAX + 1)
        * (np.arange(LMAX + 1) + 1)
        * (np.radians(0.5) / np.sqrt(8 * np.log(2))) ** 2
    )
    np.savetxt(beam, np.column_stack([np.arange(LMAX + 1), b]), header="l b_l")
    common = (
        files / "a.fits",
        "--mask",
        files / "mask.fits",
        "--beam",
        beam,
        "--no-pixwin",
        "--bin-width",
        1,
        "--lmax",
        60,
    )
    for name, extra in (("d", ()), ("c", ("--cl",)), ("p", ("--purify-b",))):
        assert run(monkeypatch, *common, *extra, "-o", tmp_path / f"{name}.txt") == 0
    d, c, p = (table(tmp_path / f"{n}.txt") for n in "dcp")
    ell = d["ell_eff"]
    assert d.dtype.names == ("ell_eff", "tt", "te", "ee", "bb", "tb", "eb")
    np.testing.assert_allclose(c["tt"] * ell * (ell + 1) / (2 * np.pi), d["tt"], rtol=1e-6)
    np.testing.assert_allclose(p["tt"], d["tt"], rtol=1e-9)
    assert np.abs(p["bb"] / d["bb"] - 1)[10:].max() > 0.01  # another estimator of the same sky
    high = slice(30, 58)
    noise = 36 * 4 * np.pi / NPIX * ell * (ell + 1) / (2 * np.pi) / b[2:61] ** 2
    excess = (d["bb"] - input_dl()["bb"][2:61])[high].mean() / noise[high].mean()
    assert excess == pytest.approx(1, abs=0.2)


def test_pixel_window_is_divided_out(files, tmp_path, monkeypatch) -> None:
    """With --pixwin spectra are larger by the square of HEALPix's window, 4 % at l = 60 for nside 32."""
    common = (
        files / "a.fits",
        "--mask",
        files / "mask.fits",
        "--fwhm-arcmin",
        30,
        "--bin-width",
        8,
        "--lmax",
        62,
    )
    for name, extra in (("no", "--no-pixwin"), ("yes", "--pixwin")):
        assert run(monkeypatch, *common, extra, "-o", tmp_path / f"{name}.txt") == 0
    yes, no = (table(tmp_path / f"{n}.txt")["tt"] for n in ("yes", "no"))
    assert (np.diff(yes / no) > 0).all()
    assert (yes / no)[-1] == pytest.approx(1.3, abs=0.1)


def broken(folder: Path, kind: str, source: str) -> str:
    """Return a copy of a product with one thing wrong."""
    path = folder / f"{kind}.fits"
    with fits.open(source) as hdus:
        values, head = hdus[1].data, hdus[1].header
        if kind == "nan":
            values["Q_STOKES"][0] = np.nan  # the pole, inside the mask
        elif kind == "negative":
            values["MASK"][0] = -0.1
        elif kind == "empty":
            values["MASK"][:] = 0
        elif kind == "nested":
            head["ORDERING"] = "NESTED"
        elif kind == "celestial":
            head["COORDSYS"] = "C"
        elif kind == "iau":
            head["POLCCONV"] = "ROMAN"
        elif kind == "liar":
            head["NSIDE"] = 64
        hdus.writeto(path, checksum=True)
    return str(path)


GOOD = (
    "{a}",
    "--mask",
    "{mask}",
    "--fwhm-arcmin",
    "30",
    "--no-pixwin",
    "--bin-width",
    "9",
    "--lmax",
    "60",
    "-o",
    "x.txt",
)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("{small}", *GOOD[1:]), "nside 8 but mask"),
        (("{odd}", *GOOD[1:]), "nside a power of two"),
        ((*GOOD[:2], "{negative}", *GOOD[3:]), "weights from -0.1 to 1, expected [0, 1]"),
        ((*GOOD[:2], "{empty}", *GOOD[3:]), "no sky is left"),
        (("{nan}", *GOOD[1:]), "NaN or UNSEEN"),
        (("{iau}", *GOOD[1:]), "expected COSMO or IAU"),
        ((*GOOD, "--coord", "C"), "'G' in the file but declared as 'C'"),
        ((*GOOD, "--ordering", "NESTED"), "'RING' in the file but declared as 'NESTED'"),
        ((*GOOD, "--polcconv", "IAU"), "POLCCONV is 'COSMO' in the file but declared as 'IAU'"),
        ((*GOOD, "--beam-columns", "t=2"), "give both"),
        ((*GOOD, "--unit", "K"), "in 'uK_CMB' in the file but declared as 'K'"),
        (("{celestial}", *GOOD[1:]), "rotate one of them first"),
        ((*GOOD[:3], *GOOD[5:]), "give either --fwhm-arcmin (0 for none) or --beam FILE"),
        ((*GOOD, "--beam", "{theory}"), "give either"),
        ((*GOOD[:3], "--beam", "{short}", *GOOD[5:]), "beam up to l = 20, l = 55 is needed"),
        ((*GOOD[:3], "--fwhm-arcmin", "-3", *GOOD[5:]), "expected a number from 0"),
        ((*GOOD[:8], "--lmax", "96", *GOOD[10:]), "support 2 to 95"),
        ((*GOOD[:6], "--bin-width", "70", *GOOD[8:]), "there is no full bin"),
        ((*GOOD[:6], "--bins", "{edges}", *GOOD[10:]), "expected increasing integers from 2"),
        ((*GOOD, "--purify-b"), "expected an apodised mask"),
        ((*GOOD, "--theory", "{theory}"), "two maps with independent noise"),
        ((*GOOD[:-1], "x.png"), "expected a name in .txt"),
        ((*GOOD, "--mask2", "{mask}"), "one map only"),
        ((*GOOD, "--mask2-p", "{mask}"), "give --mask2 as well"),
        ((*GOOD, "--mask-p", "{coarse}"), "bring both to one nside"),
        ((*GOOD[:2], "{north}", "--mask-p", "{south}", *GOOD[3:]), "of their sky in common"),
        ((*GOOD[:2], "{cap}", *GOOD[3:6], "--bin-width", "1", *GOOD[8:]), "use wider bins or a larger sky"),
        (("{liar}", *GOOD[1:]), "NSIDE is 64 but 12288 pixels make nside 32"),
        ((*GOOD[:-1], "x.fits"), "two maps with independent noise"),
        (("{a}", "{b}", *GOOD[1:-1], "x.fits"), "give --theory FILE"),
        (("missing.fits", *GOOD[1:]), "missing.fits"),
        (("{a}", "missing.fits", *GOOD[1:]), "missing.fits"),
        (("{a}", "{a}", *GOOD[1:]), "are one map"),
    ],
)
def test_bad_input_is_one_line(files, tmp_path, monkeypatch, capsys, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    places = {
        "a": files / "a.fits",
        "b": files / "b.fits",
        "mask": files / "sharp.fits",
        "theory": files / "theory.txt",
    }
    text = " ".join(words)
    for kind in ("nan", "iau", "celestial", "liar"):
        if f"{{{kind}}}" in text:
            places[kind] = broken(tmp_path, kind, places["a"])
    for kind in ("negative", "empty"):
        if f"{{{kind}}}" in text:
            places[kind] = broken(tmp_path, kind, places["mask"])
    if "{small}" in text:
        places["small"] = str(tmp_path / "small.fits")
        write_product(places["small"], StokesMap(*np.zeros((3, 768)), coord="G"))
    z = healpy.pix2vec(NSIDE, np.arange(NPIX))[2]
    for kind, kept in (("north", z > 0.5), ("south", z < -0.5), ("cap", z > np.cos(0.1))):
        if f"{{{kind}}}" in text:
            places[kind] = str(tmp_path / f"{kind}.fits")
            write_mask(places[kind], Mask(kept.astype(float), coord="G"))
    if "{coarse}" in text:
        places["coarse"] = str(tmp_path / "coarse.fits")
        write_mask(places["coarse"], Mask(np.ones(768), coord="G"))
    if "{odd}" in text:
        places["odd"] = str(tmp_path / "odd.fits")
        columns = [fits.Column(name=n, format="D", unit="uK_CMB", array=np.zeros(12 * 9)) for n in "IQU"]
        hdu = fits.BinTableHDU.from_columns(columns)
        hdu.header["ORDERING"], hdu.header["COORDSYS"], hdu.header["NSIDE"] = "RING", "G", 3
        hdu.writeto(places["odd"])
    (tmp_path / "short.txt").write_text("".join(f"{k} 1\n" for k in range(21)))
    (tmp_path / "edges.txt").write_text("2\n9\n9\n20\n")  # an empty bin
    places |= {"short": str(tmp_path / "short.txt"), "edges": str(tmp_path / "edges.txt")}
    assert run(monkeypatch, *(w.format(**places) for w in words)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert not list(tmp_path.glob("x.*"))
