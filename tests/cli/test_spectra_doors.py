# ruff: noqa: F811 (a fixture of another module)
"""The command line and the stages of the workflow are one road: the same maps give the same bandpowers and errors."""

from __future__ import annotations

import json
from pathlib import Path

import astropy.units as u
import healpy
import numpy as np
import pytest

from cmbfit.data import fetch
from cmbfit.sky import read_product
from cmbfit.spectra import read_spectra
from pipeline.estimate_spectra import estimate_spectra
from pipeline.estimate_survey import estimate_survey
from pipeline.prepare_beam import prepare_beam
from pipeline.prepare_maps import prepare_maps
from pipeline.prepare_mask import prepare_mask
from pipeline.prepare_split import prepare_split
from pipeline.prepare_survey_mask import prepare_survey_mask
from pipeline.transform_split import transform_split
from tests.cli.test_spectra import NPIX, Files, files, run  # noqa: F401 (a fixture)
from tests.spectra.simulation import LMAX

EDGES = [2, 11, 20, 29, 38, 47, 56]


@pytest.fixture(scope="module")
def window() -> Path:
    return fetch("pixel_windows/pixel_window_n0032.fits")


def sky_files(folder: Path, files: Files) -> tuple[dict[str, Path], Path]:
    """Maps in MJy/sr at 143 GHz as parts of the sky, that say no unit; a file of two masks without coordinates."""
    cmb = u.thermodynamic_temperature(143 * u.GHz, T_cmb=2.7255 * u.K)
    per_uk = (1 * u.uK).to(u.MJy / u.sr, equivalencies=cmb).value
    mask = read_mask_weights(files)
    names = ["I_STOKES", "Q_STOKES", "U_STOKES"]
    out = {}
    for x in "ab":
        sky = [np.where(mask > 0, s * per_uk, healpy.UNSEEN) for s in read_product(files / f"{x}.fits").iqu]
        out[x] = folder / f"{x}.fits"
        healpy.write_map(out[x], sky, column_names=names, dtype=np.float64, coord="G", partial=True)
    both = folder / "masks.fits"
    healpy.write_map(both, [np.ones(NPIX), mask], column_names=["GAL090", "GAL060"], dtype=np.float64)
    return out, both


def read_mask_weights(files: Files) -> np.ndarray:
    from cmbfit.sky import read_mask_product

    return np.array(read_mask_product(files / "mask.fits").weights)


