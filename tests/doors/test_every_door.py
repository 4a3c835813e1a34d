"""One fit through every door: a stage of the workflow, ``cmbfit fit``, ``cmbfit loglike``, Cobaya, Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import cmbfit
from cmbfit.errors import ConfigError
from cmbfit.likelihood.compiled import NEGLECT

from .conftest import make
from .doors import Case, cobaya_info

ROUNDING = 1e-10
"""Relative. Doors add the same terms, if in another order; nothing else may differ."""

DROPPED = NEGLECT
"""In ln L. As shipped, directions are dropped that add 1e-4 to chi2 in the mean over the box. Ln L feels half of it, and
these points are within ten widths of the fit, where it is less (in the box's corners it is a hundred times that:
tests/likelihood/test_compiled.py)."""

IMPRINT, OF_DISTANCE = 0.02, 5e-4
"""In ln L, and of the distance to the best fit: primordial imprints are folded in single precision, and compile_posterior
refuses more than this. Nothing is dropped there, so that there is no other form to compare."""


def values(x: torch.Tensor) -> list[float]:
    assert torch.isfinite(x).all()
    return x.tolist()


def test_a_fit_has_one_description(case: Case) -> None:
    assert case.of_workflow.describe() == case.of_command.describe() == case.of_python.describe()


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
            assert posterior.not_folded == "only posteriors of a linear-decoder emulator can be compiled"
            assert values(got) == pytest.approx(values(wanted), rel=ROUNDING)
        elif case.of_python.primordial:
            assert posterior.fold_difference is not None
            bound = IMPRINT + OF_DISTANCE * (wanted.max() - wanted)
            assert ((got - wanted).abs() < bound).all()
        else:
            assert posterior.fold_difference is not None
            torch.testing.assert_close(got, wanted, rtol=ROUNDING, atol=DROPPED)
    if set(case.of_python.theory) == {"emulator"}:
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
            assert got[name]["log_like"] == pytest.approx(wanted[i], rel=ROUNDING)
            assert got[name]["chi2"] == -2 * got[name]["log_like"]
        # nuisance priors alone stand there; those of the theory are the fit's
        assert got["log_prior"] + case.theory_prior(point) == pytest.approx(priors[i], rel=ROUNDING)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_cobaya_is_the_fits(case: Case) -> None:
    pytest.importorskip("cobaya", reason="the optional dependency cobaya is not installed")
    from cobaya.log import LoggedError
    from cobaya.model import get_model

    special = {k: x for k, x in case.of_python.theory.items() if k != "emulator"}
    if case.of_python.own_spectra:
        with pytest.raises(LoggedError, match="own_spectra, but nothing says where they are"):
            get_model({"likelihood": {"it": {"class": "cmbfit.cobaya.DataSet", "data": "own_spectra"}}})
        return
    if special:
        with pytest.raises(LoggedError, match=f"does not recognize some options: .*'{min(special)}'"):
            get_model(cobaya_info(case, **special))
        return
    model = get_model(cobaya_info(case))
    likes, priors = case.python.unfolded(case.theta), case.python.log_prior(case.theta)
    for i, point in enumerate(case.points):
        got = model.logposterior(point)
        assert sum(got.loglikes) == pytest.approx(likes[i].item(), rel=ROUNDING)
        assert model.logprior(point) == pytest.approx(priors[i].item(), rel=ROUNDING)
        assert got.logpost == pytest.approx((likes[i] + priors[i]).item(), rel=ROUNDING)
    model.close()


def test_parts_put_together_by_hand_are_the_fit(tmp_path: Path) -> None:
    """With names of the public face alone."""
    from cmbfit import Posterior, Uniform, load_emulator, load_likelihood

    case = make("planck2018", tmp_path)
    priors = {p: Uniform(*spec["uniform"]) for p, spec in case.section["priors"].items()}
    likelihoods = [load_likelihood(name) for name in case.section["data"]]
    got = Posterior(load_emulator("lcdm_planck2018"), likelihoods, priors).log_prob(case.theta)
    assert values(got) == pytest.approx(values(case.python.log_prob(case.theta)), rel=ROUNDING)


def test_spectra_that_are_not_made_yet_are_named_at_every_door(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    case = make("own_spectra", tmp_path)
    shutil.rmtree("results")
    for fit in (case.of_workflow, case.of_command, case.of_python):
        with pytest.raises(ConfigError, match=r"results/mine/spectra/VxW\.sacc\.fits is not there yet"):
            cmbfit.build_posterior(fit)
