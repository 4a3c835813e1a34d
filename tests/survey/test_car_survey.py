"""A survey of CAR maps with inverse variances in files of their own, as ACT publishes them, through the stages of the workflow."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from cmbfit.config import load_config
from cmbfit.errors import ConfigError, MapError
from cmbfit.sky import read_mask_product
from cmbfit.sky.car_fits import write_header
from cmbfit.sky.harmonic import alm2stokes
from cmbfit.sky.splits import read_detector
from cmbfit.spectra import read_spectra
from cmbfit.survey.config import Survey
from cmbfit.survey.display import shown_mask
from pipeline.check_nulls import check_nulls
from pipeline.estimate_survey import estimate_survey
from pipeline.prepare_beam import prepare_beam
from pipeline.prepare_split import prepare_split
from pipeline.prepare_survey_mask import prepare_survey_mask
from pipeline.transform_split import transform_split
from tests.spectra.test_car_spectra import BEAM, CAR, LMAX, drawn_noise, input_dl, sky

SPLITS, NOISE, LEVEL = "0123", 4.0, 99
EDGES = [2, 16, 30, 44, 58, 72]
HITS = np.repeat(np.linspace(1, 3, CAR.rows), CAR.columns)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def act_image(path: Path, planes: np.ndarray) -> Path:
    """Write a file as ACT does: rows from the south, columns to the west, IAU, no BUNIT."""
    cube = planes.reshape(-1, CAR.rows, CAR.columns)[:, ::-1, ::-1].astype("f4")
    hdu = fits.PrimaryHDU(cube if len(cube) > 1 else cube[0], header=write_header(CAR, "C"))
    if len(cube) == 3:
        hdu.data[2] *= -1
        hdu.header["POLCCONV"] = "IAU"
    hdu.writeto(path)
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four splits of one sky with independent noise, their inverse variances, a mask with a hole, a beam and a theory."""
    folder, rng = tmp_path_factory.mktemp("act"), np.random.default_rng(7)
    signal = alm2stokes(sky(rng), CAR)
    for split in SPLITS:
        act_image(folder / f"map{split}.fits", signal + drawn_noise(NOISE, rng))
        act_image(folder / f"ivar{split}.fits", HITS[None] / NOISE**2)
    weights = np.ones((CAR.rows, CAR.columns))
    weights[18:20, 60:63] = 0
    act_image(folder / "mask.fits", weights)
    ell = np.arange(LMAX + 1)
    np.savetxt(folder / "beam.txt", np.column_stack([ell, BEAM]), header="l Bl_T")
    dl = input_dl()
    table = np.column_stack([ell[2:]] + [dl[k][2:] for k in ("tt", "te", "ee", "bb")])
    np.savetxt(folder / "theory.txt", table, header="units_checked\nell tt te ee bb")
    return folder


def write(path: Path, content: object) -> Path:
    path.write_text(json.dumps(content))
    return path


@pytest.mark.slow
def test_from_files_to_bandpowers(published: Path, tmp_path: Path) -> None:
    """TT, TE, EE, BB of a sky of known input within its errors, EB and TB within theirs of zero; nulls and noise pass."""
    band = write(
        tmp_path / "band.json",
        {
            "spec": {"frequency_ghz": 150, "detectors": {"pa5": {"beam": "beam.txt"}}},
            "declared": {"unit": "uK", "coord": None},
        },
    )
    splits = []
    for s in SPLITS:
        maps, ivar = published / f"map{s}.fits", published / f"ivar{s}.fits"
        splits.append(tmp_path / f"A.{s}.fits")
        prepare_split(
            maps=[maps], sha256=[sha(maps)], name=f"A.{s}", band=band, frequency="150", output=splits[-1],
            weights=[ivar], weights_sha256=[sha(ivar)],
        )  # fmt: skip
    mask, said = tmp_path / "mask.fits", {"apodisation": {"type": "C2", "degrees": 8.0}}
    prepare_survey_mask(
        masks=[published / "mask.fits"], sha256=[sha(published / "mask.fits")], splits=splits, name="patch",
        mask=write(tmp_path / "mask.json", {"spec": said, "declared": {}}), output=mask,
    )  # fmt: skip
    patch = read_mask_product(mask)
    assert patch.grid == CAR
    assert patch.weights.reshape(CAR.rows, CAR.columns)[0].max() < 0.1  # apodised from the edge of the patch
    shown = shown_mask(patch, 64)
    assert shown.fsky == pytest.approx(patch.fsky, rel=0.01)
    prepare_beam(
        beams=[published / "beam.txt"], sha256=[sha(published / "beam.txt")],
        detectors=write(tmp_path / "detectors.json", [{"beam": {"file": "beam.txt"}, "weight": 1.0}]), lmax=LMAX,
        output=tmp_path / "A.beam.txt",
    )  # fmt: skip
    for s, path in zip(SPLITS, splits, strict=True):
        transform_split(split=path, masks=[mask], name=s, lmax=LMAX, output=tmp_path / f"{s}.h5")
    field = {
        "name": "A", "splits": [str(p) for p in splits], "alms": [str(tmp_path / f"{s}.h5") for s in SPLITS],
        "mask": str(mask), "beam": str(tmp_path / "A.beam.txt"),
    }  # fmt: skip
    fields = write(tmp_path / "fields.json", [field])
    common = {
        "fields": fields,
        "fiducial": published / "theory.txt",
        "edges": [str(e) for e in EDGES],
        "lmax": LMAX,
    }
    estimate_survey(
        **common, combine=write(tmp_path / "combine.json", {"pairs": None, "cuts": {}}), pairs_output=tmp_path / "pairs.h5",
        checks=tmp_path / "checks.json", output=tmp_path / "out.sacc",
    )  # fmt: skip
    data, dl = read_spectra(tmp_path / "out.sacc"), input_dl()
    expected = data.theory(dl)
    for name in data.names:
        chi2, n = data.chi2(name, expected.get(name) if name in dl else None)
        assert chi2 < n + 5 * np.sqrt(2 * n), (name, chi2, n)
    check_nulls(
        **common,
        differences=write(tmp_path / "none.json", []),
        spectra=tmp_path / "out.sacc",
        output=tmp_path / "nulls.json",
    )
    rows = json.loads((tmp_path / "nulls.json").read_text())["checks"]
    # the BB of this sky is a fifth of EE, which that check takes for a wrong sign of U
    assert {r["name"] for r in rows if not r["pass"]} <= {"U sign, BB over EE"}
    (noise,) = [r for r in rows if "noise of I in a half-difference" in r["name"]]
    assert abs(noise["value"]) < 0.05  # four errors are 0.04: the files state what was drawn


