"""Several fields, masks and splits: unbiased spectra, covariance against simulated skies, combination."""

from __future__ import annotations

from dataclasses import replace

import healpy
import numpy as np
import pytest
from scipy import stats

from cmbfit.errors import MapError, SpectrumError
from cmbfit.sky import Mask, StokesMap
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.combination import combination_weights, combine
from cmbfit.spectra.covariance import multi_covariance, smallest_eigenvalue
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.fields import Field, Noise, noise_from_hits, split_pairs
from cmbfit.spectra.mask_couplings import MaskCouplings
from cmbfit.spectra.multi import (
    Entry,
    estimate_bandpowers,
    field_alms,
    make_plan,
    mean_pseudo,
    noise_from_splits,
)
from cmbfit.spectra.product import COMBINED
from cmbfit.spectra.transforms import SPECTRA, pseudo_spectra
from tests.spectra.fields_simulation import NPIX, FieldSky, make_fields, simulate
from tests.spectra.simulation import EDGES, LMAX, NSIDE, input_dl

N_UNBIASED = 200


def pulls(mc) -> np.ndarray:
    """Bias of the mean of the first 200 skies in units of one sky's error."""
    x = mc.found[:N_UNBIASED]
    return (x.mean(axis=0) - mc.theory) / mc.found.std(axis=0)


@pytest.mark.slow
def test_all_pairs_of_fields_are_unbiased(two_fields) -> None:
    """Auto-like (cross-split) and cross-spectra, EB, BE, TB and BT: 200 skies scatter by 0.07 on their own."""
    bias = pulls(two_fields)
    assert two_fields.plan.entries[0] == Entry("tt", "V", "V")
    assert bias.shape == (6 + 9 + 6, len(EDGES) - 1)
    assert np.sqrt(np.mean(bias**2)) < 0.1
    assert np.abs(bias).max() < 4.2 / np.sqrt(N_UNBIASED)  # 189 numbers, correlated


@pytest.mark.slow
def test_a_few_skies_of_all_pairs(two_fields) -> None:
    """60 skies through windows and covariance: pulls of 189 bandpowers, and their scatter over the predicted one."""
    few = two_fields.few
    sd = np.sqrt(np.diag(two_fields.covariance)).reshape(two_fields.theory.shape)
    pull = (few.mean(axis=0) - two_fields.theory) / sd * np.sqrt(len(few))
    assert np.abs(pull).max() < 4.5
    assert np.sqrt(np.mean(pull**2)) == pytest.approx(1, abs=0.3)  # correlated between fields
    # a variance of 60 skies scatters by 18 %, the mean of 189 of them by some 3 %
    assert (few.var(axis=0, ddof=1) / sd**2).mean() == pytest.approx(1, abs=0.1)


def test_splits_remove_a_large_noise_bias(two_fields) -> None:
    """The auto-spectrum of one noisy split is off by many sigma where the cross-split mean is not."""
    fields = make_fields(sigma=30.0)
    sky, rng = FieldSky(input_dl(), fields), np.random.default_rng(5)
    master = two_fields.plan.masters["V", "V"]
    ee = [[], []]
    for _ in range(30):
        splits = sky.draw(rng)["V"]
        ee[0].append(master.decouple(pseudo_spectra(splits[0], splits[0]))["ee"])
        ee[1].append(master.decouple(mean_pseudo(splits))["ee"])
    expected = master.bin_theory(input_dl())["ee"]
    pull = [(np.mean(x, axis=0) - expected) / (np.std(x, axis=0) / np.sqrt(30)) for x in ee]
    assert pull[0][1:].min() > 10
    assert np.abs(pull[1]).max() < 4


def test_mean_over_split_pairs_is_the_explicit_one(two_fields) -> None:
    fields = make_fields(n_splits=3)
    alms = FieldSky(input_dl(), fields).draw(np.random.default_rng(2))
    for a, b in (("V", "V"), ("V", "W")):
        one, two = (next(f for f in fields if f.name == n) for n in (a, b))
        every = [pseudo_spectra(alms[a][s], alms[b][t]) for s, t in split_pairs(one, two)]
        assert len(every) == (6 if a == b else 9)
        found = mean_pseudo(alms[a], None if a == b else alms[b])
        for s in SPECTRA:
            explicit = np.mean([x[s] for x in every], axis=0)
            # the difference of two large sums: a few ulp of the auto-spectra
            np.testing.assert_allclose(found[s], explicit, atol=1e-11 * np.abs(found["tt"]).max(), err_msg=s)


@pytest.mark.slow
def test_variances_of_all_spectra(two_fields) -> None:
    """Analytic variances within the error of 600 skies; 20 % for l 2-4, where a narrow kernel is no limit."""
    found, matrix = two_fields.found, two_fields.covariance
    ratio = found.var(axis=0) / np.diag(matrix).reshape(two_fields.theory.shape)
    error = np.sqrt(2 / len(found))
    assert np.abs(ratio[:, 1:] - 1).max() < 4 * error + 0.03
    assert np.abs(ratio[:, 0] - 1).max() < 4 * error + 0.2
    assert abs(ratio.mean() - 1) < 0.02
    assert smallest_eigenvalue(matrix) > 0.01


