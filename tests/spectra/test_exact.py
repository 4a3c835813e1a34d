"""The closed-form covariance against exact linear algebra (no scatter) in caps of a quarter and a third of the sky."""

from __future__ import annotations

from functools import partial

import healpy
import numpy as np
import pytest

from cmbfit.sky import Mask, StokesMap, apodise
from cmbfit.spectra.correlations import FieldCorrelations
from cmbfit.spectra.coupling import coupling
from cmbfit.spectra.covariance import pseudo_covariance
from cmbfit.spectra.fields import Field, Noise
from cmbfit.spectra.gradients import mask_derivatives
from cmbfit.spectra.master import Transfer, couple
from cmbfit.spectra.multi import Entry
from cmbfit.spectra.purify import pure_alms
from cmbfit.spectra.transforms import mask_spectrum
from tests.spectra import exact

NSIDE, LMAX = 16, 28
NPIX = 12 * NSIDE**2
Z = healpy.pix2vec(NSIDE, np.arange(NPIX))[2]
ELL = np.arange(LMAX + 1.0)
FALLING = np.where(ELL >= 2, 1 / np.maximum(ELL * (ELL + 1), 1), 0)
LOW = np.arange(6, 22, 4)
BINS = np.array([(low <= ELL) & (low + 4 > ELL) for low in LOW]) / 4
DEPTH = 1 + 0.8 * Z


def cap(radius: float, width: float, kind: str) -> Mask:
    return apodise(Mask((np.cos(np.radians(radius)) < Z).astype(float), coord="G"), width, kind)


def field(
    mask: Mask, *, noise: float = 0.0, depth: np.ndarray | None = None, purify_b: bool = False
) -> Field:
    one, blank = np.ones(LMAX + 1), StokesMap(*np.zeros((3, NPIX)), coord="G")
    return Field("a", [blank], mask, Transfer(one, one), Noise(noise * one, noise * one, depth), purify_b)


@pytest.fixture(scope="module")
def plain() -> tuple[Mask, exact.Exact]:
    mask = cap(60, 24, "C1")
    return mask, exact.Exact.of(mask, LMAX)


def pure_kernels(*, noise: bool) -> tuple[Mask, exact.Exact]:
    mask = cap(70, 35, "C2")
    return mask, exact.Exact.of(
        mask, LMAX, partial(pure_alms, derivatives=mask_derivatives(mask)), noise=noise
    )


@pytest.fixture(scope="module")
def pure() -> tuple[Mask, exact.Exact]:
    return pure_kernels(noise=False)


@pytest.fixture(scope="module")
def noisy() -> tuple[Mask, exact.Exact]:
    return pure_kernels(noise=True)


