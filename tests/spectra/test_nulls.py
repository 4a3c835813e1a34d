"""Null tests pass on clean skies and fail on planted faults."""

from __future__ import annotations

import json
from dataclasses import replace

import healpy
import numpy as np
import pytest
from scipy import stats

from cmbfit.errors import SpectrumError
from cmbfit.sky import StokesMap
from cmbfit.sky.harmonic import alm2map
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.combination import combine
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.fields import Field, Noise, noise_from_hits
from cmbfit.spectra.multi import Entry, Plan, estimate_bandpowers, field_alms, make_plan
from cmbfit.spectra.nulls import (
    band_difference,
    difference_checks,
    half_difference_noise,
    noise_level_checks,
    null_checks,
    parity_checks,
    split_difference,
    u_sign_check,
)
from cmbfit.spectra.transforms import pseudo_spectra
from tests.spectra.fields_simulation import NPIX, make_fields
from tests.spectra.simulation import EDGES, LMAX, NSIDE, input_dl, to_cl

BINS = Bins(EDGES[1:])
SIGMA = 8.0


def sky_map(rng: np.random.Generator, dl: dict[str, np.ndarray], beam: np.ndarray) -> np.ndarray:
    np.random.seed(int(rng.integers(2**31)))  # noqa: NPY002
    zero = np.zeros(LMAX + 1)
    cls = [to_cl(dl.get(k, zero)) for k in ("tt", "ee", "bb", "te", "eb", "tb")]
    alms = [healpy.almxfl(x, beam) for x in healpy.synalm(cls, lmax=LMAX, new=True)]
    parts = alm2map(np.array(alms[:1]), NSIDE, 0), alm2map(np.array(alms[1:]), NSIDE, 2)
    return np.concatenate(parts)


def noisy(rng: np.random.Generator, sky: np.ndarray, field: Field, factor: float = 1.0) -> StokesMap:
    depth = field.noise_of(0).depth
    sigma = SIGMA * np.sqrt(depth) * np.sqrt(field.noise_of(0).p[2] / (SIGMA**2 * 4 * np.pi / NPIX))
    scale = np.array([[0.5**0.5], [1], [1]]) * sigma * factor
    return StokesMap(*(sky + scale * rng.standard_normal((3, NPIX))), coord="G", name=field.name)


def with_maps(rng: np.random.Generator, n: int, faults: dict[int, float] | None = None) -> Field:
    """Field V with n splits of one sky; a fault multiplies the sky (gain error) of one split."""
    field = make_fields(n)[0]
    sky = sky_map(rng, input_dl(), field.transfer.t)
    gains = [(faults or {}).get(k, 1.0) for k in range(n)]
    return replace(field, splits=[noisy(rng, g * sky, field) for g in gains])


def split_rows(field: Field, plan: Plan | None = None) -> list[dict]:
    null = split_difference(field)
    plan = plan or make_plan([null], BINS)
    return null_checks("splits", plan, estimate_bandpowers(plan, {null.name: field_alms(null, LMAX)}), null)


def test_split_differences_hold_no_sky(monkeypatch: pytest.MonkeyPatch) -> None:
    """PTEs of 40 skies x 6 spectra are uniform: mean zero and the right noise covariance at once."""
    rng = np.random.default_rng(31)
    null = split_difference(with_maps(rng, 4))
    plan = make_plan([null], BINS)
    # of masks and noise alone, which all skies share: computed once
    matrix = multi_covariance(plan, [null], {"tt": np.zeros(plan.lmax + 1)})
    monkeypatch.setattr("cmbfit.spectra.nulls.multi_covariance", lambda *_: matrix)
    rows = [split_rows(with_maps(rng, 4), plan) for _ in range(40)]
    ptes = np.array([[r["value"] for r in sky] for sky in rows])
    assert ptes.shape == (40, 6)
    assert stats.kstest(ptes.ravel(), "uniform").pvalue > 1e-3
    json.dumps(rows[0], allow_nan=False)


def test_a_gain_error_fails_the_split_null() -> None:
    # 2 % of the sky is left in each of the two differences
    rows = split_rows(with_maps(np.random.default_rng(32), 4, {0: 1.04, 2: 1.04}))
    assert not rows[0]["pass"]
    assert rows[0]["name"] == "splits, TT PTE"


def test_band_difference() -> None:
    rng = np.random.default_rng(33)
    one = with_maps(rng, 2)
    field = replace(one, name="X")
    sky = sky_map(rng, input_dl(), field.transfer.t)
    pair = [
        replace(f, splits=[noisy(rng, gain * sky, f) for _ in range(2)])
        for f, gain in ((one, 1.0), (field, 1.0))
    ]
    broken = [pair[0], replace(pair[1], splits=[noisy(rng, 1.05 * sky, field) for _ in range(2)])]
    passed = []
    for bands in (pair, broken):
        null = band_difference(*bands)
        plan = make_plan([null], BINS)
        values = estimate_bandpowers(plan, {null.name: field_alms(null, LMAX)})
        passed.append([r["pass"] for r in null_checks("V - X", plan, values, null)])
    assert all(passed[0])
    assert not passed[1][0]


