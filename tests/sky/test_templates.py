from __future__ import annotations

import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.cuts import galactic_cut
from cmbfit.sky.harmonic import alm2stokes, alm_size, ell_of
from cmbfit.sky.templates import Template, clean, fit_templates

NSIDE, LMAX = 8, 16
NPIX = 12 * NSIDE**2
A_SYNC, A_DUST = 0.25, 3.0  # the map is CMB + 0.25 sync + 3 dust; the sync template is CMB + sync
MASK = galactic_cut(NSIDE, 10.0)
NOISE_M = np.full((2, NPIX), 0.3**2)


def random_field(rng: np.random.Generator, rms: float, tilt: float, nside: int = NSIDE) -> np.ndarray:
    """I, Q, U with power l^tilt and the given rms on average."""
    size = alm_size(LMAX)
    white = rng.standard_normal((3, size)) + 1j * rng.standard_normal((3, size))
    return coloured(white, rms, tilt, nside)


def coloured(white: np.ndarray, rms: float, tilt: float, nside: int) -> np.ndarray:
    """Return the field of coefficients that were white."""
    alm = white * np.maximum(ell_of(LMAX), 1) ** (tilt / 2)
    alm[:, : LMAX + 1] = alm[:, : LMAX + 1].real * np.sqrt(2)
    alm[1:, [0, 1, LMAX + 1]] = 0
    alm[0, 0] = 0
    ell = np.arange(2, LMAX + 1)
    mean_square = np.sum((2 * ell + 1) * 2 * ell**tilt) / (4 * np.pi)  # of I (but for l = 1), and of Q and U
    return rms * alm2stokes(alm, nside) / np.sqrt(mean_square)


FOREGROUNDS = {
    nside: (
        random_field(np.random.default_rng(100), 2.0, -2.5, nside),
        random_field(np.random.default_rng(101), 0.3, -2.5, nside),
    )
    for nside in (4, NSIDE)
}
DUST = FOREGROUNDS[NSIDE][1]


def make(seed: int, cmb_rms: float = 0.3, nside: int = NSIDE) -> tuple[StokesMap, list[Template], np.ndarray]:
    rng = np.random.default_rng(10_000 + seed)  # never a seed of the foregrounds
    sync, dust = FOREGROUNDS[nside]
    cmb = random_field(rng, cmb_rms, -1.0, nside)
    m = cmb + A_SYNC * sync + A_DUST * dust + 0.3 * rng.standard_normal(sync.shape)
    k = cmb + sync + 0.4 * rng.standard_normal(sync.shape)
    templates = [
        Template(StokesMap(*k, coord="G", name="K"), True, 0.4**2),
        Template(StokesMap(*dust, coord="G", name="dust"), False),
    ]
    return StokesMap(*m, coord="G", name="Q band"), templates, cmb


# what the fit must find: m' = cmb when b_sync (t - m) = ... ; see the module's formula
TRUE_A = np.array([A_SYNC, A_DUST])


@pytest.fixture(scope="module")
def many():
    fits, cleans = [], []
    for seed in range(300):
        m, templates, cmb = make(seed)
        fit = fit_templates(m, templates, MASK, NOISE_M, cmb_covariance=0.3**2)
        fits.append(fit)
        cleans.append(clean(m, templates, fit, NOISE_M).stokes.iqu[1:] - cmb[1:])
    return fits, np.array(cleans)


def test_coefficients_are_unbiased(many) -> None:
    a = np.array([f.a for f in many[0]])
    error = a.std(axis=0) / np.sqrt(len(a))
    # 3 sigma of the mean of 300 fits: 0.0006 of a_sync = 0.25, 0.003 of a_dust = 3
    np.testing.assert_array_less(np.abs(a.mean(axis=0) - TRUE_A), 3 * error)
    assert (error < [0.001, 0.01]).all()


def test_plain_least_squares_would_be_biased() -> None:
    """The alarm of the test above: regressing on the template itself pulls a towards the CMB's weight 1."""
    found = []
    for seed in range(100):
        m, templates, _ = make(seed)
        keep = MASK.support
        x = np.stack([t.stokes.iqu[1:, keep].ravel() for t in templates])
        found.append(np.linalg.lstsq(x.T, m.iqu[1:, keep].ravel())[0])
    found = np.array(found)
    assert abs(found[:, 0].mean() - A_SYNC) > 5 * found[:, 0].std() / 10


def test_errors_match_the_scatter(many) -> None:
    fits, _ = many
    a = np.array([f.a for f in fits])
    claimed = np.sqrt(np.mean([np.diag(f.covariance_a) for f in fits], axis=0))
    # CMB correlated between pixels is treated as white here: errors may be low, by no more than 2
    ratio = a.std(axis=0) / claimed
    assert (ratio > 0.85).all()
    assert (ratio < 2).all()
    assert np.mean([f.reduced_chi2 for f in fits]) == pytest.approx(1, abs=0.05)


@pytest.mark.slow
def test_full_covariance_gets_the_errors_right() -> None:
    """With the pixel covariance of the CMB the claimed error is the scatter: 8% is 2 sigma of 300 fits."""
    mask, units = galactic_cut(4, 10.0), np.eye(2 * alm_size(LMAX)).reshape(-1, 2, alm_size(LMAX))
    whites = [unit * part for unit in np.pad(units, ((0, 0), (1, 0), (0, 0))) for part in (1 + 0j, 1j)]
    basis = np.array([coloured(x, 1.0, -1.0, 4)[1:, mask.support].ravel() for x in whites])
    covariance = basis.T @ basis  # a sum over coefficients of unit variance
    fits = []
    for seed in range(300):
        m, templates, _ = make(seed, 1.0, 4)
        fits.append(fit_templates(m, templates, mask, 0.3**2, cmb_covariance=covariance))
    a = np.array([f.a for f in fits])
    claimed = np.sqrt(np.mean([np.diag(f.covariance_a) for f in fits], axis=0))
    np.testing.assert_allclose(a.std(axis=0), claimed, rtol=0.12)
    np.testing.assert_array_less(np.abs(a.mean(axis=0) - TRUE_A), 3 * a.std(axis=0) / np.sqrt(300))


