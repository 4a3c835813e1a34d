# ruff: noqa: F811 (a fixture of another module)
"""`cmbfit spectra` on maps as people have them: I alone, parts of the sky, other units, no mask, other bins and transforms."""

from __future__ import annotations

import json
from pathlib import Path

import astropy.units as u
import healpy
import numpy as np
import pytest
from astropy.io import fits

from cmbfit.sky import Mask, StokesMap, read_product
from cmbfit.sky.fits import write_mask, write_product
from cmbfit.spectra import read_spectra
from cmbfit.spectra.text import read_windows
from tests.cli.test_spectra import FWHM, NPIX, Files, files, run, table  # noqa: F401 (a fixture)
from tests.spectra.simulation import LMAX, NSIDE, input_dl

COMMON = (*FWHM, "--no-pixwin", "--lmax", 60, "--bin-width", 9)
ONE = ("--fwhm-arcmin", 30, "--no-pixwin", "--lmax", 60, "--bin-width", 9)


def healpix(path: Path, columns: list[np.ndarray], names: list[str], **options) -> str:
    healpy.write_map(
        path, columns, column_names=names, dtype=np.float64, overwrite=True,
        **{"coord": "G", "column_units": "uK_CMB"} | options,
    )  # fmt: skip
    return str(path)


@pytest.mark.slow
def test_temperature_alone(files: Files, tmp_path, monkeypatch) -> None:
    """TT and its errors of maps of I alone are those of the maps of I, Q, U; with one of each also TE and TB."""
    maps = {x: read_product(files / f"{x}.fits") for x in "ab"}
    only = {
        x: healpix(tmp_path / f"{x}.fits", [m.i, np.ones(NPIX)], ["TEMPERATURE", "N_OBS"])
        for x, m in maps.items()
    }
    common = ("--mask", files / "mask.fits", *COMMON, "--theory", files / "theory.txt")
    for name, words in (
        ("full", (files / "a.fits", files / "b.fits")),
        ("t", (only["a"], only["b"])),
        ("mixed", (only["a"], files / "b.fits")),
    ):
        for end in ("txt", "sacc"):
            assert run(monkeypatch, *words, *common, "-o", tmp_path / f"{name}.{end}") == 0
    full, t, mixed = (table(tmp_path / f"{n}.txt") for n in ("full", "t", "mixed"))
    assert t.dtype.names == ("ell_eff", "tt", "err_tt")
    assert mixed.dtype.names == ("ell_eff", "tt", "te", "tb", "err_tt", "err_te", "err_tb")
    for column in t.dtype.names:
        np.testing.assert_allclose(t[column], full[column], rtol=1e-6)
    for column in ("tt", "te", "tb"):
        np.testing.assert_allclose(mixed[column], full[column], rtol=1e-6)
        # the noise of b's E is measured from b alone, which has no Q and U of another map to compare with
        np.testing.assert_allclose(
            mixed[f"err_{column}"], full[f"err_{column}"], rtol=1e-6 if column == "tt" else 0.05
        )
    data = read_spectra(tmp_path / "t.sacc")
    assert data.names == data.combined().names == ("tt",)
    assert data.covariance.shape == (6, 6)
    both = read_spectra(tmp_path / "mixed.sacc").combined()
    assert both.names == ("tt", "te", "tb")
    np.testing.assert_allclose(both.values["te"], mixed["te"], rtol=1e-8)
    assert run(monkeypatch, only["a"], "--mask", files / "mask.fits", *ONE, "-o", tmp_path / "one.txt") == 0
    assert table(tmp_path / "one.txt").dtype.names == ("ell_eff", "tt")
    words = (only["a"], "--mask", files / "mask.fits", *ONE, "--purify-b", "-o", tmp_path / "p.txt")
    assert run(monkeypatch, *words) == 2


def test_what_was_assumed_is_said(files: Files, tmp_path, monkeypatch, capsys) -> None:
    """Of the theory, and of a second map that is 30 % too large, whose noise cannot be right; noise that is given is not measured, and is in the errors."""
    ell = np.arange(LMAX + 1)
    cl = np.where(ell > 1, 500 / np.maximum(ell * (ell + 1.0), 1), 0)
    sky = healpy.synfast([cl, 0 * cl, 0 * cl, 0 * cl], NSIDE, lmax=LMAX, new=True)[0]
    maps = [
        healpix(tmp_path / f"{k}.fits", [(1 + 0.3 * k) * sky], ["TEMPERATURE"], fits_IDL=False)
        for k in (0, 1)
    ]
    theory = tmp_path / "theory.txt"
    dl = cl[2:71] * ell[2:71] * (ell[2:71] + 1) / (2 * np.pi)
    np.savetxt(theory, np.column_stack([ell[2:71], dl]), header="units_checked\nell tt")
    words = (*maps, "--mask", files / "mask.fits", *ONE, "--theory", theory)
    errors = []
    for k, noise in enumerate(
        ((), ("--noise-uk-arcmin", 2400), ("--noise-uk-arcmin", 2400, "--iterations", 1))
    ):
        out = tmp_path / f"{k}.txt"
        assert run(monkeypatch, *words, *noise, "-o", out) == 0
        said = capsys.readouterr().err
        notes = json.loads(Path(f"{out}.json").read_text())["settings"]["notes"]
        assert "note: the theory ends at l = 70" in said
        assert all(f"note: {n}" in said for n in notes)
        assert ("T of map '0': its auto-spectrum has" in said) == (not noise)
        assert not any("E, B" in n for n in notes)
        errors.append(table(out)["err_tt"])
    assert errors[1][-1] > 1.5 * errors[0][-1]
    np.testing.assert_allclose(errors[2], errors[1], rtol=0.01)
    assert run(monkeypatch, files / "a.fits", *ONE, "--noise-uk-arcmin", 5, "-o", tmp_path / "x.txt") == 2
    assert "give --theory FILE as well" in capsys.readouterr().err


