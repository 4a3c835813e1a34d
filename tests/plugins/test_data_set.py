"""A data set of a known kind is one file that someone writes, its dataset.yaml; a nuisance parameter is that same file.

What a release holds (a vector, a covariance, windows, their definition) is not counted: it is there before, and no one
who fits it writes it.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from cmbfit.errors import ConfigError
from cmbfit.fit import build_posterior, load_run, start_point
from cmbfit.likelihood import Gaussian, Uniform, load_likelihood
from cmbfit.likelihood.selection import read_words
from cmbfit.provenance.uses import fit_uses
from cmbfit.theory.spectra import Spectra

from .change import Change, cmbfit
from .conftest import POINT

BARYONS = {
    "title": "omega_b h^2 = 0.0222 +- 0.0005 (deuterium)",
    "kind": "parameter",
    "parameter": "ombh2",
    "gaussian": [0.0222, 0.0005],
    "sky": {},
    "nuisance": {},
    "citation": "nobody",
}
BINS = {
    "title": "twenty bins",
    "kind": "candl",
    "definition": "bins.yaml",
    "files": ["bins.yaml", "data.txt", "cov.txt", "windows/TT_90x90_window_functions.txt"],
    "sky": {"bins": {"tt": [2, 101]}},
    "nuisance": {},
    "citation": "nobody",
}
GAIN = {"nuisance": {"gain": {"gaussian": [1.0, 0.01]}}, "calibration": {"gain": {"tt": 1}}}
SET = [word for p, x in POINT.items() for word in ("--set", f"{p}={x}")]
# so narrow that the theory stands still: what is left is the nuisance parameter
STILL = {p: {"gaussian": [x, 1e-6 * x]} for p, x in POINT.items()}


def log_like(*words: str) -> dict[str, Any]:
    result = cmbfit("loglike", *words, *SET)
    assert result.exit_code == 0, result.exception
    return json.loads(result.stdout)


def model(windows: np.ndarray, posterior: Any) -> np.ndarray:
    """Bandpowers of the fit's own theory at the point, by numpy."""
    theta = torch.tensor([list(POINT.values())], dtype=torch.float64)
    with torch.no_grad():
        return windows @ posterior.theory.spectra(theta).dl["tt"][0, 2:102].numpy()


