"""Data moved by a shift of parameters, against closed forms: linear models keep chi2 exactly, a factor keeps a log-normal."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import lognorm

from cmbfit.fit import complete_fit, load_data
from cmbfit.fit.blind import shift_likelihoods
from cmbfit.fit.defaults import STARTS
from cmbfit.likelihood.base import DataSetInfo, described
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.lognormal_bins import LogNormalBins
from cmbfit.likelihood.simall import TabulatedSpectrum
from cmbfit.likelihood.tau_prior import ParameterGaussian
from cmbfit.theory.spectra import Spectra

INFO = DataSetInfo("toy", "toy", {}, 30, "nobody")
LMAX = 59


def spectra_of(dl: np.ndarray, pair: str = "tt", **parameters: list[float]) -> Spectra:
    values = {k: torch.tensor(v, dtype=torch.float64) for k, v in parameters.items()}
    return Spectra({pair: torch.from_numpy(np.asarray(dl, dtype=float))}, values)


def test_a_linear_model_keeps_chi2_and_its_best_fit_moves_by_the_shift(rng: np.random.Generator) -> None:
    """Generalised least squares by hand: D = A theta, 30 correlated bandpowers, 3 parameters."""
    design = rng.standard_normal((LMAX + 1, 3))
    window = np.abs(rng.standard_normal((30, LMAX + 1)))
    root = rng.standard_normal((30, 30))
    covariance = root @ root.T + 30 * np.eye(30)
    data = window @ design @ [1.0, -2.0, 0.5] + np.linalg.cholesky(covariance) @ rng.standard_normal(30)
    like = GaussianBandpowers(INFO, {"tt": window}, data, covariance)
    reference, shift = np.array([0.3, 0.1, -4.0]), np.array([0.7, -1.1, 2.3])
    moved = like.shifted(spectra_of(np.stack([design @ reference, design @ (reference + shift)])), {})

    def best(values: np.ndarray) -> np.ndarray:
        matrix = window @ design
        return np.linalg.solve(
            matrix.T @ np.linalg.solve(covariance, matrix), matrix.T @ np.linalg.solve(covariance, values)
        )

    before, after = best(data), best(moved.data.numpy())
    assert after - before == pytest.approx(shift, abs=1e-11)
    chi2 = [float(x.chi2(spectra_of((design @ p)[None]), {})) for x, p in ((like, before), (moved, after))]
    assert chi2[1] == pytest.approx(chi2[0], rel=1e-11)
    # the original is left alone
    assert np.array_equal(like.data.numpy(), data)


def test_log_normal_bins_of_the_moved_power_have_the_density_of_the_true_one() -> None:
    """Twice the power in the sky: the density at twice the model is scipy's at the model."""
    mu, sigma = 6.8, 0.2
    like = LogNormalBins(INFO, "tt", np.array([[2, 15, mu, sigma, 0.0]]))
    flat = np.full((2, 30), 800.0) * [[1], [2]]
    moved = like.shifted(spectra_of(flat), {})
    model = np.full((1, 30), 2 * 950.0)
    assert float(moved.log_prob(spectra_of(model), {})) == pytest.approx(
        lognorm(sigma, scale=np.exp(mu)).logpdf(950.0), rel=1e-12
    )


def test_a_table_of_the_moved_power_is_the_table_at_the_true_one() -> None:
    """A quadratic ln L in D_l, tabulated: between rows the second derivative leaves step^2 / 8 of it, here below 1e-6."""
    step, rows = 0.001, 4000
    centres = (np.arange(rows) + 0.5) * step
    table = np.stack([-0.5 * (centres - m) ** 2 for m in (1.0, 1.5)], axis=1)
    like = TabulatedSpectrum(INFO, "ee", 2, step, table)
    before, after = np.array([0, 0, 1.0, 1.2]), np.array([0, 0, 1.1, 0.9])
    moved = like.shifted(spectra_of(np.stack([before, after]), "ee"), {})
    model = np.array([[0, 0, 1.23, 1.31]])
    true = model[0, 2:] * before[2:] / after[2:]
    expected = float(np.sum(-0.5 * (true - [1.0, 1.5]) ** 2))
    assert float(moved.log_prob(spectra_of(model, "ee"), {})) == pytest.approx(expected, abs=1e-6)


def test_a_measured_parameter_moves_and_its_settings_do_not_tell() -> None:
    like = ParameterGaussian(INFO, "tau", 0.054, 0.007)
    moved = like.shifted(spectra_of(np.zeros((2, 1)), tau=[0.05, 0.06]), {})
    assert moved.mean == pytest.approx(0.064, abs=1e-15)
    (one,) = shift_likelihoods(
        [like], "lcdm_planck2018", {p: x for p, (x, _) in STARTS.items()}, {"tau": 0.01}, mark="abc"
    )
    assert one.mean == pytest.approx(0.064, abs=1e-12)  # type: ignore[attr-defined]
    record = described(one)
    assert record["blinded"] == "abc"
    assert record["gaussian"] == [None, 0.007]


def test_no_shift_moves_nothing() -> None:
    """All kinds that can be moved, from files: what is added is zero, and the table is the table."""
    fit = complete_fit(
        "all", {"data": ["planck2018_plik_lite_ttteee", "planck2018_lowl_ee"]}, "lcdm_planck2018"
    )
    reference = {p: x for p, (x, _) in STARTS.items()}
    likes = load_data(fit.data)
    plik, simall = shift_likelihoods(likes, "lcdm_planck2018", reference, {}, mark="")
    assert torch.equal(plik.data, likes[0].data)  # type: ignore[attr-defined]
    assert torch.allclose(simall._table, likes[1]._table, atol=1e-9, rtol=0)  # type: ignore[attr-defined]