def test_noisy_template() -> None:
    """Template with signal-to-noise 1: attenuated by half without the correction; products of noise count."""
    rng = np.random.default_rng(5)
    truth, whole = rng.standard_normal((3, 192)), Mask(np.ones(192), coord="G")
    fits = []
    for _ in range(600):
        m = StokesMap(*(0.5 * truth + 0.3 * rng.standard_normal((3, 192))), coord="G")
        t = Template(StokesMap(*(truth + rng.standard_normal((3, 192))), coord="G"), False, 1.0)
        fits.append(fit_templates(m, [t], whole, 0.09))
    a = np.array([f.a[0] for f in fits])
    claimed = np.sqrt(np.median([f.covariance_a[0, 0] for f in fits]))
    # scatter of 600: 3%; the noise products are 17% of the error; a ratio is skewed by a few / 384
    assert a.std() == pytest.approx(claimed, rel=0.09)
    assert a.mean() == pytest.approx(0.5, abs=0.01)
    # the road through a full matrix is the same one
    matrix = fit_templates(m, [t], whole, 0.09, cmb_covariance=np.zeros((384, 384)))
    np.testing.assert_allclose(matrix.a, fits[-1].a, rtol=1e-10)
    np.testing.assert_allclose(matrix.covariance_a, fits[-1].covariance_a, rtol=1e-10)


def test_cleaned_map_is_cmb_and_the_stated_noise(many) -> None:
    fits, residual = many
    m, templates, _ = make(0)
    done = clean(m, templates, fits[0], NOISE_M)
    keep = MASK.support
    a = fits[0].a[0]
    np.testing.assert_allclose(done.variance, (0.3**2 + a**2 * 0.4**2) / (1 - a) ** 2, rtol=1e-12)
    total = done.variance + (done.factor**2).sum(axis=0)
    seen = residual.var(axis=0)
    # 768 pixels x 2 x 300 maps: the mean ratio is good to 0.3%
    assert np.mean(seen[:, keep] / total[:, keep]) == pytest.approx(1, abs=0.02)
    assert abs(residual.mean()) < 0.01
    np.testing.assert_array_equal(done.stokes.i, m.i)
    assert done.stokes.history[-1]["coefficients"] == fits[0].a.tolist()


def test_low_rank_factor_is_the_covariance_of_the_correction() -> None:
    m, templates, _ = make(1)
    fit = fit_templates(m, templates, MASK, NOISE_M)
    done = clean(m, templates, fit, NOISE_M)
    x = np.stack([(templates[0].stokes.iqu - m.iqu)[1:], DUST[1:]]).reshape(2, -1)
    np.testing.assert_allclose(
        done.factor.reshape(2, -1).T @ done.factor.reshape(2, -1), x.T @ fit.covariance_b @ x, atol=1e-12
    )
    # the two forms of the cleaned map are one
    by_a = (m.iqu - fit.a[0] * templates[0].stokes.iqu - fit.a[1] * DUST) / (1 - fit.a[0])
    np.testing.assert_allclose(done.stokes.iqu[1:], by_a[1:], rtol=1e-10, atol=1e-12)


def test_intensity_ignores_zero_levels() -> None:
    m, templates, _ = make(2)
    shifted = StokesMap(m.i + 500.0, m.q, m.u, coord="G")
    one = fit_templates(m, templates, MASK, 0.3**2, fields="I", cmb_covariance=0.3**2)
    two = fit_templates(shifted, templates, MASK, 0.3**2, fields="I", cmb_covariance=0.3**2)
    assert two.a[1] == pytest.approx(A_DUST, abs=0.5)
    # a constant in m is one in t - m as well: absorbed by the fitted constant, up to its b-dependence
    np.testing.assert_allclose(one.a, two.a, atol=1e-6)


def test_refusals() -> None:
    m, templates, _ = make(0)
    with pytest.raises(MapError, match="no template"):
        fit_templates(m, [], MASK, 1.0)
    with pytest.raises(MapError, match="fields 'Q'"):
        fit_templates(m, templates, MASK, 1.0, fields="Q")
    with pytest.raises(MapError, match="above zero"):
        fit_templates(m, templates, MASK, 0.0)
    with pytest.raises(MapError, match="variance of shape"):
        fit_templates(m, templates, MASK, np.ones(5))
    with pytest.raises(MapError, match="degenerate"):
        fit_templates(m, [templates[1], templates[1]], MASK, 1.0)
    with pytest.raises(MapError, match="share nside"):
        fit_templates(m, [Template(StokesMap(*np.zeros((3, 48)), coord="G"), False)], MASK, 1.0)
    with pytest.raises(MapError, match="2 coefficients for 1"):
        clean(m, templates[:1], fit_templates(m, templates, MASK, NOISE_M), NOISE_M)
    bad = m.iqu
    bad[1, 0] = np.nan
    with pytest.raises(MapError, match="1 pixels with NaN"):
        fit_templates(StokesMap(*bad, coord="G"), templates, Mask(np.ones(NPIX), coord="G"), 1.0)
