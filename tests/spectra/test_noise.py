"""Noise of two maps from themselves: errors of their cross-spectra against the scatter of skies, and what is said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import healpy
import numpy as np
import pytest

from cmbfit.sky import Mask, StokesMap, apodise, gaussian_beam
from cmbfit.sky.harmonic import alm2stokes, scale_alm
from cmbfit.sky.simulate import draw_alm
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.estimate import cl_from_dl, measure_noise
from cmbfit.spectra.fields import Field
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.multi import estimate_bandpowers, field_alms, make_plan
from cmbfit.spectra.noise import Levels, noise_levels, seen_noise

NSIDE, LMAX = 64, 150
NPIX = 12 * NSIDE**2
EDGES = tuple(range(2, 123, 10))


def theory(lmax: int) -> dict[str, np.ndarray]:
    """Smooth spectra of about LCDM's size."""
    ell = np.arange(lmax + 1.0)
    tt = 800 + 0.225 * ell**2 + 400 * np.exp(-ell / 3)
    dl = {"tt": tt, "ee": 6e-5 * ell**2, "bb": 1e-5 * ell**2, "te": -0.3 * np.sqrt(tt * 6e-5) * ell}
    for values in dl.values():
        values[:2] = 0
    return dl


def masks(nside: int) -> tuple[Mask, Mask]:
    """A galactic cut and a tilted part of the sky."""
    x, _, z = healpy.pix2vec(nside, np.arange(12 * nside**2))
    one = apodise(Mask((np.abs(z) > 0.25).astype(float), coord="G", name="cut"), 8, "C1")
    return one, apodise(Mask((0.8 * x + 0.6 * z > -0.4).astype(float), coord="G", name="tilted"), 10, "C1")


def fields_of(fwhm: Sequence[float]) -> list[Field]:
    blank = StokesMap(*np.zeros((3, NPIX)), coord="G")
    return [
        Field(n, [blank], mask, Transfer(*[gaussian_beam(LMAX, f)] * 2))
        for n, mask, f in zip("ab", masks(NSIDE), fwhm, strict=True)
    ]


def draw(fields: list[Field], sigma: Sequence[float], rng: np.random.Generator, dl: dict) -> list[Field]:
    """Return the fields with maps of one sky; sigma is the noise of a pixel of I, Q and U have sqrt 2 of it."""
    alm, out = draw_alm(dl, LMAX, rng), []
    for f, s in zip(fields, sigma, strict=True):
        sky = alm2stokes(np.stack([scale_alm(x, f.transfer.t) for x in alm]), NSIDE)
        sky += s * np.array([1, 2**0.5, 2**0.5])[:, None] * rng.standard_normal(sky.shape)
        out.append(replace(f, splits=[StokesMap(*sky, coord="G", name=f.name)]))
    return out


def errors_over_scatter(fwhm: Sequence[float], sigma: Sequence[float], n: int, measured: int) -> np.ndarray:
    """Return sqrt of the mean variance that `measured` skies predict over the scatter of n, shape (9, bins)."""
    dl, fields, rng = theory(LMAX), fields_of(fwhm), np.random.default_rng(1)
    plan, signal = make_plan(fields, Bins(EDGES), LMAX), cl_from_dl(dl, LMAX)
    found, variance = [], []
    for k in range(n):
        seen = draw(fields, sigma, rng, dl)
        alms = {f.name: field_alms(f, LMAX) for f in seen}
        found.append(estimate_bandpowers(plan, alms))
        if k < measured:
            noise, _ = measure_noise(seen, [alms["a"][0], alms["b"][0]], plan, signal)
            noisy = [replace(f, noise=x) for f, x in zip(fields, noise, strict=True)]
            variance.append(np.diag(multi_covariance(plan, noisy, signal)).reshape(9, -1))
    return np.sqrt(np.mean(variance, axis=0)) / np.std(found, axis=0)


@pytest.mark.slow
@pytest.mark.parametrize("sigma", [(5, 5), (40, 20)])
@pytest.mark.parametrize("fwhm", [(60, 60), (60, 120), (60, 180)])
def test_errors_are_the_scatter_of_600_skies(fwhm, sigma) -> None:
    """Three ratios of beams (in power up to 540 at l = 120), two levels of noise, unequal masks.

    600 skies know a standard deviation to 2.9 %: four of that for a bin, 5 % for the mean of four bins.
    """
    ratio = errors_over_scatter(fwhm, sigma, 600, 12)
    assert np.abs(ratio - 1).max() < 0.13, ratio
    for row in ratio:
        assert np.abs(row.reshape(3, 4).mean(axis=1) - 1).max() < 0.05, row


@pytest.mark.parametrize(("fwhm", "sigma"), [((60, 180), (5, 5)), ((60, 180), (40, 20))])
def test_noise_is_that_of_the_maps(fwhm, sigma) -> None:
    """White noise of known level, unequal beams and masks, eight skies: N_l over the truth, and the power of each map.

    An auto- minus a cross-spectrum of different beams has 540 times too little sky at l = 120 for the one map and too
    much for the other: far outside these limits.
    """
    dl, fields, rng = theory(LMAX), fields_of(fwhm), np.random.default_rng(5)
    plan, signal = make_plan(fields, Bins(EDGES), LMAX), cl_from_dl(dl, LMAX)
    levels = []
    for _ in range(8):
        seen = draw(fields, sigma, rng, dl)
        alms = [field_alms(f, LMAX)[0] for f in seen]
        levels.append([x.t for x in measure_noise(seen, alms, plan, signal)[0]])
    mean = np.mean(levels, axis=0)
    for k, f in enumerate(fields):
        truth = sigma[k] ** 2 * 4 * np.pi / NPIX
        power = signal["tt"][2:123] * f.transfer.t[2:123] ** 2 + truth
        # of a map's power: eight skies of 60 % of the sky, bins of ten multipoles
        assert np.abs((mean[k][2:123] - truth) / power).max() < 0.15
        assert np.abs((mean[k][30:123] - truth) / power[28:]).mean() < 0.03
        assert mean[k][80:123].mean() == pytest.approx(truth, rel=0.6 if (k, sigma[0]) == (0, 5) else 0.05)