@pytest.mark.slow
def test_correlations_between_all_pairs(two_fields) -> None:
    """All 189 x 188 / 2 correlation coefficients at once: their scatter is that of 600 skies."""
    n = len(two_fields.found)
    y = two_fields.found.reshape(n, -1)
    sample = np.corrcoef(y, rowvar=False)
    sd = np.sqrt(np.diag(two_fields.covariance))
    wanted = two_fields.covariance / np.outer(sd, sd)
    upper = np.triu_indices_from(wanted, 1)
    z = (np.arctanh(sample[upper]) - np.arctanh(wanted[upper])) * np.sqrt(n - 3)
    assert z.std() == pytest.approx(1, abs=0.05)
    assert np.abs(z).max() < 5.5
    strong = np.abs(wanted[upper]) > 0.5  # between V and W: not trivial to get right
    assert strong.sum() > 30
    assert z[strong].std() < 1.5


@pytest.mark.slow
def test_covariance_with_noise_that_follows_the_hits(two_fields) -> None:
    """Noise-dominated BB: uniform noise of the same mean is visibly worse than noise weighed by hits."""
    fields = [f for f in make_fields(sigma=60.0) if f.name == "V"]
    z = np.linspace(-1, 1, NPIX)  # RING pixels go from north to south: a steep gradient of depth
    fields = [replace(f, noise=noise_from_hits(np.exp(2.5 * z), 30, 60, LMAX)) for f in fields]
    plan = make_plan(fields, Bins((2, 20, 40, 60)))
    found = simulate(FieldSky(two_fields.dl, fields), plan, np.random.default_rng(3), 400)
    signal, k = cl_from_dl(two_fields.dl, LMAX), [e.spectrum for e in plan.entries].index("bb")
    uniform = [replace(f, noise=Noise(f.noise_of(0).t, f.noise_of(0).p)) for f in fields]
    ratio = [
        found.var(axis=0)[k] / np.diag(multi_covariance(plan, f, signal)).reshape(-1, 3)[k]
        for f in (fields, uniform)
    ]
    assert ratio[0] == pytest.approx(1, abs=4 * np.sqrt(2 / 400))
    assert ratio[1].min() > 1.4


@pytest.mark.slow
def test_combination_is_unbiased_and_no_worse_than_any_part(two_fields) -> None:
    plan, matrix = two_fields.plan, two_fields.covariance
    weights = combination_weights(plan, matrix)
    np.testing.assert_allclose(weights.sum(axis=2), 1, rtol=1e-12)
    both = [combine(plan, x, matrix) for x in two_fields.found]
    data = both[0]
    expected = data.theory(two_fields.dl)
    for k, name in enumerate(COMBINED):
        values = np.array([x.values[name] for x in both])
        pull = (values.mean(axis=0) - expected[name]) / values.std(axis=0) * np.sqrt(len(both))
        assert np.abs(pull).max() < 4, name
        ratio = values.var(axis=0) / data.error(name) ** 2
        assert np.abs(ratio - 1).max() < 4 * np.sqrt(2 / len(both)) + 0.1, name
        for i, entry in enumerate(plan.entries):
            if entry.spectrum in (name, name[::-1]):
                single = np.sqrt(np.diag(matrix).reshape(two_fields.theory.shape)[i])
                assert (data.error(name) <= single * (1 + 1e-12)).all()
        np.testing.assert_allclose(data.windows[name, name].sum(axis=1), 1, atol=1e-9)
        assert weights[k].max() <= 3  # no wild cancellation between nearly equal spectra