def test_two_maps(files: Files, window: Path, tmp_path, monkeypatch) -> None:
    maps, masks = sky_files(tmp_path, files)
    edges = tmp_path / "edges.txt"
    np.savetxt(edges, EDGES, fmt="%d")
    cli = tmp_path / "cli.sacc"
    words = (
        maps["a"],
        maps["b"],
        "--mask",
        masks,
        "--mask-column",
        "GAL060",
        "--unit",
        "MJy/sr",
        "--frequency",
        143,
    )
    rest = (
        "--fwhm-arcmin",
        30,
        "--fwhm-arcmin",
        60,
        "--bins",
        edges,
        "--weighting",
        "uniform",
        "--iterations",
        1,
    )
    assert run(monkeypatch, *words, *rest, "--theory", files / "theory.txt", "-o", cli) == 0
    prepare_mask(output=tmp_path / "mask.fits", mask=masks, column="GAL060", like=maps["a"])
    for x in "ab":
        prepare_maps(
            map=maps[x], mask=tmp_path / "mask.fits", band=x, output=tmp_path / f"p{x}.fits", unit="MJy/sr",
            frequency="143",
        )  # fmt: skip
    estimate_spectra(
        map_a=tmp_path / "pa.fits", map_b=tmp_path / "pb.fits", mask=tmp_path / "mask.fits",
        fiducial=Path(files / "theory.txt"), pixel_window=window, fwhm_arcmin_a=30.0, fwhm_arcmin_b=60.0, edges=EDGES,
        output=tmp_path / "stage.sacc", weighting="uniform", iterations=1,
    )  # fmt: skip
    one, two = read_spectra(cli), read_spectra(tmp_path / "stage.sacc")
    for name in one.names:
        np.testing.assert_allclose(two.values[name], one.values[name], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(two.covariance, one.covariance, rtol=1e-6, atol=1e-9 * one.covariance.max())


def test_a_survey_of_temperature_alone(files: Files, window: Path, tmp_path) -> None:
    """Two splits of I and hits of one field, no mask, through the stages of a survey: TT, its covariance and nothing else."""
    band = tmp_path / "band.json"
    spec = {"frequency_ghz": 143, "detectors": {"A1": {"sigma0_uk": 6.0}}}
    band.write_text(json.dumps({"spec": spec, "declared": {}}))
    splits = {}
    for x in "ab":
        raw = tmp_path / f"raw_{x}.fits"
        columns = [read_product(files / f"{x}.fits").i, np.ones(NPIX)]
        healpy.write_map(
            raw, columns, column_names=["TEMPERATURE", "N_OBS"], column_units=["uK_CMB", ""], coord="G"
        )
        splits[x] = tmp_path / f"A.{x}.fits"
        prepare_split(
            maps=[raw], sha256=[sha(raw)], name=f"A.{x}", band=band, frequency="143", output=splits[x]
        )
    said = tmp_path / "mask.json"
    said.write_text(json.dumps({"spec": {}, "declared": {}}))
    prepare_survey_mask(
        masks=[],
        sha256=[],
        splits=list(splits.values()),
        name="full",
        mask=said,
        output=tmp_path / "mask.fits",
    )
    detectors = tmp_path / "detectors.json"
    beam = tmp_path / "beam.txt"
    ell = np.arange(LMAX + 1)
    b = np.exp(-0.5 * ell * (ell + 1) * (np.radians(0.5) / np.sqrt(8 * np.log(2))) ** 2)
    np.savetxt(beam, np.column_stack([ell, b, 0 * b]), header="l b_l error")
    detectors.write_text(json.dumps([{"beam": {"file": "beam.txt"}, "weight": 1.0}]))
    prepare_beam(
        beams=[beam], sha256=[sha(beam)], detectors=detectors, pixel_window=window, lmax=LMAX,
        output=tmp_path / "A.beam.txt",
    )  # fmt: skip
    record = json.loads((tmp_path / "A.beam.txt.json").read_text())
    assert record["notes"] == ["beam.txt: the beam of T serves E and B, the file has no other"]
    for x, path in splits.items():
        transform_split(
            split=path, masks=[tmp_path / "mask.fits"], name=x, lmax=LMAX, output=tmp_path / f"{x}.h5"
        )
    field = {
        "name": "A", "splits": [str(p) for p in splits.values()], "alms": [str(tmp_path / f"{x}.h5") for x in "ab"],
        "mask": str(tmp_path / "mask.fits"), "beam": str(tmp_path / "A.beam.txt"),
    }  # fmt: skip
    (tmp_path / "fields.json").write_text(json.dumps([field]))
    (tmp_path / "combine.json").write_text(json.dumps({"pairs": None, "cuts": {}}))
    estimate_survey(
        fields=tmp_path / "fields.json", fiducial=Path(files / "theory.txt"), edges=[str(e) for e in EDGES], lmax=LMAX,
        combine=tmp_path / "combine.json", pairs_output=tmp_path / "pairs.h5", checks=tmp_path / "checks.json",
        output=tmp_path / "out.sacc",
    )  # fmt: skip
    data = read_spectra(tmp_path / "out.sacc")
    assert data.names == ("tt",)
    assert data.covariance.shape == (6, 6)
    rows = json.loads((tmp_path / "checks.json").read_text())["checks"]
    assert [r["name"] for r in rows] == ["TT AxA, fiducial theory"]


def sha(path: Path) -> str:
    from cmbfit.io import sha256_file

    return sha256_file(path)
