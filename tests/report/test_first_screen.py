"""What the page says in words and what a paper takes from it: computed from the run, and true of it."""

from __future__ import annotations

import copy
import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmbfit.config import load_config
from cmbfit.errors import ConfigError
from cmbfit.figures.published import published_gaussian
from cmbfit.fit.complete import complete_fit
from cmbfit.inference.products import Samples
from cmbfit.report.finding import run_title
from cmbfit.report.latex import latex_table
from cmbfit.report.page import render
from cmbfit.report.readme import describe, readme

from .example import ENTRY, SUMMARY


def text_of(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def run(**settings: Any) -> dict[str, Any]:
    summary: dict[str, Any] = copy.deepcopy(SUMMARY)
    summary["provenance"]["settings"] |= settings
    fit = summary["fits"]["lcdm"]
    fit["title"] = "LCDM, Planck"
    fit["parameters"]["H0"] = {
        **ENTRY,
        "mean": 67.28,
        "std": 0.61,
        "reference": 67.27,
        "reference_std": 0.6,
        "pull": 0.02,
    }
    fit["data"][0]["sky"] = {"planck": {"tt": [30, 2508], "te": [30, 1996], "ee": [30, 1996]}}
    return summary


def test_the_first_screen_says_what_was_fitted_to_what_and_what_came_out() -> None:
    summary = run()
    page = render(summary, [], [])
    text = text_of(page)
    assert re.search(r"<h1>LCDM, Planck</h1>", page)
    assert "= 67.28 ± 0.61 km/s/Mpc; the best fit has χ² = 584.2 for 613 bandpowers (PTE 0.79)." in text
    assert "All 2 published values are met within 0.02 σ" in text
    assert "plik & co : TT ℓ 30–2508, TE EE ℓ 30–1996 (613 values)".replace(" :", ":") in text
    assert "probability to exceed" in text
    far = copy.deepcopy(summary)
    far["fits"]["lcdm"]["parameters"]["H0"]["pull"] = -3.2
    assert "Of 2 published values the farthest lies 3.20 σ away" in text_of(render(far, [], []))
    assert "All 2 published" not in text_of(render(far, [], []))


def test_a_title_says_how_many_fits_of_the_same_data() -> None:
    fits = run()["fits"]
    assert run_title(fits, "x") == "LCDM, Planck"
    assert run_title({**fits, "b": fits["lcdm"]}, "x") == "LCDM, Planck, and 1 other model of the same data"
    other = {**fits["lcdm"], "data": []}
    assert run_title({**fits, "b": other, "c": other}, "x") == "LCDM, Planck, and 2 other fits"
    assert run_title({}, "maps") == "maps"


@pytest.mark.parametrize(
    ("degrees", "said"), [(0.0, "It is not apodised."), (2.5, "Apodised over 2.5° (C2).")]
)
def test_captions_are_of_this_run(tmp_path: Path, degrees: float, said: str) -> None:
    from cmbfit.figures.style import new_figure, save_figure

    save_figure(new_figure(2, 2), tmp_path / "mask", {"x": np.zeros(2)})
    maps = {"apodisation": {"type": "C2", "degrees": degrees}}
    text = text_of(render(run(maps=maps), [tmp_path / "mask.png"], []))
    assert (
        f"Figure 1. The mask. Weight of each pixel in the spectra: 0 is left out, 1 counts in full. {said}"
        in text
    )


def test_latex_compiles_to_the_numbers_of_the_summary() -> None:
    fits = run()["fits"]
    table = latex_table({"a_b": {**fits["lcdm"], "title": "100% of it\n\\input{x}"}})
    assert r"$H_0$ & $67.28 \pm 0.61$ \\" in table
    assert r"$\Omega_\mathrm{b} h^2$ & $0.02236 \pm 0.00015$ \\" in table
    assert r"Parameter & a\_b \\" in table
    # what a user wrote stands behind a comment's sign, on one line
    assert [line for line in table.splitlines() if "input" in line] == [r"% a\_b: 100% of it \input{x}"]
    both = latex_table({"a": fits["lcdm"], "b": {**fits["lcdm"], "parameters": {}}})
    assert r"$H_0$ & $67.28 \pm 0.61$ & --- \\" in both


def test_published_contours_have_the_published_covariance(rng: np.random.Generator) -> None:
    """A chain in which H0 is linear in two parameters: its published correlations follow from theirs."""
    fit = complete_fit(
        "lcdm_planck2018", load_config(["default"])["fits"]["lcdm_planck2018"], "lcdm_planck2018"
    )
    assert fit.reference is not None
    names = ("ombh2", "omch2", "H0")
    x = rng.multivariate_normal([0.0224, 0.12], np.diag([1.5e-4, 1.4e-3]) ** 2, 4000)
    h0 = 67.3 + 1000 * (x[:, 0] - 0.0224) - 400 * (x[:, 1] - 0.12)
    samples = Samples(names, [np.column_stack([x, h0])], [np.zeros(4000)], 2, {})
    found = published_gaussian(samples, fit.reference, names)
    assert found is not None
    sigma = np.array([0.00015, 0.0014])
    joint = np.array([[1, -0.5798], [-0.5798, 1]]) * np.outer(sigma, sigma)
    np.testing.assert_allclose(found.covariance[:2, :2], joint, rtol=1e-12)
    slope = np.array([1000.0, -400.0])
    correlation = joint @ slope / sigma / np.sqrt(slope @ joint @ slope)
    width = 0.60  # of H0, as published, whatever the regression says
    np.testing.assert_allclose(found.covariance[2, :2] / sigma / width, correlation, rtol=1e-9)
    assert found.covariance[2, 2] == pytest.approx(width**2)
    # 68.27% of such a Gaussian lies inside the inner ellipse: exactly the chi2 of its points
    edge = found.contours("ombh2", "H0")[0] - found.mean[[0, 2]][:, None]
    inverse = np.linalg.inv(found.covariance[np.ix_([0, 2], [0, 2])])
    chi2 = np.einsum("ik,ij,jk->k", edge, inverse, edge)
    np.testing.assert_allclose(1 - np.exp(-chi2 / 2), 0.6827, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lower": [[1], [1.5, 1]]}, "no correlation matrix"),
        ({"lower": [[1], [0.5]]}, "expected 2 rows of 1 to 2 numbers, each ending with 1"),
        ({"parameters": ["ombh2", "zrei"]}, "zrei has no mean and sigma"),
    ],
)
def test_correlations_that_are_none_are_refused(change: dict[str, Any], said: str) -> None:
    section = copy.deepcopy(load_config(["default"])["fits"]["lcdm_planck2018"])
    given = {"source": "x", "parameters": ["ombh2", "omch2"], "lower": [[1], [-0.6, 1]]}
    section["reference"]["correlations"] = given | change
    with pytest.raises(ConfigError, match=re.escape("fits.a.reference.correlations") + ".*" + said):
        complete_fit("a", section, "lcdm_planck2018")


def test_the_readme_says_what_is_there(tmp_path: Path) -> None:
    for name in (
        "summary.json",
        "chains/lcdm.samples.h5",
        "chains/lcdm.samples.h5.json",
        "spectra/lowl.record.json",
        "logs/a.log",
        "mine.dat",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    text = readme(tmp_path, run())
    for line in (
        "# LCDM, Planck", "- `lcdm.samples.h5`: the joined chain of lcdm after burn-in, with derived parameters (HDF5)",
        "- `lcdm.samples.h5.json`: provenance of lcdm.samples.h5", "- `lowl.record.json`: provenance of lowl.json",
        "What each job said, by rule.", "- `mine.dat`",
    ):  # fmt: skip
        assert line in text.splitlines(), line
    assert describe("figures/corner_lcdm.csv") == "the numbers plotted in the figure corner_lcdm"
