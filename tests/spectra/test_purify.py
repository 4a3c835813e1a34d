"""Pure B modes on a small cap: E does not leak, B comes back unbiased, the variance drops."""

from __future__ import annotations

from dataclasses import replace

import ducc0
import healpy
import numpy as np
import pytest

from cmbfit.errors import MapError, SpectrumError
from cmbfit.sky import Mask, StokesMap, apodise
from cmbfit.sky.harmonic import alm2cl, alm2map, map2alm
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.coupling import coupling, responses
from cmbfit.spectra.fields import Field
from cmbfit.spectra.gradients import eth_norm, mask_derivatives
from cmbfit.spectra.master import Transfer, prepare
from cmbfit.spectra.multi import estimate_bandpowers, field_alms, make_plan
from cmbfit.spectra.purify import pure_alms
from cmbfit.spectra.transforms import mask_spectrum, masked_alms, pseudo_spectra
from tests.spectra.simulation import to_cl

NSIDE, LMAX = 32, 64
BINS = Bins((2, 12, 20, 28, 36, 44, 52))
N_SKIES = 80
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
    return StokesMap(np.zeros(12 * NSIDE**2), *alm2map(alm, NSIDE, 2), coord="G")


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
        b = map2alm(sky.iqu[1:] * cap.weights, LMAX, 2, 0)[1]
        pure = pure_alms(sky, cap, LMAX, derivatives).b
        leaked, left = leaked + alm2cl(b, b), left + alm2cl(pure, pure)
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
    (found,) = responses("bb", coupling(w, lmax), (True, True))
    assert found.source == "bb"
    np.testing.assert_allclose(found.matrix()[2:, 2:], wanted[2:, 2:], rtol=1e-10)


def test_less_variance_than_master(cap, derivatives) -> None:
    """BB a hundredth of EE at l = 30, 80 skies: pure B is unbiased, and its variance far below MASTER's."""
    np.random.seed(6)  # noqa: NPY002
    dl = spectra(0.01)
    master = prepare(cap, BINS, ONE, ONE, LMAX)
    pure = prepare(cap, BINS, ONE, ONE, LMAX, pure=(True, True), mask_coupling=master.coupling)
    found = np.empty((2, N_SKIES, BINS.n))
    for k in range(N_SKIES):
        sky = draw(to_cl(dl["ee"]), to_cl(dl["bb"]))
        for row, (m, alms) in enumerate(
            ((master, masked_alms(sky, cap, LMAX)), (pure, pure_alms(sky, cap, LMAX, derivatives)))
        ):
            found[row, k] = m.decouple(pseudo_spectra(alms, alms))["bb"]
    window = pure.windows["bb", "bb"]
    assert ("bb", "ee") not in pure.windows
    np.testing.assert_allclose(window.sum(axis=1), 1, rtol=1e-9)
    error = found.std(axis=1)
    pull = (found[1].mean(axis=0) - window @ dl["bb"]) / error[1] * np.sqrt(N_SKIES)
    # leakage left by the pixels is a bias of its own; at l 2-11 it can matter
    assert np.abs(pull[1:]).max() < 4
    gain = (error[0] / error[1]) ** 2
    # 600 skies gave 8, 15, 18, 18, 21, 19; a ratio of two variances of 80 skies is good to 22 %
    assert gain[0] > 3
    assert gain[1:].min() > 7


def test_a_pure_and_a_plain_field(cap) -> None:
    """Mixed pairs, EB and TB of a parity-violating sky: fields of one sky agree with their windows."""
    np.random.seed(9)  # noqa: NPY002
    ell = np.arange(LMAX + 1.0)
    dl = {
        "tt": 50 + ell,
        "ee": 2 + ell / 10,
        "bb": 1 + 0 * ell,
        "te": 3 + 0 * ell,
        "tb": 2 + ell / 30,
        "eb": 0.6 + 0 * ell,
    }
    for x in dl.values():
        x[:2] = 0
    blank = StokesMap(*np.zeros((3, 12 * NSIDE**2)), coord="G")
    fields = [Field("pure", [blank], cap, ONE, purify_b=True), Field("plain", [blank], cap, ONE)]
    plan = make_plan(fields, BINS, LMAX)
    found = []
    for _ in range(N_SKIES):
        alm = healpy.synalm([to_cl(dl[k]) for k in ("tt", "ee", "bb", "te", "eb", "tb")], lmax=LMAX, new=True)
        sky = StokesMap(alm2map(alm[:1], NSIDE, 0)[0], *alm2map(alm[1:], NSIDE, 2), coord="G")
        alms = {f.name: field_alms(replace(f, splits=[sky]), LMAX) for f in fields}
        found.append(estimate_bandpowers(plan, alms))
    x = np.array(found)
    # B of the pure map and B of the plain one
    assert set(plan.masters["pure", "plain"].windows) == {
        ("tt", "tt"), ("te", "te"), ("et", "et"), ("tb", "tb"), ("bt", "bt"), ("ee", "ee"), ("ee", "bb"),
        ("bb", "bb"), ("be", "be"), ("eb", "eb"), ("eb", "be"),
    }  # fmt: skip
    pull = (x.mean(axis=0) - plan.theory(dl)) / x.std(axis=0) * np.sqrt(N_SKIES)
    assert np.abs(pull[:, 1:]).max() < 4  # 45 numbers
    assert np.sqrt(np.mean(pull[:, 1:] ** 2)) < 1.35


def test_refusals(cap) -> None:
    short = Transfer(np.ones(9), np.ones(9))
    with pytest.raises(SpectrumError, match="64 is needed"):
        prepare(cap, BINS, short, short, LMAX, pure=(True, True))
    hole = np.zeros((3, 12 * NSIDE**2))
    hole[:, 0] = np.nan  # the pole, in the middle of the cap
    with pytest.raises(MapError):
        pure_alms(StokesMap(*hole, coord="G"), cap, LMAX)
    sharp = Mask(cap.support.astype(float), coord="G", name="sharp")
    blank = StokesMap(*np.zeros((3, 12 * NSIDE**2)), coord="G")
    with pytest.raises(SpectrumError, match="expected an apodised mask"):
        Field("a", [blank], sharp, ONE, purify_b=True)
    Field(
        "a", [blank], Mask(np.ones(12 * NSIDE**2), coord="G"), ONE, purify_b=True
    )  # no edge, nothing to refuse
