"""Template cleaning between maps of different beams: what must stay and what must go."""

from __future__ import annotations

import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import Beam, StokesMap, galactic_cut
from cmbfit.sky.cleaning import Source, fit_coefficients, pixel_covariance, regressor, sky_alm, taper
from cmbfit.sky.foregrounds import synchrotron_sky
from cmbfit.sky.harmonic import alm2cl, alm2stokes, scale_alm, stokes2alm
from cmbfit.sky.simulate import draw_alm
from cmbfit.sky.standins import scan_hits

NSIDE, LMAX = 32, 64
A = 0.2


def beamed(teb: np.ndarray, beam: Beam) -> StokesMap:
    maps = alm2stokes(np.stack([scale_alm(a, x) for a, x in zip(teb, beam.teb, strict=True)]), NSIDE)
    return StokesMap(*maps, coord="G")


@pytest.fixture(scope="module")
def skies() -> tuple[np.ndarray, np.ndarray]:
    """CMB (E only) and synchrotron of a template, as coefficients without beam."""
    rng = np.random.default_rng(8)
    ell = np.arange(LMAX + 1)
    ee = np.where(ell >= 2, 0.02 * (1 + (ell / 20) ** 2), 0.0)
    return draw_alm({"ee": ee}, LMAX, rng), synchrotron_sky(rng, NSIDE, LMAX).alm


def test_cmb_survives_any_coefficient_at_every_multipole(skies: tuple[np.ndarray, np.ndarray]) -> None:
    """A sky of CMB alone, template of another beam: the regressor is zero to the transforms' accuracy."""
    cmb, _ = skies
    fine, coarse, window = Beam.gaussian(LMAX, 60.0), Beam.gaussian(LMAX, 180.0), taper(30, 60)
    own, template = (sky_alm(beamed(cmb, b), b, window) for b in (fine, coarse))
    out = regressor(template, own, fine, NSIDE, "G", "x")
    # three iterations of the analysis leave 1e-5; division by a beam of 0.4 amplifies it
    assert np.abs(out.iqu).max() < 1e-3 * beamed(cmb, fine).iqu[1:].std()


def test_foreground_goes_where_the_window_is_one(skies: tuple[np.ndarray, np.ndarray]) -> None:
    cmb, foreground = skies
    fine, coarse, window = Beam.gaussian(LMAX, 60.0), Beam.gaussian(LMAX, 180.0), taper(30, 60)
    sky, template = beamed(cmb + A * foreground, fine), beamed(cmb + foreground, coarse)
    x = regressor(sky_alm(template, coarse, window), sky_alm(sky, fine, window), fine, NSIDE, "G", "x")
    b = A / (1 - A)  # a = b / (1 + b)
    cleaned = StokesMap(*(sky.iqu - b * x.iqu), coord="G")
    residual = stokes2alm(cleaned.iqu - beamed(cmb, fine).iqu, LMAX)
    before = stokes2alm(beamed(A * foreground, fine).iqu, LMAX)
    for k in (1, 2):
        left, had = alm2cl(residual[k], residual[k]), alm2cl(before[k], before[k])
        assert (left[2:31] / had[2:31]).max() < 1e-6
        assert left[60] / had[60] > 0.99  # and nothing is subtracted beyond it


def test_pixel_covariance_against_drawn_skies() -> None:
    """Covariance of Q and U on pixels from 400 drawn skies: entries scatter by 1 / sqrt(400)."""
    nside, n = 4, 400
    ell = np.arange(3 * nside + 1)
    dl = np.where(ell >= 2, 1.0, 0.0)
    cl = np.zeros(ell.size)
    cl[2:] = 2 * np.pi / (ell[2:] * (ell[2:] + 1))
    keep = np.zeros(12 * nside**2, dtype=bool)
    keep[::7] = True
    matrix = pixel_covariance(cl, 0.3 * cl, nside, keep)
    rng = np.random.default_rng(5)
    skies = [alm2stokes(draw_alm({"ee": dl, "bb": 0.3 * dl}, 3 * nside, rng), nside) for _ in range(n)]
    sample = np.cov(np.array([s[1:, keep].ravel() for s in skies]), rowvar=False)
    sd = np.sqrt(np.diag(matrix))
    pull = (sample - matrix) / np.outer(sd, sd) * np.sqrt(n)
    # the standard error of a correlation-like entry is at most sqrt(2): 5 sigma for some thousand entries
    assert np.abs(pull).max() < 5 * np.sqrt(2)
    assert 0.8 < pull.std() < 1.4


