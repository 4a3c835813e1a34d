"""The documents' files of a user's own: each is taken by its configuration and computes what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cmbfit import load_emulator
from cmbfit.cli.app import app
from cmbfit.errors import CodeNotAllowedError
from cmbfit.fit import Fit, load_data
from cmbfit.inference.sampling import sample
from cmbfit.theory.primordial import get_model
from tests.docs.blocks import blocks, write_files
from tests.inference.test_model_table import closed_form, problem

PAGE = "docs/extending.md"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's files, of which none is trusted."""
    write_files(tmp_path, PAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CMBFIT_ALLOW_CODE", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    return tmp_path


def test_every_python_block_of_the_page_is_a_file() -> None:
    files = {b.file for b in blocks() if b.kind == "py" and b.where.startswith(PAGE)}
    assert files == {"step.py", "dip.py", "mylike.py", "mysampler.py"}


def test_a_trusted_model_is_its_formula(home: Path) -> None:
    with pytest.raises(CodeNotAllowedError, match="cmbfit trust"):
        get_model("./step.py")
    assert CliRunner().invoke(app, ["trust", "./step.py"], catch_exceptions=False).exit_code == 0
    model = get_model("./step.py")
    k = torch.logspace(-4, -1, 50, dtype=torch.float64)
    theta = torch.tensor([[3.0, 0.96, 0.1, -5.0]], dtype=torch.float64)
    ratio = model.power(k, theta) / model.power(k, theta * torch.tensor([1.0, 1.0, 0.0, 1.0]))
    expected = 1 + 0.1 * np.tanh((np.log(k.numpy()) + 5) / 0.1)
    np.testing.assert_allclose(ratio[0].numpy(), expected, rtol=1e-12)
    # an edited file is refused again
    with (home / "step.py").open("a") as f:
        f.write("\n")
    with pytest.raises(CodeNotAllowedError):
        get_model("./step.py")


def test_a_plain_function_is_its_formula(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    model, k = get_model("./dip.py:dip"), np.geomspace(1e-4, 0.1, 50)
    theta = torch.tensor([[2.0, -0.03, 0.3]], dtype=torch.float64)
    bell = np.exp(-0.5 * (np.log(k / 0.002) / 0.3) ** 2)
    expected = 2e-9 * (k / 0.05) ** -0.03 * (1 - 0.3 * bell)
    np.testing.assert_allclose(model.power(torch.from_numpy(k), theta)[0].numpy(), expected, rtol=1e-12)


def test_the_data_sets_have_the_likelihood_that_they_say(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    tau, band = load_data(
        ["./tau_mine/dataset.yaml", {"likelihood": "./mylike.py:Band", "value": 5650.0, "error": 60.0}]
    )
    theta = torch.tensor([[0.0224, 0.12, 1.0409, 0.064, 3.05, 0.965]], dtype=torch.float64)
    spectra = load_emulator("lcdm_planck2018").spectra(theta)
    assert tau.log_prob(spectra, {}).item() == pytest.approx(-0.5, rel=1e-9)  # one sigma above 0.058
    model = 1.01 * spectra.dl["tt"][0, 200:241].mean().item()
    got = band.log_prob(spectra, {"cal_mine": torch.tensor([1.01], dtype=torch.float64)}).item()
    assert got == pytest.approx(-0.5 * ((5650 - model) / 60) ** 2, rel=1e-12)


def test_the_sampler_draws_the_posterior(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a straight line's parameters, whose posterior is a normal in closed form."""
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    posterior = problem()
    mean, covariance, *_ = closed_form(posterior)
    sigma = np.sqrt(np.diag(covariance))
    start = {p: (m, s) for p, m, s in zip(posterior.parameters, mean + sigma, sigma, strict=True)}
    fit = Fit("walk", "walk", (), {}, start, {}, {"kind": "./mysampler.py", "steps": 3000})
    chain, record = sample(posterior, fit, [1, 0], home / "checkpoint", "code", progress=False)
    assert chain.converged
    assert len(record["sampler_code"]) == 64
    kept = chain.samples[600:]
    # 64 walkers, 2400 steps: some hundred independent draws of each walker
    error = sigma * np.sqrt(chain.tau / kept[..., 0].size)
    assert (error < 0.02 * sigma).all()
    assert (abs(kept.mean((0, 1)) - mean) < 5 * error).all()
    np.testing.assert_allclose(kept.std((0, 1)), sigma, rtol=0.05)