def test_noise_of_a_map_of_i_alone() -> None:
    """It has none of E and B; that of the other map is still the white noise which it was given."""
    dl, fields, rng = theory(LMAX), fields_of((60, 90)), np.random.default_rng(6)
    plan, signal = make_plan(fields, Bins(EDGES), LMAX), cl_from_dl(dl, LMAX)
    seen = draw(fields, (20, 20), rng, dl)
    i = seen[0].maps[0].i
    for k, other in enumerate((seen[1], replace(seen[1], splits=[StokesMap.temperature(i, "G", "c")]))):
        both = [replace(seen[0], splits=[StokesMap.temperature(i, "G", "t")]), other]
        alms = [field_alms(f, LMAX)[0] for f in both]
        one, two = measure_noise(both, alms, plan, signal)[0]
        truth = 20**2 * 4 * np.pi / NPIX
        assert not one.p.any()
        if k:
            assert not two.p.any()
            continue
        # of E and B together 7000 modes above l = 80: 1.7 %
        assert two.p[80:123].mean() == pytest.approx(2 * truth, rel=0.07)


def spectra(lmax: int, noise: tuple[float, float], rng: np.random.Generator) -> tuple[dict, dict]:
    """Full-sky auto- and cross-spectra of two maps of one sky, and what is expected of the sky."""
    modes = 2 * np.arange(lmax + 1) + 1
    sky = np.where(modes > 3, 2 * np.pi / np.maximum(np.arange(lmax + 1) * (np.arange(lmax + 1) + 1.0), 1), 0)
    found = {"aa": np.zeros(lmax + 1), "bb": np.zeros(lmax + 1), "ab": np.zeros(lmax + 1)}
    for deg, m in enumerate(modes):
        s = np.sqrt(sky[deg]) * rng.standard_normal(m)
        a, b = (s + np.sqrt(n) * rng.standard_normal(m) for n in noise)
        found["aa"][deg], found["bb"][deg], found["ab"][deg] = a @ a / m, b @ b / m, a @ b / m
    return found, {"aa": sky, "bb": sky, "ab": sky}


def test_stated_errors_of_the_noise() -> None:
    """Pulls of measured noise over 400 full skies, each multipole drawn by hand: mean 0, width 1."""
    rng, lmax, noise = np.random.default_rng(8), 60, (0.002, 0.01)
    bins, one, pulls = Bins(range(2, 60, 6)).padded(lmax), np.ones(61), []
    for _ in range(400):
        found, expected = spectra(lmax, noise, rng)
        pulls.append([
            (x.level - n) / x.error
            for x, n in zip(noise_levels(found, expected, (one, one), bins, 1.0), noise, strict=True)
        ])  # fmt: skip
    x = np.array(pulls)
    # the error is made of the noise that was found, so a low draw has a low error: pulls are skew by a third
    assert np.abs(np.median(x, axis=0)).max() < 0.35
    assert np.percentile(np.abs(x), 68, axis=0) == pytest.approx(1, abs=0.35)


def test_a_foreground_is_no_noise() -> None:
    """A sky four times the theory at l < 20: the cross-spectrum refutes the theory, and what it saw comes off."""
    rng, lmax = np.random.default_rng(9), 60
    bins, one = Bins(range(2, 60, 6)).padded(lmax), np.ones(61)
    found, expected = spectra(lmax, (0.002, 0.002), rng)
    wrong = {k: np.where(np.arange(61) < 20, v / 4, v) for k, v in expected.items()}
    right, other = noise_levels(found, wrong, (one, one), bins, 1.0)
    assert np.abs(right.level[:3] - 0.002).max() < 0.004
    assert right.total[0] > 0.2
    del other


def test_what_is_not_seen_is_said() -> None:
    """Noise joined over bins until it is seen; a beam that is wrong and noise nobody can see are said aloud."""
    bins = Bins((2, 12, 22, 32, 42))
    one = np.ones(4)
    noise, notes = seen_noise(
        Levels(np.array([-3.0, 1, 1, 1.2]), np.array([4, 1, 0.1, 0.1]), 100 * one), bins, 41, "T of map V"
    )
    assert not notes
    # inverse-variance mean of the first three: (-3/16 + 1 + 100) / (1/16 + 1 + 100)
    np.testing.assert_allclose(noise[[4, 16, 26]], 100.8125 / 101.0625, rtol=1e-12)
    assert noise[37] == pytest.approx(1.2)
    _, notes = seen_noise(Levels(-0.1 * one, 2 * one, 20 * one), bins, 41, "T of map V")
    assert "T of map V: noise is not seen, -0.1 +- 1 uK^2" in notes[0]
    assert "10% of the map's power; errors count it as 0:" in notes[0]
    _, notes = seen_noise(Levels(np.array([-9, 1, 1, 1.0]), 0.1 * one, 20 * one), bins, 41, "E, B of map W")
    assert "E, B of map W: its auto-spectrum has 45% less power" in notes[0]
    assert "at l 2-11, 90 errors: beams, calibration" in notes[0]
