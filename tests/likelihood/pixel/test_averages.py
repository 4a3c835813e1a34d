"""Averaged temperature maps: window against HEALPix's file, covariance against sums, simulated skies end to end."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
from scipy.special import eval_legendre

from cmbfit import data
from cmbfit.errors import MapError
from cmbfit.likelihood.pixel.averages import Averages, averaging_window, scaled_cl
from cmbfit.sky import Mask, read_pixel_window
from tests.likelihood.pixel.helpers import all_spectra


def ragged_mask(rng: np.random.Generator, nside: int) -> Mask:
    """A Galactic cut with point-source holes."""
    _, _, z = healpy.pix2vec(nside, np.arange(12 * nside**2))
    return Mask(((np.abs(z) > 0.3) & (rng.random(z.size) < 0.9)).astype(float), coord="G", name="ragged")


def test_window_against_healpix_file() -> None:
    temperature, _ = read_pixel_window(data.fetch("pixel_windows/pixel_window_n0032.fits"), 128)
    got = averaging_window(32, 128)
    # 16 points stand for a pixel and their own window for the rest: measured 1.2e-3 at l <= 64, 7e-3 at 128
    np.testing.assert_allclose(got[:65], temperature[:65], rtol=2e-3)
    np.testing.assert_allclose(got, temperature, rtol=0.01)


def test_covariance_and_modes_against_direct_sums(rng: np.random.Generator) -> None:
    mask = ragged_mask(rng, 8)
    averages = Averages.under(mask, 4)
    lmax = 20
    window = averaging_window(8, lmax)
    dl = {"tt": all_spectra(lmax)["tt"]}
    cl = scaled_cl(dl, 2, lmax, window)
    vectors = np.array(healpy.pix2vec(8, np.arange(768))).T
    cosine = np.clip(vectors @ vectors.T, -1, 1)
    fine = sum(
        (2 * ell + 1) / (4 * np.pi) * cl[ell] * eval_legendre(ell, cosine) for ell in range(2, lmax + 1)
    )
    d = np.zeros((len(averages), 768))
    np.put_along_axis(d, averages.children, averages.weights, axis=1)
    want = d @ fine @ d.T
    got = averages.covariance(cl)
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5 * want.max())  # linear interpolation
    modes = averages.modes(2, lmax, window)[:, 0]
    ell = np.repeat(np.arange(2, lmax + 1), 2 * np.arange(2, lmax + 1) + 1)
    np.testing.assert_allclose(
        (modes * (scaled_cl(dl, 2, lmax, np.ones(lmax + 1))[ell])) @ modes.T,
        want,
        rtol=0,
        atol=1e-8 * want.max(),
    )


def test_averages_use_unmasked_children_only(rng: np.random.Generator) -> None:
    mask = ragged_mask(rng, 8)
    averages = Averages.under(mask, 4, min_fraction=0.5)
    values = np.where(mask.support, np.arange(768.0), np.nan)
    got = averages.of(values)
    nested = healpy.reorder(values, r2n=True).reshape(192, 4)
    count = np.isfinite(nested).sum(1)
    mean = np.array([row[np.isfinite(row)].mean() if np.isfinite(row).any() else np.nan for row in nested])
    want = healpy.reorder(np.where(count >= 2, mean, np.nan), n2r=True)
    np.testing.assert_allclose(got, want[np.isfinite(want)])
    assert (averages.pixels == np.flatnonzero(np.isfinite(want))).all()
    with pytest.raises(MapError, match="expected a coarser grid"):
        Averages.under(mask, 8)
    with pytest.raises(MapError, match="no pixel of nside 4 is unmasked to 2"):
        Averages.under(mask, 4, min_fraction=2)


def test_simulated_skies_through_pixel_averaging(rng: np.random.Generator) -> None:
    """Skies of healpy at nside 64, averaged to 16 as the WMAP maps were, have the covariance that is claimed."""
    top = 150
    ell = np.arange(top + 1.0)
    dl = {"tt": np.where(ell < 2, 0, 1000.0 * np.exp(-((ell / 90) ** 2)))}
    mask = ragged_mask(rng, 16)
    averages = Averages.under(mask, 8)
    window = averaging_window(16, top)
    total = averages.covariance(scaled_cl(dl, 2, top, window)) + 0.1 * np.eye(len(averages))
    low = np.linalg.cholesky(total)
    np.random.seed(7)  # noqa: NPY002 (healpy draws from numpy's global state)
    cl = scaled_cl(dl, 2, top, np.ones(top + 1))
    n = 60
    chi2 = []
    for _ in range(n):
        sky = healpy.synfast(cl, 64, lmax=top, pixwin=False)
        sky = averages.of(healpy.ud_grade(sky, 16)) + np.sqrt(0.1) * rng.standard_normal(len(averages))
        chi2.append(np.sum(np.linalg.solve(low, sky) ** 2))
    # the isotropised window is good to a per cent of power; the mean chi2 of n skies scatters by sqrt(2 N / n)
    dof = len(averages)
    assert abs(np.mean(chi2) - dof) < 5 * np.sqrt(2 * dof / n) + 0.01 * dof
    assert np.std(chi2) == pytest.approx(np.sqrt(2 * dof), rel=0.4)
