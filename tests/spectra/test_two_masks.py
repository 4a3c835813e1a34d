"""T and polarisation behind masks of their own: exact means and variances, simulated skies, splits that do not meet."""

from __future__ import annotations

import logging
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from cmbfit.errors import MapError, SpectrumError
from cmbfit.sky import Mask, StokesMap
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.combination import combine
from cmbfit.spectra.covariance import multi_covariance, smallest_eigenvalue
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.fields import Field, split_pairs
from cmbfit.spectra.gradients import mask_derivatives
from cmbfit.spectra.mask_couplings import MaskCouplings
from cmbfit.spectra.master import Transfer, couple, prepare
from cmbfit.spectra.multi import (
    Entry,
    estimate_bandpowers,
    field_alms,
    make_plan,
    mean_pseudo,
    noise_from_splits,
)
from cmbfit.spectra.product import read_spectra, write_combined
from cmbfit.spectra.purify import pure_alms
from cmbfit.spectra.transforms import SPECTRA, masked_alms, pseudo_spectra
from tests.spectra import exact
from tests.spectra.fields_simulation import NPIX, FieldSky, make_fields, simulate
from tests.spectra.simulation import EDGES, input_dl
from tests.spectra.simulation import LMAX as TOP
from tests.spectra.test_exact import ELL, FALLING, LMAX, binned, cap, correlation, field

LOG = logging.getLogger(__name__)
WIDE, NARROW = cap(75, 20, "C1"), cap(55, 24, "C1")
ALL = {"tt": 10 * FALLING, "ee": FALLING, "bb": 0.1 * FALLING, "te": FALLING, "eb": 0.3 * FALLING}
ALL["tb"] = 0.5 * FALLING
EVEN = {k: v for k, v in ALL.items() if k not in {"eb", "tb"}}


def trace(g: np.ndarray, p: str, q: str) -> np.ndarray:
    """Return the exact mean pseudo-spectrum of two fields of one map."""
    ell = exact.real_basis(LMAX)[0]
    return np.bincount(ell, np.diag(g["teb".index(p), :, "teb".index(q)])) / (2 * ELL + 1)


@pytest.fixture(scope="module", params=["wide T", "narrow T"])
def two(request) -> tuple[Field, exact.Exact, np.ndarray]:
    t, p = (WIDE, NARROW) if request.param == "wide T" else (NARROW, WIDE)
    e = exact.Exact.of(t, LMAX, partial(masked_alms, mask_p=p))
    return replace(field(t), mask_p=p), e, e.correlation(e, EVEN)


def test_pseudo_spectra_on_average(two) -> None:
    """<C~> of all spectra: the couplings of T-T, T-P and P-P masks, to rounding."""
    f, e, _ = two
    expected = couple(ALL, MaskCouplings(LMAX).pair(f, f), f.transfer, f.transfer)
    g = e.correlation(e, ALL)
    for p, q in ("tt", "te", "et", "ee", "eb", "be", "bb", "tb", "bt"):
        np.testing.assert_allclose(trace(g, p, q)[2:], expected[p + q][2:], rtol=1e-11, err_msg=p + q)


def test_variances(two) -> None:
    """Measured: 1-6 %, TB to 12 % at l 6-9. With one mask for both TE would be off by a factor."""
    f, _, g = two
    cl = EVEN
    limits = {
        "tttt": 0.03, "tete": 0.07, "eeee": 0.04, "bbbb": 0.07, "ebeb": 0.06, "tbtb": 0.13, "ttte": 0.06,
        "teee": 0.1, "ttee": 0.18,
    }  # fmt: skip
    for name, limit in limits.items():
        found, wanted = binned(f, cl, g, name)
        ratio = np.diag(found) / np.diag(wanted)
        assert np.abs(ratio - 1).max() < limit, (name, ratio)
        if name[:2] == name[2:]:
            np.testing.assert_allclose(correlation(found), correlation(wanted), atol=0.07, err_msg=name)
    for mask in (f.mask, f.mask_of("e")):
        one_mask, wanted = binned(field(mask), cl, g, "tete")
        assert np.abs(np.diag(one_mask) / np.diag(wanted) - 1).min() > 0.15