@pytest.fixture
def release(change: Change, bandpowers: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Somebody's release in the folder `work`; its data, errors and windows."""
    folder = Path(bandpowers).parent
    shutil.copytree(folder, change.work, dirs_exist_ok=True)
    table = np.loadtxt(folder / "windows" / "TT_90x90_window_functions.txt")
    data, covariance = np.loadtxt(folder / "data.txt"), np.loadtxt(folder / "cov.txt")
    return data, np.sqrt(np.diag(covariance)), table[:, 1:].T


def posterior_of(config: str) -> tuple[Any, Any]:
    fit = load_run([config]).fits["mine"]
    return fit, build_posterior(fit)


def test_one_file_adds_a_measurement(change: Change) -> None:
    change.write("baryons.yaml", yaml.safe_dump(BARYONS))
    assert len(change.files) == 1
    fit, posterior = posterior_of(change.configure(fits={"mine": {"data": ["./baryons.yaml"]}}))
    assert [like.info.n_data for like in posterior.likelihoods] == [1]
    theta = torch.tensor([list(POINT.values())], dtype=torch.float64)
    expected = -0.5 * ((0.0224 - 0.0222) / 0.0005) ** 2
    got = sum(x.item() for x in posterior.log_likelihoods(theta).values())
    assert got == pytest.approx(expected, rel=1e-9)
    assert log_like("--data", "./baryons.yaml")["log_like"] == pytest.approx(expected, rel=1e-9)
    # the description is in the fit's hash
    before = fit_uses(fit).hash()
    change.write("baryons.yaml", yaml.safe_dump({**BARYONS, "gaussian": [0.0223, 0.0005]}))
    assert fit_uses(fit).hash() != before


def test_one_file_adds_bandpowers(change: Change, release: tuple[np.ndarray, ...]) -> None:
    data, sigma, windows = release
    change.write("mine.yaml", yaml.safe_dump(BINS))
    assert len(change.files) == 1
    _, posterior = posterior_of(change.configure(fits={"mine": {"data": ["./mine.yaml"]}}))
    assert posterior.not_folded is None
    expected = -0.5 * (((model(windows, posterior) - data) / sigma) ** 2).sum()
    theta = torch.tensor([list(POINT.values())], dtype=torch.float64)
    got = sum(x.item() for x in posterior.log_likelihoods(theta).values())
    # folded: to 1e-6, which a fit states of itself
    assert got == pytest.approx(expected, rel=1e-6)
    assert log_like("--data", "./mine.yaml")["log_like"] == pytest.approx(expected, rel=1e-9)
    cut = log_like("--data", "{./mine.yaml: {cuts: {tt: [50, 101]}}}")["log_like"]
    expected = -0.5 * (((model(windows, posterior) - data) / sigma)[10:] ** 2).sum()
    assert cut == pytest.approx(expected, rel=1e-6)


def test_the_command_line_tells_a_description_from_a_definition(
    change: Change, release: tuple[np.ndarray, ...]
) -> None:
    """By what is in it, whatever it is called: a description says its kind."""
    change.write("mine.yaml", yaml.safe_dump(BINS))
    change.write("broken.yaml", "a: [")
    words = ["mine.yaml", "bins.yaml", "broken.yaml", "none.yaml", "dataset.yaml"]
    expected = ["mine.yaml", *({"candl": x} for x in words[1:4]), "dataset.yaml"]
    assert read_words(words) == expected


def test_one_file_adds_a_nuisance(change: Change, release: tuple[np.ndarray, ...]) -> None:
    """A gain g of these bins: its posterior is a Gaussian of closed form."""
    data, sigma, windows = release
    change.write("mine.yaml", yaml.safe_dump(BINS | GAIN))
    assert len(change.files) == 1
    config = change.configure(fits={"mine": {"data": ["./mine.yaml"], "priors": STILL}})
    fit, posterior = posterior_of(config)
    # prior and start follow from the description
    assert posterior.parameters == (*POINT, "gain")
    assert posterior.priors["gain"] == Gaussian(1.0, 0.01)
    centre, scale = start_point(fit, posterior)
    assert (centre["gain"], scale["gain"]) == (1.0, 0.01)
    assert "by their data sets' priors gain" in cmbfit("check", config).stdout
    m = model(windows, posterior)
    expected = -0.5 * (((1.03 * m - data) / sigma) ** 2).sum()
    assert log_like("--data", "./mine.yaml", "--nuisance", "gain=1.03")["log_like"] == pytest.approx(
        expected, rel=1e-9
    )
    # prior times likelihood: precisions add
    precision = ((m / sigma) ** 2).sum() + 0.01**-2
    mean = ((m * data / sigma**2).sum() + 0.01**-2) / precision
    result = cmbfit("fit", config, "--quick", "-o", "out")
    assert result.exit_code == 0, result.exception
    gain = json.loads(Path("out/quick.json").read_text(encoding="utf-8"))["parameters"]["gain"]
    assert gain["best"] == pytest.approx(mean, abs=1e-3 * precision**-0.5)
    assert gain["sigma"] == pytest.approx(precision**-0.5, rel=1e-3)


def test_a_fit_may_say_otherwise_of_it(change: Change, release: tuple[np.ndarray, ...]) -> None:
    change.write("mine.yaml", yaml.safe_dump(BINS | GAIN))
    mine = {"data": ["./mine.yaml"], "priors": {"gain": {"uniform": [0.9, 1.2]}}}
    fit, posterior = posterior_of(change.configure(fits={"mine": mine}))
    assert posterior.priors["gain"] == Uniform(0.9, 1.2)
    # a flat prior's start: the middle, a twentieth of the width
    assert [x["gain"] for x in start_point(fit, posterior)] == pytest.approx([1.05, 0.015])
    mine = {"data": ["./mine.yaml"], "priors": {"gian": {"uniform": [0.9, 1.2]}}}
    with pytest.raises(ConfigError, match=r"fits\.mine\.priors: unknown name 'gian'; did you mean 'gain'"):
        load_run([change.configure(fits={"mine": mine})])


def test_one_file_gives_plik_lite_a_nuisance(change: Change) -> None:
    """A description of one's own of registered files: with the new gain at 1 it is the shipped data set."""
    spec = {
        "title": "plik-lite TT with a gain",
        "kind": "plik_lite",
        "pairs": ["tt"],
        "files": "planck2018_plik_lite",
        "sky": {"planck": {"tt": [30, 2508]}},
        "nuisance": {"A_planck": {"gaussian": [1.0, 0.0025]}, "gain": {"uniform": [0.9, 1.1]}},
        "calibration": {"A_planck": {"tt": -2}, "gain": {"tt": 1}},
        "citation": "nobody",
    }
    change.write("mine.yaml", yaml.safe_dump(spec))
    assert len(change.files) == 1
    mine = str(change.work / "mine.yaml")
    fit, posterior = posterior_of(change.configure(fits={"mine": {"data": [mine]}}))
    assert posterior.parameters == (*POINT, "A_planck", "gain")
    assert start_point(fit, posterior)[0]["gain"] == pytest.approx(1.0)
    shipped = load_likelihood("planck2018_plik_lite_tt")
    theta = torch.tensor([[*POINT.values(), 1.001, 1.02]], dtype=torch.float64)
    with torch.no_grad():
        sky = posterior.theory.spectra(theta[:, :6])
        louder = Spectra({p: 1.02 * x for p, x in sky.dl.items()}, sky.parameters)
        expected = shipped.log_prob(louder, {"A_planck": theta[:, 6]}).item()
        got = sum(x.item() for x in posterior.log_likelihoods(theta).values())
    assert got == pytest.approx(expected, rel=1e-5)
    # the registered files' sha256 are in the fit's hash as for the shipped set
    assert any(name.startswith("planck2018_plik_lite/") for name in fit_uses(fit).files)
