"""Re-weighting against Gaussians whose exact answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmbfit.errors import DataError
from cmbfit.inference.reweight import (
    ess_fraction,
    fit_linear_weights,
    log_likelihood_ratio,
    normalised_weights,
    shift_of,
)
from cmbfit.likelihood.base import Likelihood
from cmbfit.theory.emulator.accuracy import spectra_of
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.parameters import DERIVED, LCDM
from cmbfit.theory.spectra import Spectra

N = 400


@pytest.fixture
def draws(rng: np.random.Generator) -> np.ndarray:
    """Draws of the approximate posterior, a standard normal in three dimensions."""
    return rng.standard_normal((N, 3))


def test_a_shifted_gaussian_comes_out_shifted(rng: np.random.Generator) -> None:
    """L_exact is the same Gaussian moved by d: ln w = d x - d^2/2, the mean moves by d, the width not.

    The jackknife error must be the scatter over independent sets of draws.
    """
    d = 0.2
    got = [shift_of(x, d * x - d * d / 2) for x in rng.standard_normal((300, N))]
    means, widths = np.array([s.mean for s in got]), np.array([s.width for s in got])
    error = np.mean([s.mean_error for s in got])
    assert means.mean() == pytest.approx(d, abs=5 * means.std() / np.sqrt(300) + 2 / N)  # O(1/n) bias
    assert widths.mean() == pytest.approx(1, abs=5 * widths.std() / np.sqrt(300) + 2 / N)
    # the scatter of 300 sets is known to 4%
    assert error == pytest.approx(means.std(), rel=0.15)
    assert np.mean([s.width_error for s in got]) == pytest.approx(widths.std(), rel=0.15)


def test_a_narrower_gaussian_comes_out_narrower(rng: np.random.Generator) -> None:
    """ln w = -a x^2 / 2 turns unit width into 1 / sqrt(1 + a)."""
    x, a = rng.standard_normal(20_000), 0.1
    log_w = -a * x * x / 2
    w = normalised_weights(log_w)
    assert np.sqrt((w * x * x).sum()) == pytest.approx(1 / np.sqrt(1 + a), rel=0.02)
    assert shift_of(x[:2000], log_w[:2000]).width == pytest.approx(1 / np.sqrt(1 + a), rel=0.03)


def test_the_effective_sample_size_is_kish_s(rng: np.random.Generator) -> None:
    """For ln w ~ N(m, s^2): n_eff / n = exp(-s^2); a constant factor changes nothing."""
    log_w = 0.5 * rng.standard_normal(200_000)
    assert ess_fraction(log_w) == pytest.approx(np.exp(-0.25), rel=0.01)
    assert ess_fraction(log_w + 800) == pytest.approx(ess_fraction(log_w), rel=1e-12)
    assert ess_fraction(np.full(7, -3.0)) == pytest.approx(1)


def test_linear_weights_carry_to_the_whole_chain(draws: np.ndarray, rng: np.random.Generator) -> None:
    """A linear emulator error is recovered from 60 points, and moves the whole chain as it should."""
    slope = np.array([0.3, -0.1, 0.0])
    log_w = 1.5 + draws @ slope
    line = fit_linear_weights("abc", draws[:60], log_w[:60] + 0.01 * rng.standard_normal(60))
    assert line.residual == pytest.approx(0.01, rel=0.4)
    np.testing.assert_allclose(line(draws), log_w, atol=0.02)
    far = rng.standard_normal((100_000, 3))
    w = normalised_weights(line(far))
    # the exact posterior's mean is the slope itself
    np.testing.assert_allclose(w @ far, slope, atol=0.02)


def test_what_cannot_be_reweighted_is_refused(draws: np.ndarray) -> None:
    log_w = np.zeros(N)
    log_w[[3, 5]] = -np.inf, np.nan
    with pytest.raises(DataError, match="2 of 400 log weights are not finite"):
        ess_fraction(log_w)
    with pytest.raises(DataError, match="7 exact points are too few"):
        fit_linear_weights("abc", draws[:7], np.zeros(7))


def test_the_exact_spectrum_is_the_numerator(likelihoods: dict[str, Likelihood]) -> None:
    """A spectrum that fits better must weigh more: Planck's low-l power lies below LCDM's, 950 uK^2 beats 1100.

    Each bin is 0.09 of its level wide and both differ by 15%: several units of chi2.
    """
    like = likelihoods["bins"]
    flat = torch.ones(2, like.lmax + 1, dtype=torch.float64)
    flat[:, :2] = 0
    exact, approximate = Spectra({"tt": 950.0 * flat}), Spectra({"tt": 1100.0 * flat})
    one = {name: torch.ones(2, dtype=torch.float64) for name in like.info.nuisance}
    (ratio,) = log_likelihood_ratio([like], exact, approximate, one).values()
    assert (ratio > 1).all()


def test_spectra_of_a_training_set_carry_their_own_parameters(rng: np.random.Generator) -> None:
    """Each name its own column: a data set on tau alone is re-weighted with these."""
    theta, derived = rng.uniform(size=(3, len(LCDM))), rng.uniform(size=(3, len(DERIVED)))
    dl = rng.uniform(size=(3, 5, 40))
    got = spectra_of(TrainingSet(theta, dl, dl[:, :3], derived, np.arange(3), [], {}))
    for names, table in ((LCDM, theta), (DERIVED, derived)):
        for i, name in enumerate(names):
            np.testing.assert_array_equal(got.parameters[name].numpy(), table[:, i])
    for i, pair in enumerate(("tt", "te", "ee", "bb", "pp")):
        np.testing.assert_array_equal(got.dl[pair].numpy(), dl[:, i])
