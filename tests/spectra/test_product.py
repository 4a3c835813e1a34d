"""From the real maps to the product and back, and the figures drawn from it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sacc
from scipy import stats

from cmbfit.data import fetch
from cmbfit.errors import DataError, SpectrumError
from cmbfit.figures.maps import maps_table, mollweide_image, plot_maps, plot_mask
from cmbfit.figures.spectra import plot_spectra, spectra_table
from cmbfit.figures.style import new_figure, save_figure
from cmbfit.sky import gaussian_beam, read_pixel_window, remove_monopole_dipole
from cmbfit.spectra import (
    SPECTRA,
    Bandpowers,
    Bins,
    Estimate,
    Transfer,
    check_bandpowers,
    cross_spectra,
    monopole_dipole,
    read_spectra,
    write_spectra,
)
from cmbfit.spectra.product import COMBINED, leakage_path
from cmbfit.theory.base import point_from_values

EDGES = (2, 5, 9, 14, 20, 27, 35, 44, 54, 65)


def planck_like_dl() -> dict[str, np.ndarray]:
    """A smooth stand-in for LambdaCDM below l = 95, within about 5 % (TT) of it."""
    ell = np.arange(101.0)
    tt = 800 + 0.225 * ell**2 + 400 * np.exp(-ell / 3)
    dl = {"tt": tt, "te": 2 - 0.0012 * ell**2, "ee": 0.00006 * ell**2, "bb": 1e-5 * ell**2}
    for values in dl.values():
        values[:2] = 0
    return dl


@pytest.fixture(scope="module")
def estimate(wmap_maps, wmap_mask) -> Estimate:
    window = read_pixel_window(fetch("pixel_windows/pixel_window_n0032.fits"), 95)
    transfer = [Transfer(*(gaussian_beam(95, fwhm) * w for w in window)) for fwhm in (21.0, 13.2)]
    maps = [remove_monopole_dipole(wmap_maps[b], wmap_mask) for b in "VW"]
    return cross_spectra(
        *maps,
        wmap_mask,
        bins=Bins(EDGES),
        transfer_a=transfer[0],
        transfer_b=transfer[1],
        fiducial_dl=planck_like_dl(),
        filters_a=monopole_dipole(wmap_mask),
        filters_b=monopole_dipole(wmap_mask),
    )


def test_wmap_temperature_is_the_cmb(estimate) -> None:
    """The published WMAP and Planck spectra: 1000 uK^2 plateau rising to 1600 at l = 60, low quadrupole."""
    data = Bandpowers.of(estimate)
    chi2, dof = data.chi2("tt", data.theory(planck_like_dl())["tt"])
    assert chi2 < 30
    assert dof == 9
    assert 1400 < data.values["tt"][-1] < 2000
    assert data.values["tt"][0] < 1000
    assert 0.58 < estimate.info["fsky"] < 0.65
    assert 0.02 < estimate.info["noise_cl_uk2"]["a"]["ee"] < 0.04


def test_wmap_agrees_with_the_planck_best_fit(estimate, emulator) -> None:
    """TT of V x W against LCDM of Planck 2018 VI, table 2 (TT,TE,EE+lowE), as chi2 says it should."""
    values = {
        "ombh2": 0.02236,
        "omch2": 0.1202,
        "theta_mc": 1.04090,
        "tau": 0.0544,
        "logA": 3.045,
        "ns": 0.9649,
    }
    spectra = emulator.spectra(point_from_values(emulator, values)).dl
    data = Bandpowers.of(estimate)
    chi2, dof = data.chi2("tt", data.theory({k: spectra[k][0].numpy() for k in ("tt", "te", "ee")})["tt"])
    assert 1e-3 < stats.chi2.sf(chi2, dof) < 0.999
    # and the data can tell: a quarter more power is refused
    more = data.theory({"tt": 1.25 * spectra["tt"][0].numpy()})["tt"]
    assert stats.chi2.sf(data.chi2("tt", more)[0], dof) < 1e-6


def test_nulls(estimate) -> None:
    for check in check_bandpowers(Bandpowers.of(estimate), planck_like_dl()):
        assert set(check) == {"name", "value", "tolerance", "pass", "comment"}
        assert check["pass"], check
        json.dumps(check, allow_nan=False)


def test_a_fake_signal_fails_its_null(estimate) -> None:
    shifted = dict(estimate.bandpowers)
    shifted["tb"] = shifted["tb"] + 10 * Bandpowers.of(estimate).error("tb")
    bad = Estimate(shifted, estimate.covariance, estimate.master, estimate.info)
    failed = [c["name"] for c in check_bandpowers(Bandpowers.of(bad), planck_like_dl()) if not c["pass"]]
    assert failed == ["TB PTE, null"]


def test_round_trip(tmp_path, estimate) -> None:
    path = tmp_path / "x.sacc.fits"
    write_spectra(path, estimate, settings={"note": "a long text with  two blanks " * 20})
    again, made = read_spectra(path), Bandpowers.of(estimate)
    np.testing.assert_array_equal(again.covariance, made.covariance)
    np.testing.assert_array_equal(again.centres, made.centres)
    assert again.windows.keys() == made.windows.keys()
    for key, window in made.windows.items():
        np.testing.assert_array_equal(again.windows[key], window)
    for name in SPECTRA:
        np.testing.assert_array_equal(again.values[name], made.values[name])
    assert again.meta["note"] == "a long text with  two blanks " * 20
    assert again.edges == EDGES
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.leakage.fits", "x.sacc.fits"]


def test_sacc_alone_understands_it(tmp_path, estimate) -> None:
    write_spectra(tmp_path / "x.sacc.fits", estimate)
    data = sacc.Sacc.load_fits(str(tmp_path / "x.sacc.fits"))
    ell, te, covariance, index = data.get_ell_cl("cl_0e", "V_T", "W_P", return_cov=True, return_ind=True)
    np.testing.assert_array_equal(te, estimate.bandpowers["te"])
    np.testing.assert_array_equal(np.sqrt(np.diag(covariance)), Bandpowers.of(estimate).error("te"))
    window = data.get_bandpower_windows(index)
    np.testing.assert_allclose(window.weight.sum(axis=0), 1, atol=1e-6)
    assert data.tracers["W_P"].spin == 2
    assert ell[0] == 3


def test_bad_products(tmp_path, estimate) -> None:
    path = tmp_path / "x.sacc.fits"
    with pytest.raises(SpectrumError, match="expected a SACC file"):
        read_spectra(path)
    write_spectra(path, estimate)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpectrumError, match=r"expected (a SACC file|'cmbfit-spectra-1')"):
        read_spectra(path)
    path.write_bytes(whole)
    leakage = leakage_path(path).read_bytes()
    leakage_path(path).unlink()
    with pytest.raises(
        SpectrumError, match=r"its leakage windows .* are missing: expected .*x\.leakage\.fits"
    ):
        read_spectra(path)
    leakage_path(path).write_bytes(leakage)
    other = sacc.Sacc()
    other.save_fits(str(path), overwrite=True)
    with pytest.raises(SpectrumError, match="format"):
        read_spectra(path)


def test_combined(estimate) -> None:
    data, six = Bandpowers.of(estimate), Bandpowers.of(estimate).combined()
    assert six.names == COMBINED
    np.testing.assert_allclose(six.values["te"], 0.5 * (data.values["te"] + data.values["et"]))
    variance = 0.25 * np.diag(
        data.block("te") + data.block("et") + data.block("te", "et") + data.block("et", "te")
    )
    np.testing.assert_allclose(six.error("te") ** 2, variance)
    dl = planck_like_dl()
    one, two = data.theory(dl), six.theory(dl)
    np.testing.assert_allclose(two["te"], 0.5 * (one["te"] + one["et"]))
    np.testing.assert_allclose(two["bb"], one["bb"])
    with pytest.raises(SpectrumError, match="no spectrum 'et'"):
        six.block("et")
    with pytest.raises(SpectrumError, match="windows of tt reach 95"):
        data.theory({"tt": np.ones(30)})


def test_estimate_refuses(wmap_maps, wmap_mask, estimate) -> None:
    common = {
        "bins": Bins(EDGES),
        "transfer_a": estimate.master.transfer_a,
        "transfer_b": estimate.master.transfer_b,
    }
    maps = wmap_maps["V"], wmap_maps["W"], wmap_mask
    with pytest.raises(SpectrumError, match="without \\['ee'\\]"):
        cross_spectra(*maps, fiducial_dl={"tt": np.ones(96), "te": np.ones(96)}, **common)
    with pytest.raises(SpectrumError, match="l = 95 is needed"):
        cross_spectra(*maps, fiducial_dl=dict.fromkeys(("tt", "te", "ee"), np.ones(50)), **common)
    with pytest.raises(SpectrumError, match="non-finite"):
        cross_spectra(*maps, fiducial_dl=dict.fromkeys(("tt", "te", "ee"), np.full(96, np.nan)), **common)
    with pytest.raises(SpectrumError, match="expected from 64"):
        cross_spectra(*maps, fiducial_dl=planck_like_dl(), lmax=96, **common)
    with pytest.raises(SpectrumError, match="different names"):
        write_spectra("unused.fits", Estimate(estimate.bandpowers, estimate.covariance, estimate.master, {}  | {
            "map_a": "V", "map_b": "V"}))  # fmt: skip


@pytest.mark.slow
def test_figures(tmp_path, wmap_maps, wmap_mask, estimate) -> None:
    data = Bandpowers.of(estimate).combined()
    save_figure(
        plot_spectra(data, planck_like_dl()), tmp_path / "s.v1", spectra_table(data, planck_like_dl())
    )
    save_figure(plot_mask(wmap_mask), tmp_path / "k", maps_table([], wmap_mask))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{stem}.{suffix}" for stem in ("s.v1", "k") for suffix in ("png", "pdf", "csv")
    )
    table = np.genfromtxt(tmp_path / "s.v1.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    assert table.size == 6 * 9
    np.testing.assert_allclose(table["dl_uk2"][:9], data.values["tt"])
    fig = plot_maps(list(wmap_maps.values()), wmap_mask)
    assert len(fig.axes) == 2 * 4 + 4  # panels and one colour bar a column
    assert maps_table(list(wmap_maps.values()), wmap_mask).keys() >= {"pixel", "V_i_uk", "W_p_uk"}


def test_figures_are_reproducible(tmp_path) -> None:
    for name in "ab":
        fig = new_figure(3, 2)
        fig.subplots().plot([1, 2])
        save_figure(fig, tmp_path / name, {"x": [1, 2]})
    for suffix in ("png", "pdf", "csv"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()
    with pytest.raises(DataError, match="one length"):
        save_figure(new_figure(3, 2), tmp_path / "c", {"x": [1, 2], "y": [1]})


def test_mollweide_orientation() -> None:
    """Galactic longitude grows to the left; north is up."""
    import healpy

    nside = 32
    lon, lat = healpy.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    image = mollweide_image(lat)
    assert image[-1].mean() > 80
    image = mollweide_image(np.where(lon < 180, lon, lon - 360))
    assert image[150, 150] == pytest.approx(90, abs=3)
    assert image[150, 450] == pytest.approx(-90, abs=3)


@pytest.mark.slow
def test_entry_points(tmp_path) -> None:
    """The whole stage as the workflow runs it."""
    fiducial = tmp_path / "theory.txt"
    dl = planck_like_dl()
    columns = np.column_stack([np.arange(2, 101)] + [dl[k][2:] for k in ("tt", "te", "ee", "bb")])
    np.savetxt(fiducial, columns, header="ell tt te ee bb")

    def run(stage: str, *words: object) -> None:
        command = [sys.executable, "-W", "error", "-m", "pipeline", stage, *map(str, words)]
        done = subprocess.run(
            command, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    mask, out = tmp_path / "mask.fits", tmp_path / "VxW.sacc.fits"
    raw = fetch("wmap7/wmap_temperature_analysis_mask_r9_7yr_v4_udgraded32.fits")
    run("prepare_mask", "--mask", raw, "--coord", "G", "--output", mask)
    for band in "VW":
        raw = fetch(f"wmap7/wmap_band_iqumap_r9_7yr_{band}_v4_udgraded32.fits")
        run("prepare_maps", "--map", raw, "--mask", mask, "--band", band, "--unit", "mK", "--coord", "G",
            "--output", tmp_path / f"{band}.fits")  # fmt: skip
    window = fetch("pixel_windows/pixel_window_n0032.fits")
    run("estimate_spectra", "--map-a", tmp_path / "V.fits", "--map-b", tmp_path / "W.fits", "--mask", mask,
        "--fiducial", fiducial, "--pixel-window", window, "--fwhm-arcmin-a", 21, "--fwhm-arcmin-b", 13.2,
        "--edges", *EDGES, "--output", out)  # fmt: skip
    run("check_spectra", "--spectra", out, "--theory", fiducial, "--output", tmp_path / "checks.json")
    run("plot_spectra", "--spectra", out, "--theory", fiducial, "--output", tmp_path / "spectra.png")
    run("plot_maps", "--maps", tmp_path / "V.fits", tmp_path / "W.fits", "--names", "V", "W", "--mask", mask,
        "--output", tmp_path / "maps.png", "--mask-output", tmp_path / "maskfig.png")  # fmt: skip
    checks = json.loads((tmp_path / "checks.json").read_text())["checks"]
    assert len(checks) == 11
    assert all(c["pass"] for c in checks)
    record = json.loads((tmp_path / "V.fits.json").read_text())
    assert [s["step"] for s in record["steps"]] == ["read", "remove monopole and dipole", "cut to mask"]
    assert (tmp_path / "maps.png").stat().st_size > 10000