def test_fitted_coefficient_and_its_error(skies: tuple[np.ndarray, np.ndarray]) -> None:
    """Thirty skies with noise in map and template: pulls of a have zero mean and unit scatter."""
    _, foreground = skies
    rng = np.random.default_rng(11)
    fine, coarse, window = Beam.gaussian(LMAX, 60.0), Beam.gaussian(LMAX, 120.0), taper(30, 60)
    ell = np.arange(LMAX + 1)
    ee = np.where(ell >= 2, 0.02 * (1 + (ell / 20) ** 2), 0.0)
    mask, one = galactic_cut(NSIDE, 20.0), np.ones(12 * NSIDE**2)
    pulls = []
    for _ in range(30):
        cmb = draw_alm({"ee": ee}, LMAX, rng)

        def source(name: str, teb: np.ndarray, beam: Beam, sigma: float) -> Source:
            sky = beamed(teb, beam).iqu
            maps = [StokesMap(*(sky + sigma * rng.standard_normal(sky.shape)), coord="G") for _ in range(4)]
            return Source(name, [sky_alm(m, beam, window) for m in maps], one, beam)

        fit = fit_coefficients(
            source("V", cmb + A * foreground, fine, 6.0),
            [source("K", cmb + foreground, coarse, 3.0)],
            [True],
            mask,
            4,
            ee,
        )
        pulls.append((fit.a[0] - A) / np.sqrt(fit.covariance_a[0, 0]))
    # 30 draws: mean to 1 / sqrt(30) = 0.18, scatter to 13 %; three sigma of each
    assert abs(np.mean(pulls)) < 0.55
    assert 0.6 < np.std(pulls) < 1.4


def test_what_is_refused(skies: tuple[np.ndarray, np.ndarray]) -> None:
    cmb, _ = skies
    beam = Beam.gaussian(LMAX, 60.0)
    with pytest.raises(MapError, match="expected 0 < start"):
        taper(30, 30)
    wide = Beam.gaussian(LMAX, 1000.0)
    with pytest.raises(MapError, match="deconvolution"):
        sky_alm(beamed(cmb, wide), wide, taper(30, 60))
    alm = sky_alm(beamed(cmb, beam), beam, taper(30, 60))
    one = Source("K", [alm], np.ones(12 * NSIDE**2), beam)
    two = Source("V", [alm, 1.1 * alm], np.ones(12 * NSIDE**2), beam)
    with pytest.raises(MapError, match="noise_uk_arcmin"):
        fit_coefficients(two, [one], [True], galactic_cut(NSIDE, 20.0), 8, np.ones(LMAX + 1))


def test_modes_that_the_window_kills_take_no_part(skies: tuple[np.ndarray, np.ndarray]) -> None:
    """Noise that follows deep rings, most of the sky kept: the claimed error and chi2 hold for ten skies.

    Coarse pixels outnumber the modes here. With all of them the fit listens to what the noise model lacks: reduced chi2 of 30 and
    half of the coefficient in a run at nside 512.
    """
    _, foreground = skies
    rng = np.random.default_rng(12)
    fine, coarse, window = Beam.gaussian(LMAX, 60.0), Beam.gaussian(LMAX, 120.0), taper(30, 60)
    ee = np.where(np.arange(LMAX + 1) >= 2, 0.02, 0.0)
    depth = 1 / scan_hits(NSIDE, 100.0)
    depth = depth / depth.mean()
    fits = []
    for _ in range(10):
        cmb = draw_alm({"ee": ee}, LMAX, rng)

        def source(name: str, teb: np.ndarray, beam: Beam, sigma: float) -> Source:
            sky = beamed(teb, beam).iqu
            noise = sigma * np.sqrt(depth)
            maps = [StokesMap(*(sky + noise * rng.standard_normal(sky.shape)), coord="G") for _ in range(4)]
            return Source(name, [sky_alm(m, beam, window) for m in maps], depth, beam)

        field = source("V", cmb + A * foreground, fine, 6.0)
        fits.append(
            fit_coefficients(
                field, [source("K", cmb + foreground, coarse, 3.0)], [True], galactic_cut(NSIDE, 8.0), 4, ee
            )
        )
    pulls = [(f.a[0] - A) / np.sqrt(f.covariance_a[0, 0]) for f in fits]
    assert abs(np.mean(pulls)) < 1.0  # three sigma of the mean of ten
    assert np.std(pulls) < 1.7
    assert np.mean([f.reduced_chi2 for f in fits]) == pytest.approx(1, abs=0.15)
