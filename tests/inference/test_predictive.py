"""Posterior predictive checks on data whose distribution is known."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from scipy import stats

from cmbfit.errors import LikelihoodError
from cmbfit.figures.predictive import plot_predictive, predictive_table, summary_text
from cmbfit.inference.predictive import Replicas, covariance_of, predictive_tests, replicate
from cmbfit.likelihood import GaussianBandpowers, Posterior, Uniform
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import info, random_covariance

N = 12


class Constant:
    """A sky without parameters that matter: tt = te = level."""

    parameters = ("level",)
    box: ClassVar[dict[str, tuple[float, float]]] = {}
    lmax = N + 1
    settings: ClassVar[dict[str, str]] = {"kind": "constant"}

    def spectra(self, theta: torch.Tensor) -> Spectra:
        flat = theta[:, :1].expand(-1, N + 2)
        return Spectra({"tt": flat, "te": flat})


def posterior_with(data: np.ndarray, covariance: np.ndarray) -> Posterior:
    window = np.zeros((N, N + 2))
    window[np.arange(N), np.arange(2, N + 2)] = 1.0
    like = GaussianBandpowers(
        info("toy", pairs={"tt": (2, N + 1), "te": (2, N + 1)}),
        {"tt": window, "te": window},
        data,
        covariance,
    )
    return Posterior(Constant(), [like], {"level": Uniform(-5.0, 5.0)})


def test_p_of_the_whole_the_parts_and_of_one_given_the_other(rng: np.random.Generator) -> None:
    """With a posterior that is a point, p is the tail of chi2; and chi2 = chi2(tt) + chi2(te given tt)."""
    covariance = random_covariance(rng, 2 * N)
    data = np.linalg.cholesky(covariance) @ rng.standard_normal(2 * N)
    posterior = posterior_with(data, covariance)
    (replicas,) = replicate(posterior, np.zeros((4000, 1)), rng)
    np.testing.assert_allclose(covariance_of(replicas.likelihood), covariance, rtol=1e-9, atol=1e-9)
    # replicas scatter as the covariance says: 4000 draws, 5 standard errors of a variance
    np.testing.assert_allclose(replicas.replica.var(0), np.diag(covariance), rtol=5 * np.sqrt(2 / 4000))
    tests = {t.part: t for t in predictive_tests(replicas)}
    assert list(tests) == ["all", "tt", "te", "te | tt"]
    for test in tests.values():
        expected = stats.chi2.sf(test.observed[0], test.n_data)
        assert abs(test.p_value - expected) < 5 * np.sqrt(expected * (1 - expected) / 4000) + 1e-3, test.part
        assert stats.kstest(test.replicated, stats.chi2(test.n_data).cdf).pvalue > 1e-3
    np.testing.assert_allclose(
        tests["all"].observed, tests["tt"].observed + tests["te | tt"].observed, rtol=1e-9
    )
    assert not tests["all"].flagged
    table = predictive_table([replicas])
    assert len(table["data"]) == 2 * N
    records = [t.record() for t in tests.values()]
    assert "te | tt" in summary_text(records)
    assert len(plot_predictive([replicas], list(tests.values())).axes) == 2


def test_data_that_the_model_would_not_give_are_flagged(rng: np.random.Generator) -> None:
    """TE five sigma off in a direction that TT does not see: the whole and TE given TT are flagged, TT is not."""
    data = rng.standard_normal(2 * N)
    data[N:] = 2.5 * np.sign(data[N:])
    (replicas,) = replicate(posterior_with(data, np.eye(2 * N)), 0.01 * rng.standard_normal((1000, 1)), rng)
    tests = {t.part: t for t in predictive_tests(replicas)}
    assert tests["te"].flagged
    assert tests["te | tt"].flagged
    assert not tests["tt"].flagged
    # too good is flagged as well
    (replicas,) = replicate(posterior_with(np.full(2 * N, 1e-3), np.eye(2 * N)), np.zeros((1000, 1)), rng)
    assert predictive_tests(replicas)[0].flagged


def test_planck_is_what_lcdm_gives(posterior: Posterior, rng: np.random.Generator) -> None:
    """At the best fit, p of plik-lite is near the tail of chi2 = 584 for 613 bandpowers, 0.79."""
    point = np.array([[0.02237, 0.12, 1.0409, 0.0543, 3.0443, 0.9654, 1.0005]])
    replicas = replicate(posterior, np.repeat(point, 400, 0), rng)
    assert [r.likelihood.info.name for r in replicas] == [
        "planck2018_plik_lite_ttteee",
        "planck2018_lowl_tt_2bin",
    ]
    tests = {t.part: t for t in predictive_tests(replicas[0])}
    assert list(tests) == ["all", "tt", "te", "ee", "te+ee | tt"]
    expected = stats.chi2.sf(tests["all"].observed[0], 613)
    assert 0.7 < expected < 0.85
    assert tests["all"].p_value == pytest.approx(expected, abs=0.1)  # 400 draws: 5 x 0.02
    assert not any(t.flagged for t in tests.values())


def test_a_posterior_without_bandpowers_is_refused(posterior: Posterior, rng: np.random.Generator) -> None:
    low = Posterior(
        posterior.theory,
        [like for like in posterior.likelihoods if like.info.name == "planck2018_lowl_ee"],
        {p: posterior.priors[p] for p in posterior.theory.parameters},
    )
    with pytest.raises(LikelihoodError, match="none"):
        replicate(low, np.ones((2, len(low.parameters))), rng)


def test_replicas_know_their_sections(rng: np.random.Generator) -> None:
    (replicas,) = replicate(posterior_with(np.zeros(2 * N), np.eye(2 * N)), np.zeros((10, 1)), rng)
    assert isinstance(replicas, Replicas)
    assert replicas.sections == {"tt": slice(0, N), "te": slice(N, 2 * N)}
    assert replicas.bands().shape == (5, 2 * N)
