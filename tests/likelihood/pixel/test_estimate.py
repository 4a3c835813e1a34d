"""Quadratic estimates and slices against healpy, the likelihood itself, and simulated skies."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
import torch
from scipy import stats

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.pixel import PixelLikelihood, dense_noise, quadratic_estimate, slice_log_prob
from cmbfit.likelihood.pixel.bandpowers import LowlBandpowers
from cmbfit.likelihood.pixel.build import pixel_set, signal_covariance
from cmbfit.likelihood.pixel.harmonics import mode_ell, mode_matrix, monopole_dipole
from cmbfit.likelihood.pixel.summary import summarise
from cmbfit.sky import Mask
from cmbfit.theory.spectra import Spectra
from tests.likelihood.pixel.helpers import NSIDE, all_spectra, batch, cap_mask, info

LMAX = 8
PAIRS = ("tt", "te", "ee", "bb", "tb", "eb")


class Skies:
    """Simulated T, Q, U skies under masks, with the likelihood of each."""

    def __init__(self, rng: np.random.Generator, lmax: int = LMAX) -> None:
        self.rng = rng
        self.pixels = pixel_set(cap_mask(rng, 0.9), cap_mask(rng, 0.9))
        self.dl = all_spectra(lmax)
        self.modes, self.ell = mode_matrix(self.pixels, 2, lmax), mode_ell(2, lmax)
        noise = np.diag(rng.uniform(0.5, 2.0, len(self.pixels)) * 4.0)
        self.noise = dense_noise(noise)
        self.templates = monopole_dipole(self.pixels)
        self.root = np.linalg.cholesky(signal_covariance(self.pixels, self.dl, 2, lmax) + noise)

    def next(self) -> PixelLikelihood:
        sky = self.root @ self.rng.standard_normal(len(self.pixels))
        sky += self.templates @ (1e3 * self.rng.standard_normal(4))
        summary = summarise(sky, self.modes, self.ell, "teb", self.noise, self.templates)
        return PixelLikelihood(info(pairs=PAIRS), summary, dict.fromkeys(PAIRS, (2, int(self.ell[-1]))))


def test_full_sky_estimate_is_anafast() -> None:
    """Without mask, and with noise far below the signal, C_l is the mean of |a_lm|^2, as healpy computes it."""
    lmax = 8
    np.random.seed(5)  # noqa: NPY002 (healpy draws from numpy's global state)
    dl = {"tt": all_spectra(lmax)["tt"]}
    cl = np.zeros(lmax + 1)
    ell = np.arange(2, lmax + 1)
    cl[2:] = dl["tt"][2:] * 2 * np.pi / (ell * (ell + 1))
    alm = healpy.synalm(cl, lmax=lmax)
    sky = healpy.alm2map(alm, NSIDE, lmax=lmax)
    pixels = pixel_set(Mask(np.ones(192), coord="G"), None)
    noise = dense_noise(1e-4 * np.eye(192))
    summary = summarise(sky, mode_matrix(pixels, 2, lmax), mode_ell(2, lmax), "t", noise)
    like = PixelLikelihood(info(), summary, {"tt": (2, lmax)})
    got = quadratic_estimate(like, batch(dl))
    want = healpy.alm2cl(alm, lmax=lmax)[2:] * ell * (ell + 1) / (2 * np.pi)
    # noise of 0.01 uK in 192 pixels has C_l = 6.5e-6 uK^2, 1e-5 of the signal's D_l and taken off on average
    np.testing.assert_allclose(got.dl, want, rtol=1e-4)
    sigma = np.sqrt(np.diag(got.covariance))
    np.testing.assert_allclose(sigma, dl["tt"][2:] * np.sqrt(2 / (2 * ell + 1)), rtol=1e-4)


def test_estimate_does_not_depend_on_order_of_fields_or_units(rng: np.random.Generator) -> None:
    """Estimates are linear: a fiducial equal to the estimate's own best Newton step is a fixed point of A = 1."""
    like = Skies(rng).next()
    got = quadratic_estimate(like, batch(all_spectra(LMAX)))
    # d ln L / d D_l at the fiducial is Fisher (D_hat - D): compare with autograd, an independent path
    model = batch(all_spectra(LMAX))
    for x in model.dl.values():
        x.requires_grad_(True)
    like.log_prob(model, {}).sum().backward()
    fiducial = np.array([model.dl[p][0, ell].item() for p, ell in zip(got.pair, got.ell, strict=True)])
    slope = np.array([model.dl[p].grad[0, ell].item() for p, ell in zip(got.pair, got.ell, strict=True)])
    want = np.linalg.solve(got.covariance, got.dl - fiducial)
    # both are the score; the floor under the spectra, 1e-10 of the noise, and rounding remain
    np.testing.assert_allclose(slope, want, rtol=1e-5, atol=1e-7)


