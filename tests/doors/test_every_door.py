"""One fit through every door: a stage of the workflow, ``cmbfit fit``, ``cmbfit loglike``, Cobaya, Python."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import cmbfit
from cmbfit.errors import ConfigError
from cmbfit.fit.run import Run
from cmbfit.likelihood.compiled import NEGLECT

from .doors import Case, cobaya_info, loglike

ROUNDING = 1e-10
"""Relative. The doors add the same terms in another order; nothing else may differ."""

DROPPED = 50 * NEGLECT
"""In ln L. As shipped, directions are dropped that add NEGLECT = 1e-4 to chi2 in the mean over the box; ln L feels half of
it, and corners of the box a hundred times that (tests/likelihood/test_compiled.py)."""

IMPRINT, OF_DISTANCE = 0.02, 5e-4
"""In ln L, and of the distance to the best fit: primordial imprints are folded in single precision, which compile_posterior
holds to these bounds; nothing is dropped there."""


def values(x: torch.Tensor) -> list[float]:
    assert torch.isfinite(x).all()
    return x.tolist()


def test_a_fit_is_the_same_description_at_every_door(case: Case) -> None:
    assert case.of_workflow == replace(case.of_command, data=tuple(case.of_command.data))
    ours, theirs = case.of_python.describe(), case.of_command.describe()
    assert ours == theirs


def test_unfolded_doors_agree(case: Case) -> None:
    wanted = values(case.python.log_prob(case.theta))
    for posterior in (case.stage, case.command):
        assert posterior.parameters == case.python.parameters
        got = posterior.unfolded(case.theta) + posterior.log_prior(case.theta)
        assert values(got) == pytest.approx(wanted, rel=ROUNDING)


def test_compiled_doors_agree(case: Case) -> None:
    wanted = case.python.log_prob(case.theta)
    for posterior in (case.stage, case.command):
        got = posterior.log_prob(case.theta)
        if "evaporation" in case.of_python.theory:
            assert "only posteriors of a linear-decoder emulator" in (posterior.not_folded or "")
            assert values(got) == pytest.approx(values(wanted), rel=ROUNDING)
        elif case.of_python.primordial:
            bound = IMPRINT + OF_DISTANCE * (wanted.max() - wanted)
            assert ((got - wanted).abs() < bound).all()
        else:
            torch.testing.assert_close(got, wanted, rtol=ROUNDING, atol=DROPPED)
            exact = cmbfit.compile_posterior(case.python, neglect=0.0).log_prob(case.theta)
            assert values(exact) == pytest.approx(values(wanted), rel=ROUNDING)


def test_loglike_is_the_fits(case: Case) -> None:
    if case.of_python.own_spectra:
        with pytest.raises(ConfigError, match="own_spectra, but the configuration has no"):
            case.loglike(case.points[0])
        return
    terms = {name: values(x) for name, x in case.python.log_likelihoods(case.theta).items()}
    priors = values(case.python.log_prior(case.theta))
    for i, point in enumerate(case.points):
        got = case.loglike(point)
        for name, wanted in terms.items():
            assert got[name]["log_like"] == pytest.approx(wanted[i], rel=ROUNDING, abs=ROUNDING)
            assert got[name]["chi2"] == -2 * got[name]["log_like"]
        # nuisance priors alone: those of the theory are the fit's
        assert got["log_prior"] + case.theory_prior(point) == pytest.approx(priors[i], rel=ROUNDING)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_cobaya_is_the_fits(case: Case) -> None:
    pytest.importorskip("cobaya", reason="the optional dependency cobaya is not installed")
    from cobaya.log import LoggedError
    from cobaya.model import get_model

    fit = case.of_python
    if fit.own_spectra:
        with pytest.raises(ConfigError, match="own_spectra, but nothing says where they are"):
            cobaya_info(case)
        return
    special = {k: fit.theory[k] for k in ("evaporation", "primordial", "transfer") if k in fit.theory}
    if special:
        with pytest.raises(LoggedError, match=next(iter(special))):
            get_model(cobaya_info(case, **special))
        return
    model = get_model(cobaya_info(case))
    likes = values(case.python.unfolded(case.theta))
    posts = values(case.python.log_prob(case.theta))
    for point, like, post in zip(case.points, likes, posts, strict=True):
        got = model.logposterior(point)
        assert sum(got.loglikes) == pytest.approx(like, rel=ROUNDING)
        assert got.logpost == pytest.approx(post, rel=ROUNDING)
    model.close()
