"""Likelihoods of every kind move wholly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cmbfit.likelihood import Gaussian, load_likelihood
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.foregrounds import Bandpass, DustAndSynchrotron
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis
from cmbfit.likelihood.pixel import PixelLikelihood, dense_noise
from cmbfit.likelihood.pixel.bandpowers import LowlBandpowers
from cmbfit.likelihood.pixel.build import pixel_set, signal_covariance
from cmbfit.likelihood.pixel.compressed import CompressedPixelLikelihood
from cmbfit.likelihood.pixel.harmonics import mode_ell, mode_matrix
from cmbfit.likelihood.pixel.summary import summarise
from cmbfit.likelihood.pixel.wmap9 import WmapLowlPolarisation, read_wmap9_lowl
from cmbfit.likelihood.tau_prior import ParameterGaussian
from cmbfit.sky import Mask
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import info
from tests.likelihood.pixel.helpers import all_spectra, batch
from tests.likelihood.pixel.helpers import info as pixel_info
from tests.likelihood.pixel.test_likelihood import TOP, Case
from tests.likelihood.pixel.test_wmap9 import LMAX as WMAP_LMAX
from tests.likelihood.pixel.test_wmap9 import Released, _archive
from tests.likelihood.test_bicep import VALUES
from tests.likelihood.test_hamimeche_lewis import full_sky_covariance, one_window_per_multipole
from tests.likelihood.test_low_redshift import supernovae

Check = Callable[..., None]


def at_amplitude(dl: dict[str, np.ndarray]) -> Callable[[Any, torch.Tensor], torch.Tensor]:
    """ln L as a function of an amplitude of spectra, and of a nuisance parameter equal to it."""

    def log_prob(like: Likelihood, x: torch.Tensor) -> torch.Tensor:
        spectra = {p: x[:, None] * torch.from_numpy(v).to(x.device)[None] for p, v in dl.items()}
        return like.log_prob(Spectra(spectra, {"tau": 0.05 * x}), dict.fromkeys(like.info.nuisance, x))

    return log_prob


X = torch.tensor([1.0, 1.2], dtype=torch.float64)


def test_log_normal_bins_move(moves: Check) -> None:
    like = load_likelihood("planck2018_lowl_ee_lognormal")
    moves(like, at_amplitude({"ee": np.full(30, 0.05)}), X)


def test_pixel_likelihoods_move(moves: Check, rng: np.random.Generator) -> None:
    case = Case(rng)
    whole = case.likelihood()
    dl = {p: v for p, v in all_spectra(TOP).items() if p in case.dl}
    for like in (whole, CompressedPixelLikelihood(whole, batch(dl))):
        moves(like, at_amplitude(dl), X)


def test_low_l_bandpowers_and_wmap_s_polarisation_move(moves: Check, rng: np.random.Generator) -> None:
    pixels, dl = pixel_set(Mask(np.ones(192), coord="G"), None), {"tt": all_spectra(6)["tt"]}
    covariance = signal_covariance(pixels, dl, 2, 6) + 1e-4 * np.eye(192)
    sky = np.linalg.cholesky(covariance) @ rng.standard_normal(192)
    noise = dense_noise(1e-4 * np.eye(192))
    summary = summarise(sky, mode_matrix(pixels, 2, 6), mode_ell(2, 6), "t", noise)
    low = PixelLikelihood(pixel_info(lmax=6), summary, {"tt": (2, 6)})
    moves(LowlBandpowers(low.info, low, batch(dl)), at_amplitude(dl), X)
    released = read_wmap9_lowl(_archive(Released(rng).files))
    polarisation = WmapLowlPolarisation(pixel_info("wmap9"), released, offset=0.0)
    dl = {p: v for p, v in all_spectra(WMAP_LMAX).items() if p in ("tt", "te", "ee", "bb")}
    moves(polarisation, at_amplitude(dl), X)


def test_matrices_of_bandpowers_with_foregrounds_move(moves: Check, rng: np.random.Generator) -> None:
    windows = one_window_per_multipole(3)
    bins = windows.shape[1]
    offset = np.tile(np.diag([1.0, 2.0]), (bins, 1, 1))
    fiducial = np.ones((bins, 2, 2))
    nu = np.linspace(140.0, 160.0, 11)
    bands = [Bandpass(nu + shift, rng.random(11)) for shift in (0, 67)]
    fixed = {k: v for k, v in VALUES.items() if k != "BBdust"}
    dust = DustAndSynchrotron("bb", bands, windows, pivot_dust=353.0, pivot_synchrotron=23.0, fixed=fixed)
    about = info(nuisance={"BBdust": Gaussian(1, 1), "cal": Gaussian(1, 1)}, pairs={"bb": (2, 6)})
    like = HamimecheLewis(
        about, "bb", windows, fiducial, fiducial, offset, full_sky_covariance(fiducial + offset),
        foregrounds=dust, calibration={"cal": (-1, -1)}, n_simulations=100,
    )  # fmt: skip
    # torch reads whether the eigenvalues were found, and offers no form that does not
    moves(like, at_amplitude({"bb": np.ones(windows.shape[2])}), X, binds="_linalg_eigh")


def test_a_measured_parameter_moves(moves: Check) -> None:
    moves(ParameterGaussian(info(), "tau", 0.054, 0.007), at_amplitude({"tt": np.ones(3)}), X)


def test_distances_move(moves: Check, rng: np.random.Generator) -> None:
    def log_prob(like: Likelihood, x: torch.Tensor) -> torch.Tensor:
        table = {
            "ombh2": 0.022 * x,
            "omch2": 0.12 * x,
            "H0": 67 * x,
            "rdrag": 147 * x,
            "mnu": 0.1 * x,
            "w": -x,
        }
        nuisance = dict.fromkeys(like.info.nuisance, x)
        return like.log_prob(Spectra({"tt": torch.zeros_like(x)[:, None]}, table), nuisance)

    many = supernovae(rng, 60, "M_union3")
    for like in (load_likelihood("desi_dr2"), load_likelihood("union3"), many, many.folded()):
        moves(like, log_prob, X)