def test_t_meets_b_where_the_mask_of_b_falls_off(two) -> None:
    """Cov(TT, BB) = 2 <T~ B~>^2: with a flat mask of T it is large, with a mask of T inside that of B it is nothing."""
    f, _, g = two
    cl = EVEN
    found, wanted = (np.diag(x) for x in binned(f, cl, g, "ttbb"))
    scale = np.sqrt(np.diag(binned(f, cl, g, "tttt")[1]) * np.diag(binned(f, cl, g, "bbbb")[1]))
    # correlation coefficients: 0.057 to 0.01 where T is wide, 0.005 to 0.00005, of higher order, where it is narrow
    np.testing.assert_allclose(found / scale, wanted / scale, atol=0.006)
    assert (found[0] / scale[0] > 0.03) == (f.mask is WIDE)


@pytest.mark.slow
def test_pure_b_behind_its_own_mask() -> None:
    t, p = cap(75, 20, "C1"), cap(70, 35, "C2")
    f = replace(field(t), mask_p=p, purify_b=True)
    analyse = partial(pure_alms, derivatives=mask_derivatives(p), mask_p=p)
    e = exact.Exact.of(t, LMAX, analyse)
    g = e.correlation(e, ALL)
    expected = couple(ALL, MaskCouplings(LMAX).pair(f, f), f.transfer, f.transfer, (True, True))
    for p_, q in ("tt", "te", "ee", "eb", "bb", "tb"):
        found = trace(g, p_, q)
        # as with one mask: nside 16 pixels leave a per cent of the leakage
        np.testing.assert_allclose(found[5:22], expected[p_ + q][5:22], rtol=0.03, err_msg=p_ + q)


@pytest.fixture(scope="module")
def fields() -> list[Field]:
    """V: galactic cut for T, tilted mask for Q, U; W: the other way round."""
    v, w = make_fields()
    return [replace(v, mask_p=w.mask, survey="one"), replace(w, mask_p=v.mask, survey="one")]


def test_splits_of_one_survey_do_not_meet(fields) -> None:
    one, two = fields
    assert split_pairs(one, two) == [(0, 1), (1, 0)]
    assert len(split_pairs(one, replace(two, survey="other"))) == 4
    alms = FieldSky(input_dl(), fields).draw(np.random.default_rng(2))
    every = [pseudo_spectra(alms["V"][s], alms["W"][t]) for s, t in split_pairs(one, two)]
    found = mean_pseudo(alms["V"], alms["W"], equal=False)
    for s in SPECTRA:
        explicit = np.mean([x[s] for x in every], axis=0)
        np.testing.assert_allclose(found[s], explicit, atol=1e-11 * np.abs(found["tt"]).max(), err_msg=s)
    plan = make_plan(fields, Bins(EDGES), TOP)
    assert plan.apart == {("V", "W")}
    # what the first splits of both share does not reach the cross-spectrum
    zero = replace(alms["V"][0], t=0 * alms["V"][0].t)
    shared = [alms["V"][0], zero]
    np.testing.assert_allclose(mean_pseudo(shared, shared, equal=False)["tt"], 0, atol=1e-9)
    assert mean_pseudo(shared, shared)["tt"][2:40].min() > 0
    with pytest.raises(SpectrumError, match="V x W: the one split"):
        split_pairs(*(replace(f, splits=f.splits[:1], noise=None) for f in fields))


def test_plan_and_noise_take_the_right_mask(fields) -> None:
    """TE of V and W lies behind V's mask of T and W's of Q, U; noise of Q, U is divided by its own mask."""
    plan = make_plan(fields, Bins(EDGES), TOP)
    v, w = fields
    te = prepare(v.mask, Bins(EDGES), v.transfer, w.transfer, TOP, w.mask_of("e")).windows["te", "te"]
    np.testing.assert_allclose(plan.masters["V", "W"].windows["te", "te"], te, rtol=1e-10, atol=1e-15)
    rng = np.random.default_rng(8)
    sigma = np.array([[28.0], [40.0], [40.0]])
    maps = [StokesMap(*(sigma * rng.standard_normal((3, NPIX))), coord="G") for _ in range(2)]
    noise = noise_from_splits(replace(v, splits=maps), Bins(EDGES), TOP)
    # one bin of width 11 holds about 1200 modes of two splits: 3 %; the masks' <w^2> differ by 20 %
    for found, level in ((noise.t, 28.0), (noise.p, 40.0)):
        assert np.mean(found[30:80]) == pytest.approx(level**2 * 4 * np.pi / NPIX, rel=0.06)


