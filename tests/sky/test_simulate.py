from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import healpy
import numpy as np
import pytest
from astropy import units
from astropy.modeling.physical_models import BlackBody

from cmbfit.errors import MapError
from cmbfit.sky.beams import Beam
from cmbfit.sky.foregrounds import (
    Foreground,
    dust_law,
    dust_sky,
    envelope,
    galactic_field,
    synchrotron_law,
    synchrotron_sky,
    white_alm,
)
from cmbfit.sky.harmonic import alm2cl, alm2stokes, alm_size, stokes2alm
from cmbfit.sky.simulate import Band, Noise, Simulation, draw_alm, stream
from cmbfit.sky.units import mjy_to_k_cmb, rj_to_cmb

NSIDE, LMAX = 16, 32
NPIX = 12 * NSIDE**2
ELL = np.arange(LMAX + 1)


def toy_dl(lmax: int = LMAX) -> dict[str, np.ndarray]:
    ell = np.arange(lmax + 1.0)
    tt, ee = 1000 + 10 * ell, 1.0 + 0.3 * ell
    return {"tt": tt, "ee": ee, "bb": 0.1 * ee, "te": 0.4 * np.sqrt(tt * ee) * np.cos(ell / 7)}


def simulation() -> tuple[Simulation, Band]:
    foregrounds = (dust_sky(stream(5, "foregrounds", label="dust"), NSIDE, LMAX),)
    hits = np.random.default_rng(0).uniform(1, 9, NPIX)
    band = Band("W", 94.0, Beam.gaussian(LMAX, 300.0), Noise(5.0, 7.0, hits, knee_t=10, knee_p=5, alpha=1.5))
    return Simulation(NSIDE, LMAX, toy_dl(), foregrounds, seed=5), band


def one_sky(job: tuple[int, int]) -> bytes:
    sims, band = simulation()
    return sims.sky(band, index=job[0], split=job[1], n_splits=2).iqu.tobytes()


def test_spectra_come_back() -> None:
    """Mean spectra of 400 draws against the input: within 4.5 sigma at each l, 6 spectra x 31 multipoles."""
    dl, n = toy_dl(), 400
    rng = np.random.default_rng(1)
    factor = 2 * np.pi / np.maximum(ELL * (ELL + 1), 1)
    cl = {k: factor * v for k, v in dl.items()}
    draws = [draw_alm(dl, LMAX, rng) for _ in range(n)]
    for name, (i, j) in {
        "tt": (0, 0),
        "ee": (1, 1),
        "bb": (2, 2),
        "te": (0, 1),
        "tb": (0, 2),
        "eb": (1, 2),
    }.items():
        mean = np.mean([healpy.alm2cl(a[i], a[j]) for a in draws], axis=0)
        wanted = cl.get(name, np.zeros(LMAX + 1))
        auto = cl[("tt", "ee", "bb")[i]], cl[("tt", "ee", "bb")[j]]
        sigma = np.sqrt((wanted**2 + auto[0] * auto[1]) / (2 * ELL + 1) / n)
        assert (np.abs(mean - wanted)[2:] < 4.5 * sigma[2:]).all(), name
        assert (mean[:2] == 0).all()


def test_white_alm_fill_a_map() -> None:
    iqu = alm2stokes(white_alm(np.random.default_rng(0), 200), 64)
    # sum (2l+1) / 4 pi = 201^2 / 4 pi; 40401 modes: 0.7% scatter
    np.testing.assert_allclose(iqu.var(axis=1), 201**2 / (4 * np.pi), rtol=0.03)


@pytest.mark.parametrize("pool", [1, 2])
def test_same_sky_in_any_order_and_process(pool: int) -> None:
    jobs = [(0, 0), (0, 1), (3, 0)]
    expected = [one_sky(job) for job in jobs]
    assert len(set(expected)) == 3
    if pool == 1:
        assert [one_sky(job) for job in reversed(jobs)] == expected[::-1]
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(pool, mp_context=context) as executor:
        assert list(executor.map(one_sky, jobs[::-1])) == expected[::-1]


