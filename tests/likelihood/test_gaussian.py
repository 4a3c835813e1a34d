"""Gaussian bandpowers against scipy's multivariate normal."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch

from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.likelihood import Gaussian, GaussianBandpowers
from cmbfit.likelihood.bandpower_model import Block
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import info, one, random_covariance

BATCH, LMAX = 7, 12
CALIBRATION = {"A": {"tt": -2.0}, "P": {"te": -1.0, "ee": -2.0}}


class Case:
    """Random windows of three pairs, with one calibration for temperature and one for polarisation."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.windows = {p: rng.uniform(0, 1, (n, LMAX + 1)) for p, n in (("tt", 4), ("te", 3), ("ee", 2))}
        self.data = rng.normal(30, 5, 9)
        self.covariance = random_covariance(rng, 9)
        description = info(nuisance={"A": Gaussian(1, 0.01), "P": Gaussian(1, 0.01)})
        self.like = GaussianBandpowers(description, self.windows, self.data, self.covariance, CALIBRATION)
        self.dl = {p: rng.uniform(1, 10, (BATCH, LMAX + 1)) for p in self.windows}
        self.nuisance = {n: rng.normal(1, 0.05, BATCH) for n in CALIBRATION}

    def log_prob(self, rows: np.ndarray) -> np.ndarray:
        spectra = Spectra({p: torch.from_numpy(x[rows]) for p, x in self.dl.items()})
        return self.like.log_prob(
            spectra, {n: torch.from_numpy(x[rows]) for n, x in self.nuisance.items()}
        ).numpy()


@pytest.fixture
def case(rng: np.random.Generator) -> Case:
    return Case(rng)


def test_equals_scipy_up_to_the_constant_that_is_left_out(case: Case) -> None:
    got = case.log_prob(np.arange(BATCH))
    # the documented omission: -ln det(2 pi C) / 2
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * case.covariance)[1]
    for row in range(BATCH):
        a, p = case.nuisance["A"][row], case.nuisance["P"][row]
        factor = {"tt": a**-2, "te": 1 / p, "ee": p**-2}
        model = np.concatenate([factor[x] * (w @ case.dl[x][row]) for x, w in case.windows.items()])
        expected = scipy.stats.multivariate_normal.logpdf(case.data, model, case.covariance)
        assert got[row] + constant == pytest.approx(expected, rel=1e-11)


def test_rows_of_a_batch_do_not_touch_each_other(case: Case, rng: np.random.Generator) -> None:
    order = rng.permutation(BATCH)
    whole = case.log_prob(np.arange(BATCH))
    assert len(np.unique(whole)) == BATCH
    # matrix products of another shape may add in another order: a few ulp
    np.testing.assert_allclose(case.log_prob(order), whole[order], rtol=1e-13)
    np.testing.assert_allclose([case.log_prob(np.array([i]))[0] for i in range(BATCH)], whole, rtol=1e-13)


def test_gradients_equal_finite_differences(case: Case) -> None:
    pairs, names = tuple(case.windows), tuple(CALIBRATION)

    def log_prob(*x: torch.Tensor) -> torch.Tensor:
        return case.like.log_prob(
            Spectra(dict(zip(pairs, x[:3], strict=True))), dict(zip(names, x[3:], strict=True))
        )

    inputs = [torch.from_numpy(case.dl[p][:2]).requires_grad_() for p in pairs]
    inputs += [torch.from_numpy(case.nuisance[n][:2]).requires_grad_() for n in names]
    # central differences of a smooth function in float64
    assert torch.autograd.gradcheck(log_prob, inputs, eps=1e-6, atol=1e-5, rtol=1e-6)


def test_whitened_parts_rebuild_chi2(case: Case) -> None:
    blocks, target = case.like.whitened()
    row = 3
    a, p = case.nuisance["A"][row], case.nuisance["P"][row]
    factor = {"tt": a**-2, "te": 1 / p, "ee": p**-2}
    residual = (
        sum(factor[x] * (rows.numpy() @ case.dl[x][row]) for (x, _), rows in blocks.items()) - target.numpy()
    )
    assert -0.5 * residual @ residual == pytest.approx(case.log_prob(np.array([row]))[0], rel=1e-11)


def test_the_covariance_is_that_of_the_data(case: Case) -> None:
    np.testing.assert_allclose(case.like.covariance.numpy(), case.covariance, rtol=1e-12)
    np.testing.assert_allclose(
        case.like.cholesky.numpy(), np.linalg.cholesky(case.covariance), rtol=1e-10, atol=0
    )