def test_windows(published: Path, tmp_path: Path) -> None:
    """The pixel window of the mask's grid in the beam's table, in place of HEALPix's."""
    splits = [tmp_path / "A.fits"]
    band = write(
        tmp_path / "band.json",
        {"spec": {"detectors": {"pa5": {}}}, "declared": {"unit": "uK", "polcconv": "IAU"}},
    )
    prepare_split(
        maps=[published / "map0.fits"], sha256=[sha(published / "map0.fits")], name="A", band=band, frequency="150",
        output=splits[0], weights=[published / "ivar0.fits"], weights_sha256=[sha(published / "ivar0.fits")],
    )  # fmt: skip
    mask = tmp_path / "mask.fits"
    prepare_survey_mask(
        masks=[],
        sha256=[],
        splits=splits,
        name="all",
        mask=write(tmp_path / "m.json", {"spec": {}, "declared": {}}),
        output=mask,
    )
    detectors = write(tmp_path / "detectors.json", [{"beam": {"file": "beam.txt"}, "weight": 1.0}])
    how = {
        "beams": [published / "beam.txt"],
        "sha256": [sha(published / "beam.txt")],
        "detectors": detectors,
        "lmax": LMAX,
    }
    prepare_beam(**how, mask=mask, output=tmp_path / "with.txt")
    prepare_beam(**how, output=tmp_path / "without.txt")
    ratio = np.loadtxt(tmp_path / "with.txt")[:, 1] / np.loadtxt(tmp_path / "without.txt")[:, 1]
    np.testing.assert_allclose(ratio, CAR.window(np.ones(CAR.npix), LMAX), rtol=1e-8)


def test_what_is_refused(published: Path, tmp_path: Path) -> None:
    with pytest.raises(MapError, match="expected one image of hits or of an inverse variance"):
        read_detector(published / "map0.fits", unit="uK")
    other = tmp_path / "ivar.fits"
    head = write_header(CAR, "C")
    head["CRPIX1"] += 1
    fits.PrimaryHDU(np.ones((CAR.rows, CAR.columns)), header=head).writeto(other)
    with pytest.raises(MapError, match="weights on CAR of 41 x 140"):
        read_detector(published / "map0.fits", unit="uK", weights=other)
    config = load_config(["pipeline/config/default.yaml", "pipeline/config/wmap9.yaml"])["maps"]
    config["templates"]["K"]["pixel_window"] = "car"
    with pytest.raises(ConfigError, match=r"maps\.templates\.K\.pixel_window: car"):
        Survey(config)
    config["templates"]["K"]["pixel_window"] = "none"
    config["fields"]["V"]["pixel_window"] = "car"
    with pytest.raises(ConfigError, match=r"maps\.cleaning\.fields: V has CAR maps"):
        Survey(config)
    config["cleaning"] = {"fields": [], "templates": []}
    survey = Survey(config)
    assert survey.window_mask("V") == f"<results>/maps/mask_{survey.mask_of('V')}.fits"
    assert survey.window_file("V") is None
    assert survey.window_file("W") == config["pixel_window"]
    assert "car" not in survey.files
