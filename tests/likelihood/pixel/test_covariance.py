"""Y C Y^T against Legendre sums with rotation angles, and the signs of Q, U, E, B."""

from __future__ import annotations

import healpy
import numpy as np
import pytest

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.pixel.build import pixel_set, signal_covariance
from cmbfit.likelihood.pixel.harmonics import PixelSet, mode_ell, mode_matrix, monopole_dipole
from tests.likelihood.pixel import oracle
from tests.likelihood.pixel.helpers import NSIDE, all_spectra, cap_mask, to_cl


@pytest.mark.parametrize("keep", [("t",), ("p",), ("t", "p")])
def test_six_spectra_against_legendre_sums(rng: np.random.Generator, keep: tuple[str, ...]) -> None:
    masks = {"t": cap_mask(rng), "p": cap_mask(rng, 0.5)}  # I and Q, U on different pixels
    pixels = pixel_set(*(masks[k] if k in keep else None for k in "tp"))
    dl = all_spectra()
    window = np.exp(-0.002 * np.arange(13.0) ** 2)
    windows = {"t": window, "e": window**2, "b": window**3}
    got = signal_covariance(pixels, dl, 2, 12, windows)
    cl = {k: v * windows[k[0]] * windows[k[1]] for k, v in to_cl(dl).items()}
    want = oracle.covariance(NSIDE, pixels.t, pixels.p, cl, 2, 12)
    # two exact formulas in float64: rounding only, on elements of up to 1e4 uK^2
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-9)


def test_sample_covariance_of_healpy_skies(rng: np.random.Generator) -> None:
    """Skies drawn by healpy, with its own convention of E, B, Q, U, have this covariance."""
    pixels = PixelSet(NSIDE, np.array([3, 50, 90]), np.array([20, 60, 85]))
    dl = all_spectra()
    cl = to_cl(dl)
    order = [cl[k] for k in ("tt", "ee", "bb", "te", "eb", "tb")]
    np.random.seed(3)  # noqa: NPY002 (healpy draws from numpy's global state)
    n = 3000
    draws = np.empty((n, len(pixels)))
    for k in range(n):
        i, q, u = healpy.alm2map(healpy.synalm(order, lmax=12, new=True), NSIDE, lmax=12)
        draws[k] = np.concatenate([i[pixels.t], q[pixels.p], u[pixels.p]])
    want = signal_covariance(pixels, dl, 2, 12)
    # error of a sample covariance of Gaussian data: sqrt((C_ii C_jj + C_ij^2) / n); 54 numbers, 5 sigma
    error = np.sqrt((np.outer(np.diag(want), np.diag(want)) + want**2) / n)
    assert np.abs((draws.T @ draws / n - want) / error).max() < 5


def test_real_modes_are_healpy_coefficients(rng: np.random.Generator) -> None:
    """A sum over real modes is the map that healpy makes of the same a_lm."""
    lmax = 6
    pixels = PixelSet(NSIDE, np.arange(192), np.arange(192))
    modes, ell = mode_matrix(pixels, 2, lmax), mode_ell(2, lmax)
    s = rng.standard_normal((3, len(ell)))
    alm = np.zeros((3, healpy.Alm.getsize(lmax)), dtype=complex)
    for multipole in range(2, lmax + 1):
        block = s[:, ell == multipole]
        alm[:, healpy.Alm.getidx(lmax, multipole, 0)] = block[:, 0]
        for m in range(1, multipole + 1):
            value = (block[:, 2 * m - 1] + 1j * block[:, 2 * m]) / np.sqrt(2)
            alm[:, healpy.Alm.getidx(lmax, multipole, m)] = value
    want = np.concatenate(healpy.alm2map(alm, NSIDE, lmax=lmax))
    np.testing.assert_allclose(np.einsum("pfm,fm->p", modes, s), want, atol=1e-11)


def test_flipping_u_turns_e_into_b(rng: np.random.Generator) -> None:
    """With the sign of U of the other convention a pure-E sky does not fit: half its power looks like B."""
    mask = cap_mask(rng)
    pixels = pixel_set(None, mask)
    dl = {"ee": all_spectra()["ee"]}
    covariance = signal_covariance(pixels, dl, 2, 8) + 1e-3 * np.eye(len(pixels))
    sky = np.linalg.cholesky(covariance) @ rng.standard_normal(len(pixels))
    flipped = sky.copy()
    flipped[len(pixels.p) :] *= -1
    inverse = np.linalg.inv(covariance)
    n = len(pixels)
    assert abs(sky @ inverse @ sky - n) < 5 * np.sqrt(2 * n)
    # the flipped sky holds B modes of the signal's size where the model has noise of 1e-3 uK^2 alone
    assert flipped @ inverse @ flipped > 1e3 * n


def test_monopole_and_dipole_are_l_0_and_1() -> None:
    pixels = PixelSet(NSIDE, np.arange(192), np.zeros(0, dtype=int))
    modes = mode_matrix(pixels, 0, 1)[:, 0]
    templates = monopole_dipole(pixels)
    residual = templates - modes @ np.linalg.lstsq(modes, templates, rcond=None)[0]
    assert np.abs(residual).max() < 1e-12


def test_bad_pixels_and_multipoles() -> None:
    none = np.zeros(0, dtype=int)
    with pytest.raises(LikelihoodError, match="leave no pixel"):
        PixelSet(NSIDE, none, none)
    with pytest.raises(LikelihoodError, match="without repeats"):
        PixelSet(NSIDE, np.array([1, 1]), none)
    with pytest.raises(LikelihoodError, match="from 0 to 191"):
        PixelSet(NSIDE, np.array([192]), none)
    t, p = PixelSet(NSIDE, np.arange(9), none), PixelSet(NSIDE, none, np.arange(9))
    with pytest.raises(LikelihoodError, match="beyond 3 nside = 12"):
        mode_matrix(t, 2, 13)
    with pytest.raises(LikelihoodError, match="expected 2 <= lmin"):
        mode_matrix(p, 1, 5)
    with pytest.raises(LikelihoodError, match="window of E: expected 6 values"):
        mode_matrix(p, 2, 5, {"e": np.ones(5), "b": np.ones(6)})
    with pytest.raises(LikelihoodError, match="no pixel is left"):
        pixel_set(None, None)