@pytest.mark.slow
def test_a_few_skies(fields) -> None:
    check_skies(fields, 50, 0.5)


@pytest.mark.slow
def test_many_skies(fields) -> None:
    ratio, pull = check_skies(fields, 600, 0.2)
    rms = np.sqrt(np.mean(pull**2))
    LOG.info("600 skies, two masks: variances over prediction %.3f, rms pull %.2f", ratio.mean(), rms)


def check_skies(fields: list[Field], n: int, low: float) -> tuple[np.ndarray, np.ndarray]:
    """Check 21 spectra of two fields with two masks each: mean, variances (`low`: more at l 2-4), covariance of TE with all."""
    plan, dl = make_plan(fields, Bins(EDGES), TOP), input_dl()
    matrix = multi_covariance(plan, fields, cl_from_dl(dl, TOP))
    assert smallest_eigenvalue(matrix) > 0.005
    found = simulate(FieldSky(dl, fields), plan, np.random.default_rng(77), n)
    sd = np.sqrt(np.diag(matrix)).reshape(found.shape[1:])
    pull = (found.mean(axis=0) - plan.theory(dl)) / sd * np.sqrt(n)
    assert np.abs(pull).max() < 4.5
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1, abs=0.3)
    ratio, error = found.var(axis=0, ddof=1) / sd**2, np.sqrt(2 / n)
    assert np.abs(ratio[:, 1:] - 1).max() < 4.5 * error + 0.03
    assert np.abs(ratio[:, 0] - 1).max() < 4.5 * error + low
    assert ratio.mean() == pytest.approx(1, abs=0.02 + 0.3 * error)
    te = [k for k, e in enumerate(plan.entries) if e.spectrum in {"te", "et"}]
    x = ((found - found.mean(axis=0)) / sd).reshape(n, -1)
    wanted = matrix / np.outer(sd, sd)
    bins = plan.bins.n
    rows = np.concatenate([np.arange(k * bins + 1, (k + 1) * bins) for k in te])
    delta = (x[:, rows].T @ x / n - wanted[rows])[:, np.arange(x.shape[1]) % bins > 0]
    spread = np.sqrt((1 + wanted[rows] ** 2) / n)[:, np.arange(x.shape[1]) % bins > 0]
    assert np.sqrt(np.mean((delta / spread) ** 2)) == pytest.approx(1, abs=0.12)
    return ratio, pull