def test_parts_do_not_move_each_other() -> None:
    sims, band = simulation()
    whole = sims.sky(band, 2).iqu
    parts = sum(sims.sky(band, 2, parts=(p,)).iqu for p in ("cmb", "foregrounds", "noise"))
    np.testing.assert_allclose(whole, parts, atol=1e-10)
    other = Band("V", 61.0, band.beam, band.noise)
    both = [sims.sky(b, 2, parts=("noise",)).i for b in (band, other)]
    assert abs(np.corrcoef(*both)[0, 1]) < 0.1
    np.testing.assert_array_equal(sims.cmb_alm(2), sims.cmb_alm(2))


def test_splits_average_to_the_band() -> None:
    sims, band = simulation()
    maps = [sims.sky(band, k, s, 4) for k in range(30) for s in range(4)]
    mean = np.array([m.iqu for m in maps]).reshape(30, 4, 3, NPIX).mean(axis=1)
    white = Noise(5.0, 7.0, band.noise.hits)
    half = np.array([m.iqu for m in maps]).reshape(30, 4, 3, NPIX)
    difference = (half[:, 0] - half[:, 1]) / np.sqrt(8)  # signal-free; 4 splits: each 4 x the variance
    full = np.array([sims.sky(band, k, parts=("noise",)).iqu for k in range(30)])
    np.testing.assert_allclose(difference.var(axis=(0, 2)), full.var(axis=(0, 2)), rtol=0.06)
    noise = mean - np.array([sims.sky(band, k, parts=("cmb", "foregrounds")).iqu for k in range(30)])
    np.testing.assert_allclose(noise.var(axis=(0, 2)), full.var(axis=(0, 2)), rtol=0.06)
    assert (full.var(axis=0) > 0.1 * white.variance(NSIDE)).all()


def test_white_noise_follows_hits() -> None:
    hits = np.random.default_rng(2).uniform(1, 20, NPIX)
    noise = Noise(3.0, 4.0, hits)
    draws = np.array([noise.draw(NSIDE, np.random.default_rng(k)) for k in range(200)])
    ratio = draws.var(axis=0) / (np.array([[9.0], [16.0], [16.0]]) / hits)
    assert ratio.mean() == pytest.approx(1, abs=0.01)
    # chi2 with 200 degrees of freedom: scatter 0.1 a pixel
    assert ratio.std() == pytest.approx(0.1, abs=0.01)


def test_red_noise_spectrum() -> None:
    noise = Noise(2.0, 3.0, knee_t=20.0, knee_p=8.0, alpha=2.0)
    alms = [stokes2alm(noise.draw(NSIDE, np.random.default_rng(k)), 24) for k in range(200)]
    wanted = noise.spectrum(24, NSIDE)
    area = 4 * np.pi / NPIX
    assert wanted[0, 10] == pytest.approx(4 * area * (1 + 4))  # by hand: (20 / 10)^2
    for row, k in enumerate((0, 1, 1)):
        cl = np.mean([alm2cl(a[row], a[row]) for a in alms], axis=0)[2:]
        sigma = np.sqrt(2 / (2 * np.arange(2, 25) + 1) / 200)
        # pixel sums of white noise at l <= 1.5 nside: C_l right to 1%
        assert (np.abs(cl / wanted[k, 2:] - 1) < 4.5 * sigma + 0.02).all()


def test_beam_is_applied_to_the_signal_only() -> None:
    sims, band = simulation()
    free = sims.sky_alm(Band("free", 94.0, Beam.unit(LMAX), band.noise), 1)
    seen = sims.sky_alm(band, 1)
    for row in range(3):
        np.testing.assert_allclose(seen[row], healpy.almxfl(free[row], band.beam.teb[row]), rtol=1e-12)