def test_difference_of_spectra(two_fields) -> None:
    """V x V against V x W: different masks and beams; the sky that they do not share is in the covariance."""
    pairs = [(Entry(s, "V", "V"), Entry(s, "V", "W")) for s in ("tt", "ee", "bb", "te")]
    args = two_fields.plan, two_fields.covariance, pairs, two_fields.dl
    ptes = []
    for x in two_fields.few:
        rows = difference_checks(args[0], x, args[1], args[2], args[3])
        ptes.append([r["value"] for r in rows])
    for k, (one, _) in enumerate(pairs):
        # low bins of few modes are not Gaussian: the law holds to a few per cent. A covariance wrong by a fifth moves the
        # mean chi2 of nine bandpowers on 60 skies by three standard deviations
        assert stats.kstest(np.array(ptes)[:, k], "uniform").pvalue > 1e-4, one
    wrong = two_fields.few[0].copy()
    wrong[0] *= 1.2
    assert not difference_checks(args[0], wrong, args[1], args[2], args[3])[0]["pass"]
    with pytest.raises(SpectrumError, match="two different ones"):
        difference_checks(args[0], wrong, args[1], [(pairs[0][0], pairs[0][0])], args[3])


def test_parity_nulls(two_fields) -> None:
    """PTEs of EB and TB are uniform about the input, and a miscalibrated angle of 5 degrees fails."""
    expected = combine(two_fields.plan, two_fields.theory, two_fields.covariance).values
    ptes = []
    for x in two_fields.few:
        data = combine(two_fields.plan, x, two_fields.covariance)
        centred = {s: v - expected[s] if s in ("eb", "tb") else v for s, v in data.values.items()}
        rows = parity_checks(replace(data, values=centred))
        ptes.append([r["value"] for r in rows])
    assert [r["name"] for r in rows] == ["EB null PTE", "TB null PTE"]
    for k in range(2):
        assert stats.kstest(np.array(ptes)[:, k], "uniform").pvalue > 1e-4
    # rotation by beta: EB' = sin(4 beta) (EE - BB) / 2
    rotated = centred | {
        "eb": centred["eb"] + 0.5 * np.sin(np.radians(20)) * (expected["ee"] - expected["bb"])
    }
    assert not parity_checks(replace(data, values=rotated))[0]["pass"]


def test_u_sign() -> None:
    """Maps in the IAU convention read as COSMO: half of EE turns up in BB."""
    rng = np.random.default_rng(35)
    field = make_fields(2)[0]
    dl = {k: v for k, v in input_dl().items() if k != "bb"}
    sky = sky_map(rng, dl, field.transfer.t)
    plan = make_plan([field], Bins(EDGES))
    matrix = multi_covariance(plan, [field], cl_from_dl(dl, LMAX))
    rows = []
    for sign in (1, -1):
        flipped = sky * np.array([[1], [1], [sign]])
        splits = [noisy(rng, flipped, field) for _ in range(2)]
        values = estimate_bandpowers(plan, {"V": field_alms(replace(field, splits=splits), LMAX)})
        rows.append(u_sign_check(combine(plan, values, matrix), dl))
    assert rows[0]["pass"]
    assert abs(rows[0]["value"]) < 0.05
    assert not rows[1]["pass"]
    assert rows[1]["value"] == pytest.approx(0.5, abs=0.1)


def test_noise_level_from_half_rings() -> None:
    rng = np.random.default_rng(36)
    field = make_fields(1)[0]
    results = []
    for factor in (1.0, 1.2):
        halves = [noisy(rng, np.zeros((3, NPIX)), field, factor) for _ in range(2)]
        half = StokesMap(*(0.5 * (halves[0].iqu - halves[1].iqu)), coord="G")
        noise = half_difference_noise(field.noise_of(0), field.noise_of(0))
        null = Field("half-ring", [half], field.mask, field.transfer, noise)
        alms = field_alms(null, LMAX)[0]
        results.append(noise_level_checks(null, dict(pseudo_spectra(alms, alms)), 10, 80))
    assert all(r["pass"] for r in results[0])
    assert [r["value"] for r in results[1]] == pytest.approx([0.44] * 3, abs=0.1)
    assert not any(r["pass"] for r in results[1])


def test_noise_of_a_half_difference() -> None:
    one, two = Noise(np.ones(9), 2 * np.ones(9)), Noise(3 * np.ones(9), 6 * np.ones(9), np.full(12, 2.0))
    both = half_difference_noise(one, two)
    np.testing.assert_allclose(both.p[:, None] * both.depth, np.full((9, 12), (2 + 6 * 2) / 4))
    assert half_difference_noise(one, one).depth is None


def test_refusals() -> None:
    fields = make_fields(2)
    with pytest.raises(SpectrumError, match="even number from 4"):
        split_difference(fields[0])
    with pytest.raises(SpectrumError, match="one mask"):
        band_difference(*fields)
    same = replace(fields[1], mask=fields[0].mask)
    with pytest.raises(SpectrumError, match="beams differ"):
        band_difference(fields[0], same)
    with pytest.raises(SpectrumError, match="2 <= lmin"):
        noise_level_checks(fields[0], {}, 5, 5)
    assert noise_from_hits(np.ones(NPIX), 1, 1, LMAX).depth is not None
