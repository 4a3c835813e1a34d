"""A primordial model of one's own is one file: every door takes it, and none runs it unasked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit.errors import CodeNotAllowedError
from cmbfit.figures.residuals import bandpower_table
from cmbfit.fit import Fit, build_posterior, load_run
from cmbfit.fit.build import primordial_theory
from cmbfit.provenance.uses import fit_uses
from cmbfit.theory.spectra import Spectra

from .change import Change, cmbfit
from .conftest import POINT

MODEL = """
from pathlib import Path

import torch

from cmbfit.theory.primordial.model import LOG_A, NS, Flat, Parameter, PrimordialModel, feature

Path("imported").touch()  # the test looks for it

def modulation(k, values):
    return 1 + values["height"] * torch.tanh((torch.log(k) + 7.5) / 0.5)

MODEL = PrimordialModel(
    name="smooth_step",
    title="a smooth step",
    formula="P = P0 [1 + height tanh((ln k + 7.5)/0.5)]",
    parameters=(LOG_A, NS, Parameter("height", 0.1, Flat(-0.5, 0.5), "", "half the step")),
    citations=("Nobody (2026)",),
    function=feature(modulation),
    null={"height": 0.0},
    note="its place is fixed",
    resolution=(20.0, 5.0),
)
"""
NARROW = dict(zip(POINT, (1e-4, 1e-3, 3e-4, 0.007, 0.01, 0.004), strict=True))
# so few bandpowers say little of the background
PRIORS = {p: {"gaussian": [POINT[p], NARROW[p]]} for p in POINT}


def fits(data: str, transfer: str) -> dict[str, Any]:
    """Two fits of the same data: LCDM, and the model in the user's file."""
    mine = {"primordial": "./mymodel.py", "transfer": transfer}
    common = {"data": [{"candl": data, "units_checked": True}], "priors": PRIORS, "ensembles": 1}
    return {"lcdm": common, "mine": {**common, "theory": mine}}


@pytest.fixture
def config(change: Change, bandpowers: str, transfer: str) -> str:
    change.write("mymodel.py", MODEL)
    return change.configure(fits=fits(bandpowers, transfer))


def at(fit: Fit, **more: float) -> torch.Tensor:
    posterior = build_posterior(fit, fold=False)
    values = {**POINT, **more}
    theta = torch.tensor([[values[p] for p in posterior.parameters]], dtype=torch.float64)
    return sum(posterior.log_likelihoods(theta).values(), start=torch.zeros(1, dtype=torch.float64))


def test_one_file_adds_a_model_that_is_right(
    change: Change, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    run = load_run([config])
    fit = run.fits["mine"]
    assert len(change.files) == 1
    assert fit.title.startswith("a smooth step, ")
    assert fit.priors["height"] == {"uniform": [-0.5, 0.5]}
    assert fit.start["height"] == (0.1, 0.05)
    # P(k) in closed form
    theory = primordial_theory(fit.theory)
    k = torch.tensor([1e-5, 5e-4, 0.05], dtype=torch.float64)
    power = theory.model.power(k, theory.model.point({"height": 0.2, "logA": 3.0, "ns": 0.96}))[0].numpy()
    law = np.exp(3.0) * 1e-10 * (k.numpy() / 0.05) ** -0.04
    np.testing.assert_allclose(power, law * (1 + 0.2 * np.tanh((np.log(k.numpy()) + 7.5) / 0.5)), rtol=1e-12)
    # without a step it is LCDM, and ln L is the emulator's own
    assert at(fit, height=0.0).item() == pytest.approx(at(run.fits["lcdm"]).item(), rel=1e-10)
    assert at(fit, height=0.2).item() != pytest.approx(at(fit, height=0.0).item(), abs=0.1)
    # far below the step, P is (1 - height) times the power law, and so are the unlensed spectra that it adds
    _, change_of_p = theory.power(torch.tensor([[*POINT.values(), 0.2]], dtype=torch.float64))
    assert (change_of_p[0, 0] < 0).item()


def test_a_quick_fit_runs_it_with_leave_alone(change: Change, config: str) -> None:
    words = ("fit", config, "--fit", "mine", "--quick", "-o", "out")
    refused = cmbfit(*words)
    assert isinstance(refused.exception, CodeNotAllowedError)
    assert "mymodel.py: expected code that you allow to run" in str(refused.exception)
    assert "--allow-code" in str(refused.exception)
    assert "cmbfit trust" in str(refused.exception)
    assert not Path("imported").exists()
    # trusted, it runs; altered by a byte, it does not
    assert cmbfit("trust", "./mymodel.py").exit_code == 0
    assert not Path("imported").exists()
    trusted = cmbfit(*words)
    assert trusted.exit_code == 0, trusted.output
    quick = json.loads(Path("out/quick.json").read_text(encoding="utf-8"))
    assert set(quick["parameters"]) == {*POINT, "height"}
    change.write("mymodel.py", MODEL + "\n")
    assert isinstance(cmbfit(*words).exception, CodeNotAllowedError)
    allowed = cmbfit(*words, "--allow-code")
    assert allowed.exit_code == 0, allowed.output
    again = json.loads(Path("out/quick.json").read_text(encoding="utf-8"))
    assert again["parameters"] == quick["parameters"]


def test_check_names_it_and_never_runs_it(change: Change, config: str) -> None:
    for words in (("check", config), ("check", config, "--config", "run.fits=[mine]")):
        result = cmbfit(*words)
        assert result.exit_code == 0, result.output
        assert "fit mine: not looked into, since that needs your own code: ./mymodel.py" in result.stdout
    cmbfit("trust", "./mymodel.py")
    assert cmbfit("check", config).exit_code == 0
    assert not Path("imported").exists()


def test_its_content_is_in_the_hash_of_its_own_fit_alone(
    change: Change, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    run = load_run([config])
    before = {name: fit_uses(fit).hash() for name, fit in run.fits.items()}
    change.write("mymodel.py", MODEL.replace("/ 0.5)", "/ 0.6)"))
    after = {name: fit_uses(fit).hash() for name, fit in run.fits.items()}
    assert after["mine"] != before["mine"]
    assert after["lcdm"] == before["lcdm"]


def test_it_is_compared_with_lcdm(config: str) -> None:
    refused = cmbfit("compare", config, "--evidence", "none")
    assert isinstance(refused.exception, CodeNotAllowedError)
    result = cmbfit("compare", config, "--evidence", "none", "--allow-code")
    assert result.exit_code == 0, result.output
    (table,) = json.loads(Path("comparison/models.json").read_text(encoding="utf-8"))["tables"]
    lcdm, mine = table["models"]
    assert lcdm["name"] == "lcdm"
    assert mine["title"].startswith("a smooth step, ")
    assert mine["extra_parameters"] == ["height"]
    # LCDM lies within it: its best fit cannot be worse
    assert mine["delta_chi2"]["total"] < 1e-3
    assert "its place is fixed" in mine["remarks"]
    assert "a smooth step" in result.stdout


def test_a_fit_to_no_bandpowers_has_a_figure_too() -> None:
    """Of its spectrum, beside which no data stand."""
    table = bandpower_table([], Spectra({"tt": torch.zeros(1, 3, dtype=torch.float64)}), {})
    assert {len(column) for column in table.values()} == {0}