def test_laws_against_astropy() -> None:
    for ghz in (23.0, 143.0, 545.0):
        body = [BlackBody(20.0 * units.K)(f * units.GHz).value for f in (ghz, 353.0)]
        brightness = (ghz / 353.0) ** 1.54 * body[0] / body[1]
        assert dust_law(ghz, 353.0, 1.54, 20.0) == pytest.approx(brightness * (353.0 / ghz) ** 2, rel=1e-9)
    assert synchrotron_law(46.0, 23.0, -3.0) == pytest.approx(1 / 8)
    # a modified black body in MJy/sr reaches K_CMB by the brightness road too
    dust = Foreground("dust", np.ones((3, alm_size(2)), dtype=complex), 353.0, 1.54)
    brightness = (217 / 353) ** 1.54 * (
        BlackBody(20 * units.K)(217 * units.GHz) / BlackBody(20 * units.K)(353 * units.GHz)
    )
    per_k = [mjy_to_k_cmb(f) for f in (217.0, 353.0)]
    wanted = rj_to_cmb(353.0) * brightness.value * per_k[0] / per_k[1]
    assert dust.factor(217.0) == pytest.approx(wanted, rel=1e-6)
    assert dust.factor(353.0) == pytest.approx(rj_to_cmb(353.0))


def test_galactic_field_has_its_shape() -> None:
    assert envelope(16).max() == pytest.approx(np.sqrt(1.01 / 0.01), rel=0.05)
    z = np.array(healpy.pix2vec(16, np.arange(NPIX)))[2]
    assert (np.diff(envelope(16)[np.argsort(np.abs(z))]) <= 1e-12).all()
    many = [
        alm2stokes(galactic_field(np.random.default_rng(k), 16, 32, mean_uk=50, rms_uk=10, rms_p_uk=4), 16)
        for k in range(60)
    ]
    pole = np.abs(z) > 0.9
    i, q, u = np.array(many)[:, :, pole].transpose(1, 0, 2) / envelope(16)[pole]
    assert i.mean() == pytest.approx(50, rel=0.05)
    assert i.std() == pytest.approx(10, rel=0.1)
    assert np.sqrt((q.var() + u.var()) / 2) == pytest.approx(4, rel=0.1)
    sync = synchrotron_sky(np.random.default_rng(0), 16, 32)
    assert sync.factor(94.0) / sync.factor(23.0) == pytest.approx(
        (94 / 23) ** -3.1 * rj_to_cmb(94) / rj_to_cmb(23)
    )


def test_refusals() -> None:
    rng, dl = np.random.default_rng(0), toy_dl()
    with pytest.raises(MapError, match="'et'"):
        draw_alm({"et": dl["te"]}, LMAX, rng)
    with pytest.raises(MapError, match="needs 34"):
        draw_alm(dl, LMAX + 1, rng)
    with pytest.raises(MapError, match="no covariance at l = 2"):
        draw_alm({**dl, "te": 2 * np.sqrt(dl["tt"] * dl["ee"])}, LMAX, rng)
    with pytest.raises(MapError, match="hits must be above zero"):
        Noise(1, 1, np.zeros(NPIX))
    with pytest.raises(MapError, match="hits of shape"):
        Noise(1, 1, np.ones(5)).variance(NSIDE)
    with pytest.raises(MapError, match="from 0"):
        Noise(-1, 1)
    with pytest.raises(MapError, match="'gas'"):
        Foreground("gas", np.zeros((3, 6), dtype=complex), 1.0, 1.0)
    with pytest.raises(MapError, match="random stream"):
        stream(1, "dust")
    with pytest.raises(MapError, match="amplitudes from 0"):
        galactic_field(rng, 8, 16, mean_uk=-1, rms_uk=1, rms_p_uk=1)
    sims, band = simulation()
    with pytest.raises(MapError, match="split 2 not below 2"):
        sims.sky(band, split=2, n_splits=2)
    with pytest.raises(MapError, match="'gas'"):
        sims.sky(band, parts=("gas",))
    with pytest.raises(MapError, match="dust has lmax 32, expected 20"):
        Simulation(NSIDE, 20, dl, sims.foregrounds)
