"""Pure B modes on a small cap: E does not leak, B comes back unbiased, the variance drops."""

from __future__ import annotations

import ducc0
import healpy
import numpy as np
import pytest

from cmbfit.errors import MapError, SpectrumError
from cmbfit.sky import Mask, StokesMap, apodise
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.master import Transfer, prepare
from cmbfit.spectra.purify import eth_norm, mask_derivatives, prepare_pure, pure_b
from cmbfit.spectra.transforms import (
    FieldAlms,
    alm2cl,
    alm2map,
    map2alm,
    mask_spectrum,
    masked_alms,
    pseudo_spectra,
)
from tests.spectra.simulation import to_cl

NSIDE, LMAX = 32, 64
BINS = Bins((2, 12, 20, 28, 36, 44, 52))
N_SKIES = 200
ONE = Transfer(np.ones(LMAX + 1), np.ones(LMAX + 1))


@pytest.fixture(scope="module")
def cap() -> Mask:
    """A radius of 40 degrees, C2 over 20."""
    z = healpy.pix2vec(NSIDE, np.arange(12 * NSIDE**2))[2]
    return apodise(Mask((z > np.cos(np.radians(40))).astype(float), coord="G"), 20, "C2")


@pytest.fixture(scope="module")
def derivatives(cap) -> tuple[np.ndarray, np.ndarray]:
    return mask_derivatives(cap)


def draw(ee: np.ndarray, bb: np.ndarray) -> StokesMap:
    """One sky from healpy's global generator."""
    alm = np.array([healpy.synalm(x, lmax=LMAX) for x in (ee, bb)])
    return StokesMap(np.zeros(12 * NSIDE**2), *alm2map(alm, NSIDE, LMAX, 2), coord="G")


def spectra(bb_over_ee: float) -> dict[str, np.ndarray]:
    """D_l in uK^2 like the recombination peak's rise in EE, and a flat BB."""
    ell = np.arange(LMAX + 1.0)
    ee = 0.5 * (ell / 30) ** 2
    dl = {"ee": ee, "bb": np.full(LMAX + 1, bb_over_ee * 0.5)}
    for x in dl.values():
        x[:2] = 0
    return dl


def test_derivatives_of_a_smooth_mask() -> None:
    """w = 1/2 + 0.45 sin^2: -eth w = 0.9 sin cos and -eth^2 w = 0.9 sin^2, both real."""
    theta = healpy.pix2ang(NSIDE, np.arange(12 * NSIDE**2))[0]
    one, two = mask_derivatives(Mask(0.5 + 0.45 * np.sin(theta) ** 2, coord="G"))
    # the iterated pixel sum is good to 1e-3, but for a second derivative in the ring around each pole
    np.testing.assert_allclose(one[0], 0.9 * np.sin(theta) * np.cos(theta), atol=6e-3)
    np.testing.assert_allclose(one[1], 0, atol=6e-3)
    away = np.abs(np.cos(theta)) < 0.95
    np.testing.assert_allclose(two[0][away], 0.9 * np.sin(theta[away]) ** 2, atol=0.02)
    np.testing.assert_allclose(two[1][away], 0, atol=0.02)


def test_e_modes_do_not_leak(cap, derivatives) -> None:
    """A sky of pure E: less than 1 % of the leaked power is left from l = 10; at l = 2 pixels leave 30 %."""
    np.random.seed(5)  # noqa: NPY002
    dl, leaked, left = spectra(0.0), 0.0, 0.0
    for _ in range(20):
        sky = draw(to_cl(dl["ee"]), to_cl(dl["bb"]))
        b = map2alm(sky.iqu[1:] * cap.weights, LMAX, 2)[1]
        pure = pure_b(sky, cap, LMAX, derivatives)
        leaked, left = leaked + alm2cl(b, b, LMAX), left + alm2cl(pure, pure, LMAX)
    assert (left[4:8] / leaked[4:8]).max() < 0.1
    assert (left[10:50] / leaked[10:50]).max() < 0.01