def test_parts_of_the_sky(files: Files, tmp_path, monkeypatch) -> None:
    """Map and mask in healpy's partial form give what whole-sky files give."""
    sky, mask = read_product(files / "a.fits"), fits.getdata(files / "mask.fits", 1)["MASK"]
    inside = mask > 0
    part = [np.where(inside, x, healpy.UNSEEN) for x in sky.iqu]
    names = ["I_STOKES", "Q_STOKES", "U_STOKES"]
    m = healpix(tmp_path / "m.fits", part, names, partial=True, nest=False)
    w = healpix(tmp_path / "w.fits", [np.where(inside, mask, healpy.UNSEEN)], ["MASK"], partial=True)
    assert (
        run(monkeypatch, files / "a.fits", "--mask", files / "mask.fits", *ONE, "-o", tmp_path / "x.txt") == 0
    )
    assert run(monkeypatch, m, "--mask", w, *ONE, "-o", tmp_path / "y.txt") == 0
    for column in ("tt", "ee", "tb"):
        np.testing.assert_allclose(
            table(tmp_path / "y.txt")[column], table(tmp_path / "x.txt")[column], rtol=1e-9
        )


def test_units_with_a_frequency(files: Files, tmp_path, monkeypatch) -> None:
    """A map in MJy/sr at 143 GHz, made by astropy, has the spectra of the map in uK."""
    sky = read_product(files / "a.fits")
    cmb = u.thermodynamic_temperature(143 * u.GHz, T_cmb=2.7255 * u.K)
    per_uk = (1 * u.uK).to(u.MJy / u.sr, equivalencies=cmb).value
    names = ["I_STOKES", "Q_STOKES", "U_STOKES"]
    m = healpix(tmp_path / "m.fits", [x * per_uk for x in sky.iqu], names, column_units="unknown")
    rest = ("--mask", files / "mask.fits", *ONE)
    assert run(monkeypatch, files / "a.fits", *rest, "-o", tmp_path / "x.txt") == 0
    band = tmp_path / "band.txt"
    np.savetxt(band, [[142.9, 1.0], [143.0, 1.0], [143.1, 1.0]], header="nu [GHz] transmission")
    for k, frequency in enumerate(("143", f"{band}@143")):
        out = tmp_path / f"{k}.txt"
        assert run(monkeypatch, m, *rest, "--unit", "MJy/sr", "--frequency", frequency, "-o", out) == 0
        for column in ("tt", "ee"):
            np.testing.assert_allclose(table(out)[column], table(tmp_path / "x.txt")[column], rtol=1e-4)


def test_no_mask_is_said(files: Files, tmp_path, monkeypatch, capsys) -> None:
    write_mask(tmp_path / "ones.fits", Mask(np.ones(NPIX), coord="G"))
    out = tmp_path / "x.txt"
    assert run(monkeypatch, files / "a.fits", *ONE, "-o", out) == 0
    assert "note: no --mask: the full sky is used" in capsys.readouterr().err
    assert "no --mask" in json.dumps(json.loads(Path(f"{out}.json").read_text())["settings"]["notes"])
    assert (
        run(monkeypatch, files / "a.fits", "--mask", tmp_path / "ones.fits", *ONE, "-o", tmp_path / "y.txt")
        == 0
    )
    np.testing.assert_allclose(table(out)["ee"], table(tmp_path / "y.txt")["ee"], rtol=1e-12)


