"""Binned couplings from a quadrature, against 3j symbols of other codes, closed forms, and ducc0's whole matrices."""

from __future__ import annotations

from fractions import Fraction
from math import factorial, pi

import healpy
import numpy as np
import pytest

from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.harmonic import map2alm
from cmbfit.spectra import (
    Bins,
    Field,
    Noise,
    Transfer,
    estimate_bandpowers,
    field_alms,
    make_plan,
    mask_couplings,
    multi_covariance,
    prepare,
)  # fmt: skip
from cmbfit.spectra.binning import dl_factor
from cmbfit.spectra.correlations import FieldCorrelations
from cmbfit.spectra.coupling import Coupling, coupling
from cmbfit.spectra.covariance import BinnedCovariance, pseudo_covariance
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.gradients import eth_norm
from cmbfit.spectra.multi import Entry
from tests.spectra.simulation import input_dl
from tests.spectra.test_coupling import brute_force
from tests.spectra.test_exact import cap

LMAX = 20
W = np.random.default_rng(0).uniform(0.1, 1, 2 * LMAX + 1)
NAMES = ("x00", "x02", "xpp", "xmm")
BINS = Bins((2, 6, 11, 17))


@pytest.fixture(scope="module")
def exact() -> dict[str, np.ndarray]:
    """Sums over single 3j symbols; the spectrum is white, so nothing is small by itself."""
    return dict(zip(NAMES, brute_force(W, LMAX), strict=True))


def test_products_with_spectra(exact, rng) -> None:
    c, v = coupling(W, LMAX), rng.standard_normal(LMAX + 1)
    for name in NAMES:
        np.testing.assert_allclose(c.times(name, v), exact[name] @ v, atol=1e-14, err_msg=name)


def test_rectangular_products(exact, rng) -> None:
    c, v = coupling(W, 11, 17), rng.standard_normal(18)
    for name in NAMES:
        wanted = brute_force(np.pad(W[:29], (0, 6)), 17)[NAMES.index(name)][:12]
        np.testing.assert_allclose(c.times(name, v), wanted @ v, atol=1e-14, err_msg=name)
        np.testing.assert_allclose(
            c.product(name, v, (0, 3, 12)),
            np.add.reduceat(v[:12, None] * wanted, [0, 3]),
            atol=1e-14,
            err_msg=name,
        )


def test_bins_that_begin_at_odd_and_even_multipoles(exact) -> None:
    """Also with the factors of pure B, N_l = [(l - 2)! / (l + 2)!]^{1/2}."""
    c, down = coupling(W, LMAX), np.append([np.inf] * 2, eth_norm(LMAX)[2:])
    for name in NAMES:
        for n_pure in (0, 1, 2):
            wanted = (BINS.binning(LMAX) / down**n_pure) @ exact[name]
            np.testing.assert_allclose(c.binned(name, BINS, n_pure), wanted, atol=1e-14, err_msg=name)


def test_against_exact_rationals_at_high_multipoles() -> None:
    """(l1 l2 L; 0 0 0)^2 from factorials in exact integers; the mask's spectrum falls as that of a real one."""
    lmax = 200
    w = 1.0 / (1 + np.arange(2 * lmax + 1.0)) ** 3
    c = coupling(w, lmax)

    def square(l1: int, l2: int, big: int) -> float:
        total, half = l1 + l2 + big, (l1 + l2 + big) // 2
        root = Fraction(factorial(half), factorial(half - l1) * factorial(half - l2) * factorial(half - big))
        delta = Fraction(
            factorial(total - 2 * l1) * factorial(total - 2 * l2) * factorial(total - 2 * big),
            factorial(total + 1),
        )
        return float(root * root * delta)

    row = c.product("x00", np.eye(lmax + 1)[190], (0, lmax + 1))[0]
    for other in (188, 190, 200, 150):
        ell = range(abs(190 - other), 190 + other + 1, 2)
        wanted = sum((2 * big + 1) / (4 * pi) * w[big] * square(190, other, big) for big in ell)
        # rounding is absolute: 1e-14 of the largest element
        assert row[other] == pytest.approx(wanted, abs=1e-14 * row[190])