def test_what_the_map_sees_of_t_in_e_is_in_the_windows() -> None:
    """E' = E + c T: windows with a leaking beam on one sky equal those without on the sky TE' = TE + c TT, ..."""
    leak = 0.05 * np.exp(-0.5 * (ELL / 20) ** 2)
    one = np.ones(LMAX + 1)
    bins, mask = Bins((2, 8, 14, 20)), NARROW
    leaky = prepare(mask, bins, Transfer(one, one, leak), Transfer(one, one), LMAX)
    plain = prepare(mask, bins, Transfer(one, one), Transfer(one, one), LMAX)
    dl = {k: v * ELL * (ELL + 1) for k, v in ALL.items()}
    # map a leaks, map b does not
    seen = {
        **dl, "et": dl["te"] + leak * dl["tt"], "be": dl["eb"], "bt": dl["tb"], "eb": dl["eb"] + leak * dl["tb"],
        "ee": dl["ee"] + leak * dl["te"],
    }  # fmt: skip
    found, wanted = leaky.bin_theory(dl), plain.bin_theory(seen)
    for s in SPECTRA:
        np.testing.assert_allclose(found[s], wanted[s], rtol=1e-10, err_msg=s)
    assert np.abs(found["et"] / plain.bin_theory(dl)["et"] - 1).max() > 0.1
    # and of its B: T's parity makes TB and EB of it
    leaky_b = prepare(mask, bins, Transfer(one, one, leak, 2 * leak), Transfer(one, one), LMAX)
    seen |= {"bt": dl["tb"] + 2 * leak * dl["tt"], "be": dl["eb"] + 2 * leak * dl["te"],
             "bb": dl["bb"] + 2 * leak * dl["tb"]}  # fmt: skip
    found, wanted = leaky_b.bin_theory(dl), plain.bin_theory(seen)
    for s in SPECTRA:
        np.testing.assert_allclose(found[s], wanted[s], rtol=1e-10, err_msg=s)
    both = prepare(mask, bins, Transfer(one, one, leak), Transfer(one, one, leak), LMAX)
    ee = plain.bin_theory({**dl, "ee": dl["ee"] + 2 * leak * dl["te"] + leak**2 * dl["tt"]})["ee"]
    np.testing.assert_allclose(both.bin_theory(dl)["ee"], ee, rtol=1e-10)
    # the mean pseudo-spectra of the covariance know it as well
    cl = dict(ALL)
    np.testing.assert_allclose(
        leaky.couple(cl)["et"], plain.couple({**cl, "et": cl["te"] + leak * cl["tt"]})["et"], rtol=1e-12
    )
    with pytest.raises(SpectrumError, match="up to l = 9"):
        prepare(mask, bins, Transfer(one, one, leak[:10]), Transfer(one, one), LMAX)


def test_leakage_of_t_reaches_the_product(tmp_path, fields) -> None:
    """Combined windows, written and read back, give the expected data vector of the plan."""
    ell = np.arange(TOP + 1)
    v, w = fields
    leaky = [
        replace(
            v,
            transfer=replace(
                v.transfer, t_to_e=0.03 * v.transfer.t * (ell / TOP), t_to_b=0.01 * v.transfer.t
            ),
        ),
        w,
    ]
    plan = make_plan(leaky, Bins(EDGES), TOP)
    dl = input_dl()
    weights = np.diag(np.linspace(1, 2, len(plan.entries) * plan.bins.n))  # any covariance will do
    data = combine(plan, plan.theory(dl), weights)
    write_combined(tmp_path / "x.sacc.fits", data)
    back = read_spectra(tmp_path / "x.sacc.fits")
    assert back.windows["te", "tt"].shape == (plan.bins.n, TOP + 1)
    expected = back.theory(dl)
    for name in data.names:
        np.testing.assert_allclose(expected[name], data.values[name], rtol=1e-9, atol=1e-9, err_msg=name)
    without = {k: x for k, x in back.windows.items() if k != ("te", "tt")}
    assert np.abs(replace(back, windows=without).theory(dl)["te"] / data.values["te"] - 1).max() > 0.005
    assert back.windows["tb", "tt"].any()


def test_refusals(fields) -> None:
    v = fields[0]
    with pytest.raises(MapError, match="nside"):
        replace(v, mask_p=Mask(np.ones(48), coord="G"))
    with pytest.raises(MapError, match="coordinates"):
        replace(v, mask_p=Mask(np.ones(NPIX), coord="C"))
    holed = np.zeros((3, NPIX))
    holed[:, np.flatnonzero(v.mask_of("e").support & ~v.mask.support)[0]] = np.nan
    with pytest.raises(MapError, match="1 pixels with NaN"):
        field_alms(replace(v, splits=[StokesMap(*holed, coord="G")]), TOP)
    with pytest.raises(SpectrumError, match="apodised"):
        replace(v, mask_p=Mask((np.arange(NPIX) < NPIX // 2).astype(float), coord="G"), purify_b=True)
    plan = make_plan(fields, Bins(EDGES), TOP)
    assert Entry("te", "V", "W") in plan.entries
    assert estimate_bandpowers(plan, FieldSky(input_dl(), fields).draw(np.random.default_rng(0))).shape == (
        21, len(EDGES) - 1,
    )  # fmt: skip