def binned(f: Field, cl: dict[str, np.ndarray], g: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return predicted and exact covariance of one map's auto-spectra, noise included, in bins."""
    one, two = name[:2], name[2:]
    corr = FieldCorrelations([f], cl, LMAX)
    # an auto-spectrum of one split holds its own noise: both two-point functions carry it
    found = {
        (p, q): corr.signal_terms(p, "a", q, "a") + corr.noise_terms(p, q, "a", 0)
        for p in "teb"
        for q in "teb"
    }
    total = np.zeros((LMAX + 1, LMAX + 1))
    for left, right in (((one[0], two[0]), (one[1], two[1])), ((one[0], two[1]), (one[1], two[0]))):
        for s in found[left]:
            for t in found[right]:
                x = corr.kernel(s.weight, t.weight).of(s.kind, t.kind)
                if x is not None:
                    factor = 1.5 if s.weight[0] == t.weight[0] == "g" else 1.0
                    total += factor * (s.left.T @ s.right) * (t.left.T @ t.right) * x
    wanted = exact.pseudo_covariance(
        LMAX, f"{one[0]} a {one[1]} a", f"{two[0]} a {two[1]} a", {("a", "a"): g}
    )
    return BINS @ total @ BINS.T, BINS @ wanted @ BINS.T


def correlation(matrix: np.ndarray) -> np.ndarray:
    sd = np.sqrt(np.diag(matrix))
    return matrix / np.outer(sd, sd)


@pytest.mark.parametrize(
    ("bb_over_ee", "tolerance"),
    [
        # measured: TT 2 %, EE 3 %, BB 2-3 %, EB 3 %, TB 10 % at l 6-9 and 4 % above
        (0.1, {"tttt": 0.03, "tete": 0.03, "eeee": 0.04, "bbbb": 0.04, "ebeb": 0.04, "tbtb": 0.11}),
        # no B at all: variances of BB, EB and TB are leakage alone, of second order in the mask's gradient
        (0.0, {"tttt": 0.03, "eeee": 0.04, "bbbb": 0.12, "ebeb": 0.17, "tbtb": 0.18}),
    ],
)
def test_variances_of_one_map(plain, bb_over_ee, tolerance) -> None:
    mask, e = plain
    cl = {"tt": 10 * FALLING, "ee": FALLING, "bb": bb_over_ee * FALLING, "te": FALLING}
    g = e.correlation(e, cl)
    for name, limit in tolerance.items():
        found, wanted = binned(field(mask), cl, g, name)
        np.testing.assert_allclose(np.diag(found) / np.diag(wanted), 1, atol=limit, err_msg=name)
        if bb_over_ee:
            np.testing.assert_allclose(correlation(found), correlation(wanted), atol=0.06, err_msg=name)


def test_mixing_of_e_and_b(plain) -> None:
    """Cov(EE, BB) = +1/2 S S' X--: 5-12 % short of the exact value, where -2 (published codes) has the wrong sign."""
    mask, e = plain
    cl = {"tt": FALLING, "ee": FALLING, "bb": 0.1 * FALLING}
    found, wanted = binned(field(mask), cl, e.correlation(e, cl), "eebb")
    np.testing.assert_allclose(np.diag(found) / np.diag(wanted), 1, atol=0.14)


def test_pure_b_spectra_on_average(pure) -> None:
    """<C~> of all spectra: equal to the coupling; nside 16 pixels leave 1.6 % of the leakage."""
    mask, e = pure
    cl = {
        "tt": 9 * FALLING,
        "ee": FALLING,
        "bb": 0.5 * FALLING,
        "te": FALLING,
        "eb": 0.3 * FALLING,
        "tb": FALLING,
    }
    g = e.correlation(e, cl)
    one = Transfer(np.ones(LMAX + 1), np.ones(LMAX + 1))
    expected = couple(cl, coupling(mask_spectrum(mask, 2 * LMAX), LMAX), one, one, (True, True))
    ell = exact.real_basis(LMAX)[0]
    for p, q in ("tt", "te", "ee", "eb", "bb", "tb"):
        trace = np.bincount(ell, np.diag(g["teb".index(p), :, "teb".index(q)])) / (2 * ELL + 1)
        np.testing.assert_allclose(trace[5:22], expected[p + q][5:22], rtol=0.02, err_msg=p + q)


def check_pure(g: np.ndarray, cl: dict[str, np.ndarray], f: Field) -> None:
    """Variances to 8 % at l 6-9 and 4-5 % above, as measured; correlations of bins to 0.05."""
    for name, limit in (("eeee", 0.05), ("bbbb", 0.1), ("ebeb", 0.08), ("tbtb", 0.08)):
        found, wanted = binned(f, cl, g, name)
        ratio = np.diag(found) / np.diag(wanted)
        assert np.abs(ratio - 1).max() < limit, (name, ratio)
        assert np.abs(ratio[1:] - 1).max() < limit / 2 + 0.01, (name, ratio)
        np.testing.assert_allclose(correlation(found), correlation(wanted), atol=0.05, err_msg=name)


def test_variances_of_pure_b(pure) -> None:
    mask, e = pure
    cl = {"tt": 10 * FALLING, "ee": FALLING, "bb": 0.1 * FALLING, "te": FALLING}
    check_pure(e.correlation(e, cl), cl, field(mask, purify_b=True))


@pytest.mark.slow
@pytest.mark.parametrize("depth", [None, DEPTH])
def test_variances_of_pure_b_with_noise(noisy, depth) -> None:
    """Noise as large as B, uniform and not."""
    mask, e = noisy
    cl = {"tt": 10 * FALLING, "ee": FALLING, "bb": 0.1 * FALLING, "te": FALLING}
    level = 0.1 * FALLING[12]
    sigma2 = level * NPIX / (4 * np.pi) * np.ones((3, NPIX)) * (1.0 if depth is None else depth)
    check_pure(e.correlation(e, cl, sigma2), cl, field(mask, noise=level, depth=depth, purify_b=True))


def test_the_product_is_what_the_package_sums(plain) -> None:
    """`binned` above, without noise, is pseudo_covariance for two splits of one sky."""
    mask, _ = plain
    cl = {"tt": 10 * FALLING, "ee": FALLING, "bb": 0.1 * FALLING, "te": FALLING}
    f = field(mask)
    two = Field("a", [*f.splits, *f.splits], mask, f.transfer, f.noise)
    corr = FieldCorrelations([two], cl, LMAX)
    zero = np.zeros((3, (LMAX + 1) ** 2, 3, (LMAX + 1) ** 2))
    for name in ("tttt", "ebeb", "eebb", "tbtb"):
        found = BINS @ pseudo_covariance(corr, Entry(name[:2], "a", "a"), Entry(name[2:], "a", "a")) @ BINS.T
        np.testing.assert_allclose(found, binned(f, cl, zero, name)[0], rtol=1e-12)


def test_full_sky_is_wishart() -> None:
    """No mask: Cov = (C^XZ C^YW + C^XW C^YZ) / (2 l + 1), diagonal, for every pair of spectra."""
    rng = np.random.default_rng(5)
    a = rng.standard_normal((LMAX + 1, 3, 3))
    c = a @ a.transpose(0, 2, 1)
    c[:2] = 0
    cl = {p + q: c[:, i, j] for i, p in enumerate("teb") for j, q in enumerate("teb") if i <= j}
    f = field(Mask(np.ones(NPIX), coord="G"))
    corr = FieldCorrelations([Field("a", [*f.splits, *f.splits], f.mask, f.transfer, f.noise)], cl, LMAX)
    for name in ("tttt", "tete", "eeee", "bbbb", "ebeb", "tbtb", "eebb", "ttee", "ebbe", "teeb"):
        x, y, z, w = ("teb".index(k) for k in name)
        wanted = (c[:, x, z] * c[:, y, w] + c[:, x, w] * c[:, y, z]) / (2 * ELL + 1)
        found = pseudo_covariance(corr, Entry(name[:2], "a", "a"), Entry(name[2:], "a", "a"))
        # nside 16 pixels: the mask of ones is not quite a monopole (1e-5 of it beyond l = 2 nside)
        np.testing.assert_allclose(np.diag(found)[2:], wanted[2:], rtol=1e-3, atol=1e-3, err_msg=name)
        np.testing.assert_allclose(found - np.diag(np.diag(found)), 0, atol=1e-3, err_msg=name)