@pytest.mark.slow
def test_chi2_of_the_combination(two_fields) -> None:
    """All six combined spectra at once against the theory: chi2 follows its law."""
    n = len(two_fields.found)
    both = [combine(two_fields.plan, x, two_fields.covariance) for x in two_fields.found]
    expected = both[0].theory(two_fields.dl)
    delta = np.array([np.concatenate([x.values[s] - expected[s] for s in COMBINED]) for x in both])
    keep = np.arange(delta.shape[1]) % (len(EDGES) - 1) > 0  # without l 2-4
    inverse = np.linalg.inv(both[0].covariance[np.ix_(keep, keep)])
    chi2 = np.einsum("ni,ij,nj->n", delta[:, keep], inverse, delta[:, keep])
    # a quadratic form of nearly Gaussian data: mean right to 3 %, width a little larger than chi2's
    assert chi2.mean() == pytest.approx(keep.sum(), rel=0.03)
    assert stats.kstest(chi2[: n // 3], stats.chi2(keep.sum()).cdf).pvalue > 1e-3


def test_noise_measured_from_splits(two_fields) -> None:
    """Recovers the level and undoes mask and depth."""
    fields = make_fields(sigma=40.0)
    field = fields[0]
    rng = np.random.default_rng(8)
    sigma = np.sqrt(field.noise_of(0).depth)
    splits = [
        StokesMap(*(np.array([[28.0], [40], [40]]) * sigma * rng.standard_normal((3, NPIX))), coord="G")
        for _ in range(2)
    ]
    true = noise_from_hits(np.ones(NPIX), 28.0, 40.0, LMAX)
    found = noise_from_splits(replace(field, splits=splits), Bins(EDGES), LMAX, field.noise_of(0).depth)
    # one bin of width 11 holds about 1200 modes of two splits: 3 %
    assert found.t[30:90] == pytest.approx(true.t[30:90], rel=0.12)
    assert found.p[30:90] == pytest.approx(true.p[30:90], rel=0.12)


def test_estimate_from_maps_equals_the_plan_of_one_pair(two_fields) -> None:
    """Through field_alms, and only the pair that is asked for."""
    rng = np.random.default_rng(1)
    maps = [StokesMap(*rng.standard_normal((3, NPIX)), coord="G") for _ in range(2)]
    fields = [replace(f, splits=[m]) for f, m in zip(two_fields.fields, maps, strict=True)]
    plan = make_plan(fields, Bins(EDGES))
    assert list(plan.masters) == [("V", "W")]  # one split each: no spectrum of a field with itself
    found = estimate_bandpowers(plan, {f.name: field_alms(f, LMAX) for f in fields})
    master = plan.masters["V", "W"]
    direct = master.decouple(pseudo_spectra(*(field_alms(f, LMAX)[0] for f in fields)))
    np.testing.assert_allclose(found, [direct[s] for s in SPECTRA], rtol=1e-12)


def test_refusals(two_fields) -> None:
    fields = two_fields.fields
    single = replace(fields[0], splits=fields[0].splits[:1], noise=fields[0].noise)
    with pytest.raises(SpectrumError, match="biased by noise"):
        make_plan([single], Bins(EDGES), pairs=[("V", "V")])
    with pytest.raises(SpectrumError, match="different names"):
        make_plan([fields[0], fields[0]], Bins(EDGES))
    with pytest.raises(SpectrumError, match="pairs name"):
        make_plan(fields, Bins(EDGES), pairs=[("V", "K")])
    with pytest.raises(SpectrumError, match="none twice"):
        make_plan(fields, Bins(EDGES), pairs=[("V", "W"), ("W", "V")])
    with pytest.raises(SpectrumError, match="3 nside - 1"):
        make_plan(fields, Bins(EDGES), lmax=400)
    with pytest.raises(SpectrumError, match="up to l = 20, this plan has lmax 80"):
        make_plan(fields, Bins(EDGES), lmax=80, couplings=MaskCouplings(20))
    z = healpy.pix2vec(NSIDE, np.arange(NPIX))[2]
    north, south = (
        replace(fields[k], mask=Mask((s * z > 0.1).astype(float), "G")) for k, s in enumerate((1, -1))
    )
    with pytest.raises(SpectrumError, match=r"V x W.*of their sky in common"):
        make_plan([north, south], Bins(EDGES))
    with pytest.raises(SpectrumError, match=r"V x V.*of their sky in common"):
        make_plan([replace(north, mask_p=south.mask)], Bins(EDGES))
    make_plan([north, south], Bins(EDGES), pairs=[("V", "V"), ("W", "W")])
    with pytest.raises(SpectrumError, match="noise models for 2"):
        replace(fields[0], noise=[fields[0].noise_of(0)])
    with pytest.raises(SpectrumError, match="no noise model"):
        replace(fields[0], noise=None).noise_of(0)
    with pytest.raises(SpectrumError, match="at least one map"):
        replace(fields[0], splits=[])
    with pytest.raises(MapError, match="nside"):
        replace(fields[0], splits=[StokesMap(*np.zeros((3, 12)), coord="G")])
    coarse = StokesMap(*np.zeros((3, 12)), coord="G")
    small = Field("s", [coarse], Mask(np.ones(12), "G"), fields[0].transfer)
    with pytest.raises(SpectrumError, match="different nside"):
        make_plan([fields[0], small], Bins(EDGES))
    with pytest.raises(SpectrumError, match="positive number for each pixel"):
        noise_from_hits(np.zeros(NPIX), 1, 1, LMAX)
    with pytest.raises(SpectrumError, match="from zero"):
        Noise(-np.ones(3), np.ones(3))
    with pytest.raises(SpectrumError, match="bandpowers of shape"):
        combine(two_fields.plan, np.zeros((2, 2)), two_fields.covariance)
    with pytest.raises(SpectrumError, match="covariance of shape"):
        combination_weights(two_fields.plan, np.eye(3))