def test_coupling_matrix_is_the_sum_over_3j_symbols(cap) -> None:
    """The three terms of eth^2(w Y) with 3j symbols of spins (2, 1, 0): odd ones cancel, even ones are ours."""
    lmax = 12
    w = mask_spectrum(cap, 2 * lmax)
    norm = eth_norm(2 * lmax)
    wanted, odd = np.zeros((lmax + 1, lmax + 1)), 0.0
    for l1 in range(2, lmax + 1):
        for l2 in range(2, lmax + 1):
            total = np.zeros(2 * lmax + 1)
            terms = (
                (1.0, 2, lambda ell: np.ones(ell.shape)),
                (2 / np.sqrt((l1 - 1) * (l1 + 2)), 1, lambda ell: np.sqrt(ell * (ell + 1.0))),
                (1 / norm[l1], 0, lambda ell: norm[ell]),
            )
            for factor, spin, weight in terms:
                # columns (l1, -s; l2, 2; L, s - 2)
                start, symbol = ducc0.misc.wigner3j_int(l1, l2, -spin, 2)
                ell = np.arange(start, start + symbol.size)
                total[ell] += factor * weight(ell) * symbol
            ell = np.arange(2 * lmax + 1)
            terms_of_l = (2 * ell + 1) / (4 * np.pi) * w * total**2 * (2 * l2 + 1)
            even = (ell + l1 + l2) % 2 == 0
            wanted[l1, l2] = terms_of_l[even].sum()
            odd = max(odd, np.abs(total[~even]).max())
    assert odd < 1e-12
    found = prepare_pure(cap, Bins((2, 13)), ONE, ONE, lmax).matrix
    np.testing.assert_allclose(found[2:, 2:], wanted[2:, 2:], rtol=1e-10)


def test_unbiased_with_less_variance_than_master(cap, derivatives) -> None:
    """BB a hundredth of EE at l = 30: the bandpowers of 200 skies, against the windows and against MASTER."""
    np.random.seed(6)  # noqa: NPY002
    dl = spectra(0.01)
    master, pure = prepare(cap, BINS, ONE, ONE, LMAX), prepare_pure(cap, BINS, ONE, ONE, LMAX)
    found = np.empty((2, N_SKIES, BINS.n))
    for k in range(N_SKIES):
        sky = draw(to_cl(dl["ee"]), to_cl(dl["bb"]))
        alms: FieldAlms = masked_alms(sky, cap, LMAX)
        found[0, k] = master.decouple(pseudo_spectra(alms, alms))["bb"]
        b = pure_b(sky, cap, LMAX, derivatives)
        found[1, k] = pure.decouple(b, b)
    expected = pure.window @ dl["bb"]
    np.testing.assert_allclose(pure.window.sum(axis=1), 1, rtol=1e-9)
    error = found.std(axis=1)
    pull = (found[1].mean(axis=0) - expected) / error[1] * np.sqrt(N_SKIES)
    # leakage left by the pixels is a bias of its own; at l 2-11 it can matter
    assert np.abs(pull[1:]).max() < 4
    gain = (error[0] / error[1]) ** 2
    # measured 8, 15, 15, 20, 20, 21; a ratio of two variances of 200 skies is good to 14 %
    assert gain[0] > 4
    assert gain[1:].min() > 9


def test_refusals(cap) -> None:
    short = Transfer(np.ones(9), np.ones(9))
    with pytest.raises(SpectrumError, match="must reach l = 64"):
        prepare_pure(cap, BINS, short, short, LMAX)
    hole = np.zeros((3, 12 * NSIDE**2))
    hole[:, 0] = np.nan  # the pole, in the middle of the cap
    with pytest.raises(MapError):
        pure_b(StokesMap(*hole, coord="G"), cap, LMAX)
