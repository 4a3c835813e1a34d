"""The noise of the WMAP7 low-l likelihood against WMAP's published noise, injected noise and dense algebra."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.special import eval_legendre

from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.pixel.averages import averaging_window
from cmbfit.likelihood.pixel.wmap7 import LowlSettings, LowlSky, lowl_sky, read_wmap7
from cmbfit.sky import Mask, StokesMap
from cmbfit.theory.spectra import Spectra

FINE, COARSE = 8, 4
SMALL = LowlSettings(nside=COARSE, lmin=2, lmax=6, top=16, templates=())
SIGMA = 12.0  # uK per fine pixel, of V and of W


def test_noise_of_the_real_maps_is_wmaps_or_a_little_more() -> None:
    """Jarosik et al. 2011 (arXiv:1001.4744): rms of one observation sigma_0 = 3.137 mK in V.

    A sample of V takes 76.8 ms (Bennett et al. 2003), sees two pixels and is taken by two differencing assemblies:
    9.4e5 observations of a pixel of nside 32 in seven years, 3.24 uK; averages over 4 pixels have half of it.
    """
    observations = 7 * 365.25 * 86400 / 0.0768 * 2 * 2 / (12 * 32**2)
    published = 3137.0 / np.sqrt(observations) / 2
    sky = lowl_sky(*read_wmap7())
    whole = (sky.averages.weights > 0).all(axis=1)
    used = np.sqrt(sky.noise_variance[whole])
    # above it: W is noisier by a fifth, hits are uneven, beams differ, point sources. Half or twice the variance is not in
    assert used == pytest.approx(np.full(whole.sum(), used[0]), rel=1e-12)
    assert 1.0 < used[0] / published < 1.4


@pytest.fixture(scope="module")
def noise_only() -> LowlSky:
    rng = np.random.default_rng(7)
    none = np.zeros(12 * FINE**2)
    v, w = (StokesMap(SIGMA * rng.standard_normal(len(none)), none, none, coord="G") for _ in "VW")
    weights = (np.abs(healpy.pix2vec(FINE, np.arange(len(none)))[2]) > 0.2).astype(float)
    return lowl_sky(v, w, Mask(weights, coord="G"), SMALL)


def test_injected_noise_is_found(noise_only: LowlSky) -> None:
    """Averages over n pixels have the variance sigma^2 / n."""
    n = (noise_only.averages.weights > 0).sum(axis=1)
    # 450 degrees of freedom of V - W: 7% per sigma
    assert noise_only.noise_variance == pytest.approx(SIGMA**2 / n, rel=0.2)


def test_the_likelihood_holds_signal_and_noise_as_dense_algebra_does(noise_only: LowlSky) -> None:
    """-2 ln L = chi2 + ln|C| + n ln 2 pi of the data projected on what monopole and dipole leave."""
    ell = np.arange(SMALL.top + 1)
    fiducial = np.where(ell > 1, 900.0, 0.0)
    info = DataSetInfo("toy", "toy", {"toy": {"tt": (2, SMALL.lmax)}}, 0, "none")
    like = noise_only.likelihood(info, Spectra({"tt": torch.from_numpy(fiducial)[None]}))

    # the window of averaging is held against HEALPix's file in test_averages
    cl = np.zeros(len(ell))
    cl[2:] = fiducial[2:] * 2 * np.pi / (ell[2:] * (ell[2:] + 1))
    cl *= (
        np.exp(-ell * (ell + 1) * (np.radians(21 / 60) ** 2 / (8 * np.log(2))))
        * averaging_window(FINE, 16) ** 2
    )
    positions = np.stack(healpy.pix2vec(FINE, np.arange(12 * FINE**2)), 1)
    cosine = np.clip(positions @ positions.T, -1, 1)
    per_l = [(2 * n + 1) / (4 * np.pi) * cl[n] * eval_legendre(n, cosine) for n in ell]
    average = np.zeros((len(noise_only.data), 12 * FINE**2))
    np.put_along_axis(average, noise_only.averages.children, noise_only.averages.weights, axis=1)
    low, high = (
        average @ sum(part) @ average.T for part in (per_l[: SMALL.lmax + 1], per_l[SMALL.lmax + 1 :])
    )
    left = scipy.linalg.null_space((average @ np.column_stack([np.ones(len(positions)), positions])).T)
    for factor in (0.0, 0.3, 1.0):
        covariance = left.T @ (factor * low + high + np.diag(noise_only.noise_variance)) @ left
        data = left.T @ noise_only.data
        want = data @ np.linalg.solve(covariance, data) + np.linalg.slogdet(2 * np.pi * covariance)[1]
        got = like.log_prob(Spectra({"tt": torch.from_numpy(factor * fiducial[: SMALL.lmax + 1])[None]}), {})
        # the angular correlation is interpolated to 2e-5 of itself at most; measured 5e-4
        assert -2 * got.item() == pytest.approx(want, abs=0.005)
    total = noise_only.covariance(Spectra({"tt": torch.from_numpy(fiducial)[None]}))
    assert total == pytest.approx(low + high + np.diag(noise_only.noise_variance), abs=0.005)
