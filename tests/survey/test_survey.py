"""The many-map analysis on skies of known input: cleaning's covariance, noise, cuts, products."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from cmbfit.errors import SpectrumError
from cmbfit.sky import Beam, StokesMap, apodise, galactic_cut, gaussian_beam, write_mask
from cmbfit.sky.fits import write_split
from cmbfit.sky.harmonic import alm2stokes, scale_alm
from cmbfit.sky.simulate import draw_alm
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.fields import Field
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.multi import estimate_bandpowers, field_alms, make_plan, split_noise
from cmbfit.spectra.transforms import FieldAlms, masked_alms
from cmbfit.survey.analysis import cleaning_covariance, used_bins
from cmbfit.survey.fields import (
    Cleaning,
    FieldFiles,
    SurveyField,
    difference_alms,
    read_beam_table,
    read_fields,
    write_beam_table,
)
from cmbfit.survey.nulls import noise_check, split_checks
from cmbfit.survey.products import PairSpectra, mask_label, read_alms, write_alms, write_pairs

NSIDE, LMAX, SIGMA = 16, 40, 20.0
NPIX = 12 * NSIDE**2
BINS = Bins((2, 8, 16, 24, 32))
LEVEL = SIGMA**2 * 4 * np.pi / NPIX


def sky(rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    ell = np.arange(LMAX + 1)
    dl = {"tt": np.where(ell >= 2, 1000.0, 0.0), "ee": np.where(ell >= 2, 10.0, 0.0)}
    beam = gaussian_beam(LMAX, 120.0)
    teb = draw_alm({k: scale * v for k, v in dl.items()}, LMAX, rng)
    return alm2stokes(np.stack([scale_alm(a, beam) for a in teb]), NSIDE)


def make(rng: np.random.Generator, n_splits: int = 4, cleaned: bool = False) -> SurveyField:
    """A field with white noise, and a template whose splits share one sky of another realisation."""
    mask = apodise(galactic_cut(NSIDE, 20.0), 10.0, "C1")
    beam = gaussian_beam(LMAX, 120.0)

    def alms_of(signal: np.ndarray, sigma: float) -> list[FieldAlms]:
        maps = [
            StokesMap(*(signal + sigma * rng.standard_normal((3, NPIX))), coord="G") for _ in range(n_splits)
        ]
        return [masked_alms(m, mask, LMAX) for m in maps]

    made = Field("V", n_splits, mask, Transfer(beam, beam))
    alms = alms_of(sky(rng), SIGMA)
    noise = split_noise(made, alms, BINS, np.ones(NPIX))
    made = replace(made, noise=noise)
    if not cleaned:
        return SurveyField(made, alms, None, SIGMA**2)
    templates = [alms_of(sky(rng, scale), 0.0) for scale in (4.0, 1.0)]
    covariance = np.array([[0.02, 0.004], [0.004, 0.05]]) ** 2 * np.array([[1, 1], [1, 1]])
    covariance[0, 1] = covariance[1, 0] = 0.5 * np.sqrt(covariance[0, 0] * covariance[1, 1])
    return SurveyField(made, alms, Cleaning(templates, np.array([0.3, 0.1]), covariance), SIGMA**2)


def test_covariance_of_cleaning_against_drawn_coefficients(rng: np.random.Generator) -> None:
    """400 draws of the coefficients: sample variances to 5 standard errors of sqrt(2 / n) = 7 %."""
    one = make(rng, cleaned=True)
    assert one.cleaning is not None
    plan = make_plan([one.field], BINS, LMAX)
    predicted = cleaning_covariance(plan, [one])
    n = 400
    shifts = rng.multivariate_normal(np.zeros(2), one.cleaning.covariance, n)
    values = np.array([estimate_bandpowers(plan, {"V": one.cleaned(s)}).ravel() for s in shifts])
    sample = np.cov(values, rowvar=False)
    # ee, eb, bb are entries 2, 3, 4; T is untouched by templates of Q and U
    assert np.abs(predicted[: BINS.n]).max() == 0
    sd = np.sqrt(np.diag(predicted))
    used = sd > 0
    ratio = np.diag(sample)[used] / sd[used] ** 2
    assert np.abs(ratio - 1).max() < 5 * np.sqrt(2 / n) + 0.05  # cross terms of second order are left out


def test_templates_come_off(rng: np.random.Generator) -> None:
    one = make(rng, cleaned=True)
    assert one.cleaning is not None
    back = one.cleaned(-one.cleaning.b)
    np.testing.assert_allclose(back[2].e, one.alms[2].e)
    expected = one.alms[1].b - 0.3 * one.cleaning.alms[0][1].b - 0.1 * one.cleaning.alms[1][1].b
    np.testing.assert_allclose(one.cleaned()[1].b, expected)
    assert one.cleaned()[0].t is one.alms[0].t


def test_measured_noise_is_the_noise_put_in(rng: np.random.Generator) -> None:
    """White noise of a known level from the splits: 1200 modes above l = 20, 4 splits, 50 % of the sky: 3 %."""
    noise = make(rng).field.noise_of(0)
    for level in (noise.t, noise.p):
        assert abs(level[20:32].mean() / LEVEL - 1) < 5 * np.sqrt(2 / (1200 * 0.5 * 3))


def test_stated_noise_that_is_wrong_fails(rng: np.random.Generator) -> None:
    one = make(rng)
    assert noise_check(one, BINS)["pass"]
    assert not noise_check(replace(one, pixel_variance=0.5 * SIGMA**2), BINS)["pass"]


def test_a_split_of_another_gain_fails_the_split_null(rng: np.random.Generator) -> None:
    one = make(rng)
    assert all(c["pass"] for c in split_checks(one, BINS, LMAX))
    alms = [replace(a, t=(1 + 0.3 * (k % 2)) * a.t) for k, a in enumerate(one.alms)]
    failed = [c["name"] for c in split_checks(replace(one, alms=alms), BINS, LMAX) if not c["pass"]]
    assert any("TT" in name for name in failed)
    assert len(difference_alms(one.alms)) == 2


def test_ranges_select_bins(rng: np.random.Generator) -> None:
    plan = make_plan([make(rng).field], BINS, LMAX)
    used = used_bins(plan, {"ee": {"VxV": [8, 23]}})
    assert used[2].tolist() == [False, True, True, False]
    assert used[[0, 1, 3, 4, 5]].all()
    with pytest.raises(SpectrumError, match="VxW"):
        used_bins(plan, {"ee": {"VxW": [8, 23]}})
    with pytest.raises(SpectrumError, match="no bin"):
        used_bins(plan, {"ee": {"VxV": [9, 14]}})


def test_ranges_of_te_and_et(rng: np.random.Generator) -> None:
    """A range of te is one of et, unless et has its own, in whatever order they are written."""
    fields = [replace(make(rng).field, name=n) for n in "VW"]
    plan = make_plan(fields, BINS, LMAX, [("V", "W")])
    te, et = ([e.spectrum for e in plan.entries].index(s) for s in ("te", "et"))
    used = used_bins(plan, {"te": {"VxW": [8, 31]}})
    assert used[te].tolist() == used[et].tolist() == [False, True, True, True]
    for cuts in (("te", [8, 31]), ("et", [16, 31])), (("et", [16, 31]), ("te", [8, 31])):
        used = used_bins(plan, {s: {"VxW": r} for s, r in cuts})
        assert used[te].tolist() == [False, True, True, True]
        assert used[et].tolist() == [False, False, True, True]


def test_field_from_files_with_two_masks(tmp_path: Path, rng: np.random.Generator) -> None:
    """Masks, a leaking beam, coefficients: as :func:`read_fields` assembles them, noise behind each mask."""
    masks = {n: apodise(galactic_cut(NSIDE, b), 10.0, "C1") for n, b in (("t", 10.0), ("p", 40.0))}
    for name, mask in masks.items():
        write_mask(tmp_path / f"{name}.fits", mask)
    beam = Beam.unit(LMAX)
    only_b = replace(beam, t_to_b=np.full(LMAX + 1, 0.02))
    write_beam_table(tmp_path / "beam.txt", only_b)
    np.testing.assert_allclose(read_beam_table(tmp_path / "beam.txt").t_to_b, 0.02)
    write_beam_table(tmp_path / "beam.txt", replace(beam, t_to_e=np.full(LMAX + 1, 0.01)))
    assert read_beam_table(tmp_path / "beam.txt").t_to_b is None
    splits = [f"{tmp_path}/split{k}.fits" for k in range(2)]
    label = mask_label(tmp_path / "t.fits", tmp_path / "p.fits")
    for k, path in enumerate(splits):
        one = StokesMap(*(sky(rng) + SIGMA * rng.standard_normal((3, NPIX))), coord="G")
        write_split(path, one, np.full(NPIX, SIGMA**-2))
        alms = masked_alms(one, masks["t"], LMAX, mask_p=masks["p"])
        write_alms(tmp_path / f"{k}.h5", alms, label)
    files = FieldFiles(
        "V", splits, [f"{tmp_path}/{k}.h5" for k in range(2)], f"{tmp_path}/t.fits", f"{tmp_path}/beam.txt",
        mask_p=f"{tmp_path}/p.fits", survey="one",
    )  # fmt: skip
    (made,) = read_fields([files], BINS)
    assert made.field.n_splits == 2
    assert made.field.survey == "one"
    np.testing.assert_allclose(made.field.transfer.t_to_e, 0.01)
    np.testing.assert_array_equal(made.field.mask_of("b").weights, masks["p"].weights)
    assert made.pixel_variance == pytest.approx(SIGMA**2, rel=1e-6)
    with pytest.raises(SpectrumError, match="expected the maps"):
        field_alms(made.field, LMAX)
    with pytest.raises(SpectrumError, match="another mask"):
        read_fields([replace(files, mask_p="")], BINS)
    # a fit of templates: its response to the sky comes with the field, less the beam
    u = rng.standard_normal((1, 2, 6, 2))
    fit = {"b": [0.1], "covariance_b": [[1e-4]], "response": u.tolist()}
    found = read_fields([replace(files, templates=[files.alms], coefficients=fit)], BINS)[0].field.cleaned
    assert found is not None
    np.testing.assert_allclose(found.u, u[..., 0] + 1j * u[..., 1])
    np.testing.assert_allclose(found.g[0, 0], np.mean([read_alms(x).e for x in files.alms], axis=0))
    with pytest.raises(SpectrumError, match=r"without \['response'\]; fit the templates again"):
        read_fields(
            [replace(files, templates=[files.alms], coefficients={k: fit[k] for k in ("b", "covariance_b")})],
            BINS,
        )
    (tmp_path / "beam.txt").write_text("0 1\n1 1\n")
    with pytest.raises(SpectrumError, match="ell t e b"):
        read_beam_table(tmp_path / "beam.txt")


def test_products_come_back(tmp_path: Path, rng: np.random.Generator) -> None:
    alms = make(rng).alms[0]
    write_alms(tmp_path / "a.h5", alms, "mask one")
    back = read_alms(tmp_path / "a.h5", "mask one")
    np.testing.assert_array_equal(back.e, alms.e)
    with pytest.raises(SpectrumError, match="another mask"):
        read_alms(tmp_path / "a.h5", "mask two")
    pairs = PairSpectra(
        (("tt", "V", "V"),),
        (2, 8, 16),
        np.ones((1, 2)),
        np.zeros((1, 2)),
        np.ones((1, 2), bool),
        np.eye(2),
        {"w2": 0.5},
    )
    write_pairs(tmp_path / "p.h5", pairs)
    assert (pairs.names, pairs.errors.tolist()) == (("tt VxV",), [[1.0, 1.0]])
    with h5py.File(tmp_path / "p.h5") as f:
        assert f["entries"][()].tolist() == [[b"tt", b"V", b"V"]]
        assert (f["edges"][()].tolist(), f.attrs["w2"]) == ([2, 8, 16], 0.5)
        np.testing.assert_array_equal(f["covariance"][()], pairs.covariance)
    with pytest.raises(SpectrumError, match="format"):
        read_alms(tmp_path / "p.h5")
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    with pytest.raises(SpectrumError, match="HDF5"):
        read_alms(tmp_path / "x.h5")
