"""Importance sampling where a prior cuts the peak, and where its proposal misses the posterior."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cmbfit.errors import SamplerError
from cmbfit.inference import importance
from cmbfit.inference.importance import importance_sample
from cmbfit.likelihood import Posterior, Uniform
from tests.inference.test_model_table import SCALE, START, closed_form, problem


def test_points_beyond_a_prior_count_as_drawn() -> None:
    """A prior that cuts a Gaussian at its mean: Z is half of that without the cut under the same density."""
    whole = problem()
    mean, _, _, log_z = closed_form(whole)
    edge = float(mean[2])
    cut = Posterior(whole.theory, whole.likelihoods, {**whole.priors, "c": Uniform(edge, 3.0)})
    got = importance_sample(cut, START | {"c": edge + 0.1}, SCALE, np.random.default_rng(3), n=4000)
    density = math.log(6.0 / (3.0 - edge))
    assert got.log_z == pytest.approx(log_z + density - math.log(2), abs=4 * got.log_z_error)
    # the proposal has its centre and width from the half that is left, and its tail goes over the edge
    assert len(got.points) < 0.95 * got.drawn == 0.95 * 4000
    # var(Z)/Z^2 = (1/f - 1)/n: the fraction that is reported is the one that makes the error
    assert got.ess_fraction == pytest.approx(1 / (1 + got.drawn * got.log_z_error**2), rel=1e-3)


def test_a_proposal_that_misses_the_posterior_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand times too wide in three parameters: a covariance of the one point that counts would be singular."""
    monkeypatch.setattr(importance, "laplace_factor", lambda *_: 10.0 * np.eye(3))
    with pytest.raises(SamplerError, match=r"of the points count.*nested sampling"):
        importance_sample(problem(), START, SCALE, np.random.default_rng(2), n=4000)