def test_masks_without_coordinates_and_with_several_columns(
    files: Files, tmp_path, monkeypatch, capsys
) -> None:
    mask = fits.getdata(files / "mask.fits", 1)["MASK"].astype(np.float64)
    path = healpix(tmp_path / "w.fits", [0 * mask + 1, mask], ["GAL090", "GAL060"], coord=None)
    assert (
        run(monkeypatch, files / "a.fits", "--mask", files / "mask.fits", *ONE, "-o", tmp_path / "x.txt") == 0
    )
    words = (files / "a.fits", "--mask", path, *ONE, "-o", tmp_path / "y.txt")
    assert run(monkeypatch, *words) == 2
    assert "say which is the mask (--mask-column" in capsys.readouterr().err
    assert run(monkeypatch, *words, "--mask-column", "GAL060") == 0
    assert "w.fits: no COORDSYS, taken to be that of the maps (G)" in capsys.readouterr().err
    np.testing.assert_allclose(table(tmp_path / "y.txt")["tt"], table(tmp_path / "x.txt")["tt"], rtol=1e-12)


def test_iterations_take_off_the_error_of_the_pixels(tmp_path, monkeypatch) -> None:
    """On the full sky of a band-limited map the spectra of its own coefficients must come back.

    Sums over pixels (no iteration) are off by up to 0.9 % of single multipoles below 1.5 nside here, three iterations by 5e-4.
    """
    np.random.seed(5)  # noqa: NPY002 (healpy draws from it)
    ell = np.arange(49)
    cl = np.where(ell > 1, 1 / np.maximum(ell * (ell + 1.0), 1), 0)
    alm = healpy.synalm([cl, cl, 0.1 * cl, 0.3 * cl], new=True)
    truth = healpy.alm2cl(alm)
    write_product(tmp_path / "m.fits", StokesMap(*healpy.alm2map(alm, NSIDE), coord="G"))
    edges = tmp_path / "edges.txt"
    np.savetxt(edges, np.arange(2, 50), fmt="%d")
    off = []
    for n in (0, 3):
        out = tmp_path / f"{n}.txt"
        words = (
            "--fwhm-arcmin",
            0,
            "--no-pixwin",
            "--bins",
            edges,
            "--keep-dipole",
            "--iterations",
            n,
            "-o",
            out,
        )
        assert run(monkeypatch, tmp_path / "m.fits", *words) == 0
        x, factor = table(out), ell[2:] * (ell[2:] + 1) / (2 * np.pi)
        off.append(
            max(np.abs(x[n_] / (factor * truth[k][2:]) - 1).max() for k, n_ in enumerate(("tt", "ee", "bb")))
        )
    # not zero: the coupling of the mask is that of its own sum over pixels
    assert off[1] < 1e-3
    assert off[0] > 5e-3


def test_uniform_bins(files: Files, tmp_path, monkeypatch) -> None:
    """A flat C_l comes back as itself under any beam, as in NaMaster; means weighted by modes are off by 10 % and more here."""
    words = (
        files / "a.fits",
        "--mask",
        files / "mask.fits",
        "--fwhm-arcmin",
        180,
        "--no-pixwin",
        "--lmax",
        61,
        "--cl",
    )
    white = np.arange(LMAX + 1) * np.arange(1, LMAX + 2) / (2 * np.pi)
    found = {}
    for weighting in ("uniform", "cl"):
        out = tmp_path / f"{weighting}.txt"
        assert run(monkeypatch, *words, "--weighting", weighting, "-o", out) == 0
        found[weighting] = read_windows(out)["tt", "tt"] @ white
    np.testing.assert_allclose(found["uniform"], 1, rtol=1e-9)
    assert (np.abs(found["cl"] - 1) > 0.1).all()
    flat = Mask(np.ones(NPIX), coord="G")
    write_mask(tmp_path / "ones.fits", flat)
    out = tmp_path / "x.sacc"
    pair = (
        files / "a.fits",
        files / "b.fits",
        "--mask",
        tmp_path / "ones.fits",
        *COMMON,
        "--weighting",
        "uniform",
    )
    assert run(monkeypatch, *pair, "--theory", files / "theory.txt", "-o", out) == 0
    data, dl = read_spectra(out), input_dl()
    # without mask and with narrow bins: the mean C_l times l(l+1)/2pi at the bin's middle
    cl = dl["ee"][2:56] / white[2:56]
    middle = data.centres * (data.centres + 1) / (2 * np.pi)
    np.testing.assert_allclose(
        data.theory({"ee": dl["ee"]})["ee"], cl.reshape(6, 9).mean(axis=1) * middle, rtol=0.03
    )
    from cmbfit.spectra.checks import check_bandpowers

    checks = {c["name"]: c for c in check_bandpowers(data, dl)}
    assert checks["bandpower windows sum to one"]["pass"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--weighting", "logarithmic"), "expected one of"),
        (("--mask-p", "{mask}"), "give --mask as well"),
        (("--frequency", "143", "--frequency", "217"), "2 --frequency for 1 maps"),
        (("--frequency", "none.txt"), "none.txt"),
    ],
)
def test_words_that_make_no_sense(files: Files, tmp_path, monkeypatch, capsys, words, message) -> None:
    words = [w.format(mask=files / "mask.fits") for w in words]
    assert run(monkeypatch, files / "a.fits", *ONE, *words, "-o", tmp_path / "x.txt") == 2
    assert message in capsys.readouterr().err