def test_full_sky_is_the_identity() -> None:
    w = np.zeros(2 * LMAX + 1)
    w[0] = 4 * np.pi
    c = coupling(w, LMAX)
    binning = BINS.binning(LMAX)
    for name in ("x00", "x02", "xpp"):
        found = c.binned(name, BINS) * (2 * np.arange(LMAX + 1) + 1)
        np.testing.assert_allclose(found, binning, atol=1e-13, err_msg=name)
    assert np.abs(c.binned("xmm", BINS)).max() < 1e-14
    one = Transfer(np.ones(LMAX + 1), np.ones(LMAX + 1))
    sky = Mask(np.ones(12 * 16**2), coord="G")
    master = prepare(sky, BINS, one, one, LMAX, mask_coupling=c)
    mean = BINS.indicator(LMAX) / np.diff(BINS.edges)[:, None]
    for name in ("tt", "te", "ee", "bb"):
        np.testing.assert_allclose(master.windows[name, name], mean, atol=1e-13)


@pytest.mark.parametrize("pure", [(False, False), (True, False), (True, True)])
def test_windows_are_those_of_the_matrices(exact, pure) -> None:
    """W = K^-1 B M b 2 pi / l (l + 1) written out for the four spectra of E and B, with a beam."""
    ell = np.arange(LMAX + 1.0)
    beam = np.exp(-ell * (ell + 1) / 800)
    one = Transfer(np.ones(LMAX + 1), beam)
    found = prepare(
        cap(60, 24, "C1"), BINS, one, one, LMAX, pure=pure, mask_coupling=coupling(W, LMAX)
    ).windows
    up = eth_norm(LMAX)
    down = np.divide(1, up, out=np.zeros(LMAX + 1), where=up > 0)
    zero, x00, x02 = np.zeros((LMAX + 1,) * 2), exact["x00"], exact["x02"]
    xpp, xmm = exact["xpp"], exact["xmm"]
    both, single = down[:, None] ** 2 * x00 * up**2, down[:, None] * x02 * up
    rows = {
        "ee": {"ee": xpp, "bb": xmm},
        "eb": {"eb": single} if pure[1] else {"eb": xpp, "be": -xmm},
        "be": {"be": single} if pure[0] else {"be": xpp, "eb": -xmm},
        "bb": {"bb": both} if all(pure) else {"bb": single} if any(pure) else {"bb": xpp, "ee": xmm},
    }
    padded = BINS.padded(LMAX)
    b, f = padded.binning(LMAX), padded.unbinning(LMAX)
    modes = (2 * ell + 1) * beam**2
    order = list(rows)
    m = np.block([[b @ (rows[i].get(j, zero) * modes) for j in order] for i in order])
    k = np.block([[b @ (rows[i].get(j, zero) * modes) @ f for j in order] for i in order])
    factor = dl_factor(LMAX)
    factor[:2] = np.inf
    windows = (np.linalg.solve(k, m) / np.tile(factor, 4)).reshape(4, padded.n, 4, LMAX + 1)[:, : BINS.n]
    for i, to in enumerate(order):
        for j, source in enumerate(order):
            window = found.get((to, source), np.zeros((BINS.n, LMAX + 1)))
            # a white mask spectrum is hard to invert; the numbers are of order one
            np.testing.assert_allclose(window, windows[i, :, j], atol=1e-9, err_msg=f"{to} {source}")


