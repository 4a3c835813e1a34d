from __future__ import annotations

import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import StokesMap, apodise, read_product, write_product
from cmbfit.sky.beams import Beam
from cmbfit.sky.cuts import galactic_cut
from cmbfit.sky.foregrounds import dust_sky, synchrotron_sky, white_alm
from cmbfit.sky.harmonic import alm2cl, scale_alm, stokes2alm
from cmbfit.sky.ilc import combine, common_beam, find_weights, harmonic_ilc
from cmbfit.sky.simulate import Band, Noise, Simulation, stream
from tests.sky.test_simulate import toy_dl

NSIDE, LMAX = 32, 64
EDGES = (0, 8, 16, 24, 32, 48, LMAX + 1)
NEW = Beam.gaussian(LMAX, 180.0)
# WMAP- and Planck-like frequencies; the noise is low so that foregrounds matter
BANDS = [
    Band(str(ghz), ghz, Beam.gaussian(LMAX, fwhm), Noise(s, 0.1 * s))
    for ghz, fwhm, s in ((30.0, 240.0, 8.0), (70.0, 180.0, 8.0), (143.0, 120.0, 4.0), (353.0, 100.0, 20.0))
]


@pytest.fixture(scope="module")
def sims() -> Simulation:
    foregrounds = tuple(
        make(stream(7, "foregrounds", label=name), NSIDE, LMAX, scale=10)  # Galactic-plane strength
        for name, make in (("dust", dust_sky), ("synchrotron", synchrotron_sky))
    )
    return Simulation(NSIDE, LMAX, toy_dl(LMAX), foregrounds, seed=7)


def part(sims: Simulation, index: int, parts: tuple[str, ...]) -> np.ndarray:
    teb = [stokes2alm(sims.sky(b, index, parts=parts).iqu, LMAX) for b in BANDS]
    return common_beam(teb, [b.beam for b in BANDS], NEW, LMAX, 1e-2)


@pytest.fixture(scope="module")
def result(sims):
    maps = [sims.sky(b, 0) for b in BANDS]
    return harmonic_ilc(maps, [b.beam for b in BANDS], NEW, EDGES)


def test_weights_sum_to_one(result) -> None:
    np.testing.assert_allclose(result.weights.weights.sum(axis=2), 1, atol=1e-12)
    np.testing.assert_allclose(result.weights.per_ell().sum(axis=1), 1, atol=1e-12)


def test_the_cmb_passes_untouched(sims, result) -> None:
    cmb = combine(part(sims, 0, ("cmb",)), result.weights)
    wanted = np.stack([scale_alm(a, b) for a, b in zip(sims.cmb_alm(0), NEW.teb, strict=True)])
    # beams cancel to the quadrature error of the transform at l <= 2 nside
    largest = np.abs(wanted).max(axis=1, keepdims=True)
    np.testing.assert_allclose(cmb / largest, wanted / largest, atol=2e-3)


def test_foregrounds_are_gone(sims, result) -> None:
    """Measured here: what the weights leave of the foregrounds, against the best single band."""
    foregrounds = part(sims, 0, ("foregrounds",))
    left = combine(foregrounds, result.weights)
    for row in range(3):
        power = alm2cl(left[row], left[row])[2:]
        single = min(alm2cl(foregrounds[b, row], foregrounds[b, row])[2:].sum() for b in range(len(BANDS)))
        assert power.sum() < 0.05 * single


def test_cmb_spectrum_is_recovered(sims) -> None:
    """Output minus its noise and foreground parts is the CMB but for the chance-correlation loss."""
    ratio = []
    for index in range(8):
        cmb, rest = part(sims, index, ("cmb",)), part(sims, index, ("foregrounds", "noise"))
        w = find_weights(cmb + rest, np.ones((len(BANDS), 3, LMAX + 1), dtype=bool), EDGES, "abcd")
        out = combine(cmb + rest, w)
        extra = combine(rest, w)
        wanted = combine(cmb, w)
        cross = np.array([[alm2cl(out[r], wanted[r]), alm2cl(wanted[r], wanted[r])] for r in range(2)])
        assert all(alm2cl(extra[r], extra[r]).sum() < alm2cl(out[r], out[r]).sum() for r in range(2))
        ell = np.arange(LMAX + 1)
        high = ell >= 16
        ratio.append([(c[0] * (2 * ell + 1))[high].sum() / (c[1] * (2 * ell + 1))[high].sum() for c in cross])
    # T and E; the loss expected is 3 / N_modes < 1%
    np.testing.assert_allclose(np.mean(ratio, axis=0), 1, atol=0.02)