def test_sigma_is_the_root_of_the_covariance_diagonal(case: Case) -> None:
    np.testing.assert_allclose(case.like.sigma.numpy(), np.sqrt(np.diag(case.covariance)), rtol=1e-12)


def build(case: Case, **change: object) -> GaussianBandpowers:
    parts = {"blocks": case.windows, "data": case.data, "covariance": case.covariance} | change
    return GaussianBandpowers(info(), **parts)  # type: ignore[arg-type]


def test_unusable_covariances_and_data_are_refused(case: Case) -> None:
    skew, negative, hole = case.covariance.copy(), case.covariance.copy(), case.data.copy()
    skew[0, 1] *= 1.01
    negative[2, 2] = -1.0
    hole[1] = np.nan
    for change, message in (
        ({"covariance": skew}, "not symmetric"),
        ({"covariance": negative}, "not positive definite"),
        ({"data": hole}, "non-finite"),
        ({"data": case.data[:-1]}, "windows give 9 bandpowers"),
    ):
        with pytest.raises(LikelihoodError, match=message):
            build(case, **change)


def test_a_calibration_without_a_prior_is_refused(case: Case) -> None:
    with pytest.raises(LikelihoodError, match="without a prior"):
        build(case, calibration={"A": {"tt": -2.0}})


def test_missing_or_misshapen_nuisance_values_are_refused(case: Case) -> None:
    spectra = Spectra({p: torch.from_numpy(x) for p, x in case.dl.items()})
    with pytest.raises(LikelihoodError, match="needs the nuisance parameter P"):
        case.like.log_prob(spectra, {"A": one(BATCH)})
    with pytest.raises(LikelihoodError, match="one value per model"):
        case.like.log_prob(spectra, {"A": one(BATCH), "P": one(1)})


def test_spectra_of_single_precision_or_unknown_pairs_are_refused() -> None:
    with pytest.raises(SpectrumError, match="float64"):
        Spectra({"tt": torch.ones(1, 5)})
    with pytest.raises(SpectrumError, match="unknown pair 'et'"):
        Spectra({"et": torch.ones(1, 5, dtype=torch.float64)})
    with pytest.raises(SpectrumError, match="one shape"):
        Spectra({"tt": torch.ones(1, 5, dtype=torch.float64), "ee": torch.ones(1, 6, dtype=torch.float64)})


def test_several_spectra_of_one_pair_stand_side_by_side(case: Case) -> None:
    """Two TT blocks (of two frequencies, say) and one of EE that sees TT too, against scipy."""
    rng = np.random.default_rng(4)
    one, two, own, leak = (rng.uniform(0, 1, (3, n + 1)) for n in (LMAX, LMAX - 2, LMAX, LMAX - 1))
    blocks = [Block("tt 90", "tt", one), Block("tt 150", "tt", two), Block("ee", "ee", own, {"tt": leak})]
    covariance, data = random_covariance(rng, 9), rng.normal(30, 5, 9)
    description = info(nuisance={"A": Gaussian(1, 0.01), "P": Gaussian(1, 0.01)})
    like = GaussianBandpowers(description, blocks, data, covariance, CALIBRATION)
    assert like.pairs == ("tt", "ee")
    assert like.sections == {"tt 90": slice(0, 3), "tt 150": slice(3, 6), "ee": slice(6, 9)}
    spectra = Spectra({p: torch.from_numpy(x) for p, x in case.dl.items()})
    got = like.log_prob(spectra, {n: torch.from_numpy(x) for n, x in case.nuisance.items()}).numpy()
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]
    for row in range(BATCH):
        tt, ee = case.dl["tt"][row], case.dl["ee"][row]
        tt, ee = tt / case.nuisance["A"][row] ** 2, ee / case.nuisance["P"][row] ** 2
        model = np.concatenate([one @ tt, two @ tt[:-2], own @ ee + leak @ tt[:-1]])
        expected = scipy.stats.multivariate_normal.logpdf(data, model, covariance)
        assert got[row] + constant == pytest.approx(expected, rel=1e-11)
    with pytest.raises(LikelihoodError, match="two blocks are called tt 90"):
        GaussianBandpowers(description, [blocks[0], blocks[0]], data[:6], covariance[:6, :6])