def survey_fields(noise: float = 0.02) -> list[Field]:
    """Fields of two splits: masks of T and of Q, U apart, pure B, hit counts and beams."""
    ell = np.arange(LMAX + 1.0)
    masks = [cap(60, 24, "C1"), cap(75, 30, "C2"), cap(70, 35, "C2")]
    z = healpy.pix2vec(16, np.arange(3072))[2]
    out = []
    for k in range(3):
        beam = np.exp(-ell * (ell + 1) * 1e-3 * k)
        level = np.full(LMAX + 1, noise)
        model = Noise(level + k, level, 1 + 0.5 * z if k == 0 else None)
        out.append(
            Field(f"f{k}", 2, masks[k], Transfer(beam, beam), model, k == 2, masks[1] if k == 0 else None)
        )
    return out


def test_binned_covariances_are_sums_of_whole_ones() -> None:
    """B C B^T, with C of ducc0's matrices: noise, hit counts, different masks and a pure field."""
    fields, bins = survey_fields(), BINS.padded(LMAX)
    corr = FieldCorrelations(fields, cl_from_dl(input_dl(), LMAX), LMAX)
    entries = [
        Entry(s, a, b)
        for s, a, b in (
            ("tt", "f0", "f0"), ("te", "f0", "f1"), ("ee", "f0", "f1"), ("bb", "f0", "f1"), ("eb", "f1", "f2"),
            ("bb", "f2", "f2"), ("tb", "f2", "f0"), ("bb", "f1", "f2"),
        )
    ]  # fmt: skip
    pairs = [(one, two) for k, one in enumerate(entries) for two in entries[: k + 1]]
    found = BinnedCovariance(corr, bins, pairs)
    binning = bins.binning(LMAX)
    variance = {e: np.diag(binning @ pseudo_covariance(corr, e, e) @ binning.T) for e in entries}
    for one, two in pairs:
        wanted = binning @ pseudo_covariance(corr, one, two) @ binning.T
        scale = np.sqrt(np.outer(variance[one], variance[two]))
        np.testing.assert_allclose(
            found.block(one, two) / scale, wanted / scale, atol=1e-10, err_msg=f"{one} {two}"
        )


@pytest.mark.slow
def test_nothing_makes_a_whole_matrix_and_each_mask_is_transformed_once(monkeypatch) -> None:
    """What made a plan of six maps dear: four matrices of lmax^2 for every pair of masks, transforms for every pair."""
    calls = []

    def forbidden(*_: object) -> None:
        raise AssertionError("a whole coupling matrix")

    def counted(maps: np.ndarray, *args: object) -> np.ndarray:
        calls.append(maps.tobytes())
        return map2alm(maps, *args)

    monkeypatch.setattr(Coupling, "matrix", forbidden)
    monkeypatch.setattr(mask_couplings, "map2alm", counted)
    fields = survey_fields(noise=1e3)  # white noise leads: positive definite down to l = 2
    plan = make_plan(fields, BINS, LMAX)
    assert len(calls) == len(set(calls)) == 3
    blank = [StokesMap(*np.ones((3, 3072)), coord="G")] * 2
    alms = {f.name: field_alms(Field(f.name, blank, f.mask, f.transfer), LMAX) for f in fields}
    assert np.isfinite(estimate_bandpowers(plan, alms)).all()
    matrix = multi_covariance(plan, fields, cl_from_dl(input_dl(), LMAX))
    assert matrix.shape == (len(plan.entries) * BINS.n,) * 2
    assert len(calls) == 3


@pytest.mark.parametrize("spin", [0, 2])
def test_transforms_of_masked_maps_leave_empty_rings_out(spin, rng) -> None:
    """The pixel sum of healpy, where a band of rings, a hemisphere and everything is masked."""
    z = healpy.pix2vec(16, np.arange(3072))[2]
    maps = rng.standard_normal((1 if spin == 0 else 2, 3072))
    for kept in (np.abs(z) > 0.4, z > 0.2, z > 2):
        sky = maps * kept
        if spin == 0:
            wanted = healpy.map2alm(sky[0], lmax=30, iter=0)[None]
        else:
            wanted = np.array(healpy.map2alm_spin(sky, 2, lmax=30))
        np.testing.assert_allclose(map2alm(sky, 30, spin, 0), wanted, atol=1e-13)