def test_bias_of_chance_correlations() -> None:
    """CMB plus noise-free contaminants, fewer than bands: what is lost is chance correlation alone."""
    lmax, n_bands = 9, 3
    edges, usable = (2, lmax + 1), np.ones((n_bands, 3, lmax + 1), dtype=bool)
    rng, ratios = np.random.default_rng(0), []
    for _ in range(400):
        cmb, dirt = white_alm(rng, lmax), [white_alm(rng, lmax) for _ in range(n_bands - 1)]
        alm = np.array([cmb + a * dirt[0] + b * dirt[1] for a, b in ((1, 2), (3, 1), (-1, 4))])
        alm[:, :, [0, 1, lmax + 1]] = 0
        w = find_weights(alm, usable, edges, "abc")
        out = combine(alm, w)
        clean = cmb.copy()
        clean[:, [0, 1, lmax + 1]] = 0
        modes = 2 * np.arange(lmax + 1) + 1
        ratios.append(
            [modes @ alm2cl(o, o) / (modes @ alm2cl(c, c)) for o, c in zip(out, clean, strict=True)]
        )
    lost = 1 - np.mean(ratios)
    assert w.bias[0, 0] == pytest.approx(2 / 96)
    # beta distribution of the lost fraction: rms 0.0208, mean of 1200 draws good to 3%
    assert lost == pytest.approx(2 / 96, rel=0.12)


def test_two_bands_in_closed_form() -> None:
    """One contaminant s_i d and no noise: w = (s_2, -s_1) / (s_2 - s_1)."""
    rng = np.random.default_rng(3)
    cmb, dirt = white_alm(rng, 40), 10 * white_alm(rng, 40)
    alm = np.array([cmb + 2 * dirt, cmb + 0.5 * dirt])
    alm += 1e-9 * np.array([white_alm(rng, 40) for _ in range(2)])
    w = find_weights(alm, np.ones((2, 3, 41), dtype=bool), (2, 41), "ab")
    # chance correlation of 1681 modes: w moves by (cmb / dirt) / sqrt(N) / 1.5 ~ 0.002
    np.testing.assert_allclose(w.weights[:, 0], [[0.5 / -1.5, 2 / 1.5]] * 3, atol=0.01)


def test_blurred_band_is_left_out() -> None:
    rng = np.random.default_rng(4)
    maps = [StokesMap(*rng.standard_normal((3, 12 * 16**2)), coord="G", name=n) for n in "ab"]
    beams = [Beam.gaussian(32, 1200.0), Beam.gaussian(32, 100.0)]
    out = harmonic_ilc(maps, beams, beams[1], (2, 8, 33), floor=0.1)
    w = out.weights.weights
    assert (w[:, 0, 0] != 0).all()  # l < 8: b_l^a > 0.1
    np.testing.assert_array_equal(w[:, 1], [[0, 1]] * 3)


def test_mask_teaches_the_weights(sims, tmp_path) -> None:
    maps = [sims.sky(b, 0) for b in BANDS]
    mask = apodise(galactic_cut(NSIDE, 20.0), 10.0)
    out = harmonic_ilc(maps, [b.beam for b in BANDS], NEW, EDGES, mask=mask)
    whole = harmonic_ilc(maps, [b.beam for b in BANDS], NEW, EDGES)
    np.testing.assert_allclose(out.weights.weights.sum(axis=2), 1, atol=1e-12)
    assert (out.weights.bias > whole.weights.bias).all()
    record = out.stokes.history[0]
    assert record["mask"] == mask.name
    assert record["bands"] == [b.name for b in BANDS]
    write_product(tmp_path / "ilc.fits", out.stokes)  # the whole lineage is JSON and survives the file
    assert read_product(tmp_path / "ilc.fits").history[0]["histories"][1][0]["band"] == BANDS[1].name


def test_refusals() -> None:
    maps = [StokesMap(*np.zeros((3, 12 * 8**2)), coord="G", name=n) for n in "ab"]
    beams = [Beam.unit(16)] * 2
    with pytest.raises(MapError, match="1 beams for 2"):
        harmonic_ilc(maps, beams[:1], beams[0], (2, 17))
    with pytest.raises(MapError, match="is zero"):
        harmonic_ilc(maps, beams, beams[0], (2, 17))
    with pytest.raises(MapError, match="no map"):
        harmonic_ilc([], [], beams[0], (2, 17))
    alm = np.array([white_alm(np.random.default_rng(k), 16) for k in range(2)])
    usable = np.ones((2, 3, 17), dtype=bool)
    with pytest.raises(MapError, match="edges"):
        find_weights(alm, usable, (2, 9), "ab")
    with pytest.raises(MapError, match="wider bins"):
        find_weights(alm, usable, (2, 3, 17), "ab")
    with pytest.raises(MapError, match="no band"):
        find_weights(alm, ~usable, (2, 17), "ab")