def test_slices_are_the_likelihood(rng: np.random.Generator) -> None:
    like = Skies(rng).next()
    dl = all_spectra(LMAX)
    for pair, ell in (("tt", 2), ("ee", 5), ("bb", 8)):
        grid = np.array([0.8, 1.0, 1.7, 4.0]) * dl[pair][ell]
        models = {k: torch.from_numpy(np.repeat(v[None], 4, axis=0)) for k, v in dl.items()}
        models[pair][:, ell] = torch.from_numpy(grid)
        exact = like.log_prob(Spectra(models), {}).numpy()
        got = slice_log_prob(like, batch(dl), pair, ell, grid)
        np.testing.assert_allclose(got, exact - exact[1], rtol=0, atol=1e-6)
    assert np.isneginf(slice_log_prob(like, batch(dl), "tt", 2, np.array([-1e9])))[0]
    with pytest.raises(LikelihoodError, match="auto spectrum"):
        slice_log_prob(like, batch(dl), "te", 3, np.ones(2))


def test_bandpower_form_on_the_full_sky_is_the_likelihood(rng: np.random.Generator) -> None:
    """Hamimeche and Lewis' form is exact there; noise far below the signal."""
    pixels = pixel_set(Mask(np.ones(192), coord="G"), None)
    dl = {"tt": all_spectra(6)["tt"]}
    covariance = signal_covariance(pixels, dl, 2, 6) + 1e-4 * np.eye(192)
    sky = np.linalg.cholesky(covariance) @ rng.standard_normal(192)
    noise = dense_noise(1e-4 * np.eye(192))
    summary = summarise(sky, mode_matrix(pixels, 2, 6), mode_ell(2, 6), "t", noise)
    like = PixelLikelihood(info(lmax=6), summary, {"tt": (2, 6)})
    fast = LowlBandpowers(like.info, like, batch(dl))
    difference = fast.against(batch(dl, np.array([1.0, 0.3, 0.7, 1.5, 4.0])))
    # HEALPix quadrature at nside 4 couples the l by 1e-4 or so; ln L itself changes by up to 60
    assert difference.abs().max() < 0.02
    assert torch.isneginf(fast.log_prob(batch({"tt": -dl["tt"]}), {})).all()
    with pytest.raises(LikelihoodError, match="expected one auto spectrum"):
        LowlBandpowers(like.info, Skies(rng).next(), batch(all_spectra(LMAX)))


@pytest.mark.slow
def test_estimates_are_unbiased_and_scatter_as_fisher_says(rng: np.random.Generator) -> None:
    skies = Skies(rng, lmax=6)
    n = 300
    estimates = [quadratic_estimate(skies.next(), batch(skies.dl)) for _ in range(n)]
    dl = np.array([e.dl for e in estimates])
    truth = np.array([skies.dl[p][ell] for p, ell in zip(estimates[0].pair, estimates[0].ell, strict=True)])
    covariance = estimates[0].covariance
    bias = dl.mean(0) - truth
    chi2 = n * bias @ np.linalg.solve(covariance, bias)
    assert stats.chi2.sf(chi2, len(truth)) > 1e-3
    # sample variances of n skewed estimates scatter by sqrt((2 + kurtosis) / n), about 12% here
    ratio = dl.var(0, ddof=1) / np.diag(covariance)
    assert np.abs(ratio - 1).max() < 0.6
    assert abs(ratio.mean() - 1) < 0.1


@pytest.mark.slow
def test_amplitude_coverage(rng: np.random.Generator) -> None:
    """Ranks of the true amplitude in its posterior are uniform over 200 skies drawn from the prior."""
    skies = Skies(rng, lmax=6)
    grid = np.linspace(0.5, 1.5, 41)
    models = batch(skies.dl, grid)
    n = len(skies.pixels)
    noise, signal = skies.noise.dense(), signal_covariance(skies.pixels, skies.dl, 2, 6)
    ranks = []
    for truth in rng.uniform(0.5, 1.5, 200):
        skies.root = np.linalg.cholesky(truth * signal + noise)
        with torch.no_grad():
            ln = skies.next().log_prob(models, {}).numpy()
        p = np.exp(ln - ln.max())
        cumulative = np.concatenate([[0.0], np.cumsum((p[1:] + p[:-1]) / 2)])
        ranks.append(np.interp(truth, grid, cumulative / cumulative[-1]))
    assert n > 150
    assert stats.kstest(ranks, "uniform").pvalue > 1e-3
