"""One function completes a fit: defaults where nothing is said, a place and a reason where something is wrong."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from cmbfit.config.load import shipped_folder
from cmbfit.errors import CmbfitError, ConfigError
from cmbfit.fit import Fit, build_posterior, complete_fit, load_run, start_point
from cmbfit.fit.defaults import default_start
from cmbfit.likelihood.priors import Gaussian, Uniform


@pytest.fixture(scope="module")
def shipped() -> dict[str, Any]:
    text = (shipped_folder() / "default.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)["fits"]["lcdm_planck2018"]


def changed(section: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    out = copy.deepcopy(section)
    for key, value in changes.items():
        part = isinstance(value, dict) and not {"uniform", "gaussian"} & set(value)
        out[key] = changed(out.get(key, {}), value) if part else value
    return out


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": ["planck2018_plik"]}, "planck2018_plik_lite_tt"),
        (
            {"priors": {"tau": {"uniform": [0.0, 0.9]}}},
            r"fits.mine.priors.tau: \[0, 0.9\] reaches beyond the emulator's",
        ),
        ({"priors": {"ns": {"uniform": [1.0, 0.9]}}}, "low < high"),
        ({"priors": {"ombh": {"uniform": [0.0, 0.9]}}}, r"fits.mine.priors: .*'ombh2'"),
        ({"start": {"ns": [2.0, 0.1]}}, r"fits.mine.start.ns: expected a centre inside the prior"),
        ({"start": {"ns": [0.96, 0.0]}}, "a positive scale"),
        ({"start": {"nss": [0.96, 0.1]}}, r"fits.mine.start: .*did you mean 'ns'"),
        ({"show": ["foo"]}, "fits.mine.show: .*'foo'"),
        ({"reference": {"parameters": {"H00": [67.0, 1.0]}}}, "did you mean 'H0'"),
        ({"reference": {"parameters": {"H0": [67.0, 0.0]}}}, "positive or null"),
        ({"sampler": {"walkers": 4}}, "fits.mine.sampler.walkers: 7 parameters need at least 14, found 4"),
        ({"sampler": {"block_steps": 100000}}, "fits.mine.sampler.*block_steps"),
        ({"sampler": {"kind": "emcee", "leapfrog": 3}}, "fits.mine.sampler.*leapfrog"),
        ({"theory": {"primordial": "cutoff_kinetic", "evaporation": 1e15}}, "two theories"),
        ({"theory": {"primordial": "cutoff_kinetic"}}, "needs transfer functions"),
        ({"theory": {"tensors": "tensor_free"}}, "tensors belongs to primordial"),
        ({"gate": {"pul": 1.0}}, "did you mean 'pull'"),
    ],
)
def test_each_mistake_is_named_with_its_place(
    shipped: dict[str, Any], changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(CmbfitError, match=said):
        complete_fit("mine", changed(shipped, changes), "lcdm_planck2018")


def test_a_fit_needs_its_data_alone() -> None:
    fit = complete_fit("mine", {"data": ["planck2018"]}, "lcdm_planck2018")
    posterior = build_posterior(fit)
    centre, scale = start_point(fit, posterior)
    assert posterior.parameters == ("ombh2", "omch2", "theta_mc", "tau", "logA", "ns", "A_planck")
    assert scale["A_planck"] == 0.0025  # of Planck's own calibration prior
    theta = torch.tensor([[centre[p] for p in posterior.parameters]], dtype=torch.float64)
    # near the published best fit (chi2 of 984.3 there) and not merely somewhere inside the priors
    assert -2 * float(sum(posterior.log_likelihoods(theta).values())) < 1010
    assert (fit.ensembles, fit.sampler["kind"], fit.reference) == (2, "emcee", None)
    assert fit.title == ("LCDM, planck2018_plik_lite_ttteee + planck2018_lowl_tt_2bin + planck2018_lowl_ee")


@pytest.mark.parametrize(
    "name", ["default", "ground", "evaporation", "early_universe", "freeform", "simulated", "tiny", "wmap9"]
)
def test_the_fits_of_shipped_configurations_survive_their_own_json(name: str) -> None:
    for fit in load_run([name]).fits.values():
        assert Fit.from_json(json.loads(json.dumps(fit.describe()))) == fit


def test_nothing_but_a_description_is_read_as_a_fit(tmp_path: Path) -> None:
    path = tmp_path / "fit.json"
    path.write_text('{"name": "x", "data": []}')
    with pytest.raises(ConfigError, match=r"what Fit.describe writes"):
        Fit.read(path)


def test_the_run_says_where_a_primordial_fits_transfer_functions_lie() -> None:
    run = load_run(["early_universe"])
    primordial = {f.transfer for f in run.fits.values() if f.primordial}
    assert primordial == {"results/early_universe/theory/transfer"}
    assert run.fits["power_law"].transfer is None  # the emulator's own P(k)
    assert run.fits["power_law"].priors["ombh2"] == {"uniform": [0.0217, 0.0231]}


def test_a_uniform_prior_beyond_the_transfer_functions_is_refused() -> None:
    section = {
        "data": ["planck2018"],
        "theory": {"primordial": "cutoff_kinetic"},
        "priors": {"ombh2": {"uniform": [0.019, 0.026]}},
    }
    with pytest.raises(ConfigError, match=r"fits.mine.priors.ombh2: .* beyond the transfer functions'"):
        complete_fit(
            "mine", section, "lcdm_planck2018", transfer="made", transfer_box={"ombh2": (0.0216, 0.0231)}
        )


def test_a_parameter_that_the_model_predicts_is_refused() -> None:
    section = {
        "data": ["planck2018"],
        "theory": {"primordial": "starobinsky"},
        "priors": {"ns": {"uniform": [0.9, 1.0]}},
    }
    with pytest.raises(ConfigError, match=r"fits.mine.priors.ns: this model predicts it"):
        complete_fit("mine", section, "lcdm_planck2018", transfer="made", transfer_box={})


def test_too_few_draws_for_the_line_through_them_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"theory.emulator.check.draws: 2, but fit lcdm_planck2018 has 7"):
        load_run([], {"theory": {"emulator": {"check": {"draws": 2}}}})


def test_own_spectra_need_a_section_that_makes_them() -> None:
    with pytest.raises(ConfigError, match=r"fits.mine.data: own_spectra"):
        complete_fit("mine", {"data": ["own_spectra", "tau_lowe"]}, "lcdm_planck2018")


@pytest.mark.parametrize(
    ("prior", "start"),
    [
        (Gaussian(1.0, 0.01), (1.0, 0.01)),
        (Uniform(0.0, 2.0), (1.0, 0.1)),
        (Uniform(0.9, 1.1), (1.0, 0.01)),
    ],
)
def test_starts_follow_from_priors(prior: Gaussian | Uniform, start: tuple[float, float]) -> None:
    assert default_start("P_act", prior) == pytest.approx(start)


def test_a_start_keeps_off_the_edges_of_its_prior() -> None:
    assert default_start("nrun", Uniform(-0.001, 0.1)) == pytest.approx((-0.001 + 0.00505, 0.00505))
    assert default_start("x", Uniform(0.0, 1.0), wanted=0.0) == (0.05, 0.05)


def test_a_misspelt_model_is_said_before_what_it_would_need() -> None:
    with pytest.raises(ConfigError, match="did you mean 'starobinsky'"):
        complete_fit(
            "a", {"data": ["planck2018"], "theory": {"primordial": "starobinski"}}, "lcdm_planck2018"
        )
