"""Foregrounds by frequency: components sum to the model, chi2 of each spectrum by hand, amplitudes beside papers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from cmbfit.figures.foregrounds import (
    amplitude_table,
    component_table,
    component_tables,
    plot_amplitudes,
    plot_components,
)
from cmbfit.figures.style import save_figure
from cmbfit.inference.products import Samples
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from tests.likelihood.helpers import one
from tests.likelihood.test_lite import Toy, fiducial

VALUES = {"T90": 1.01, "T150": 0.99, "E150": 1.02, "kappa": 0.0, "p90": 20.0, "px": 12.0, "p150": 0.0}


def toy(rng: np.random.Generator) -> MultiFrequencyBandpowers:
    return Toy(rng).like


def test_components_sum_to_the_model_and_each_spectrum_has_its_chi2(rng: np.random.Generator) -> None:
    like = toy(rng)
    nuisance = {k: one(value=v) for k, v in VALUES.items()}
    table = component_table(like, fiducial(), nuisance)
    np.testing.assert_allclose(table["cmb"] + table["Poisson sources"], table["model"], rtol=1e-12)
    # by hand: windows of unit sum, D_l of sources 20 (l/30)^2, calibration of 90 GHz
    first = table["spectrum"] == "TT 90x90"
    window = like.blocks[0].window.numpy()
    weight = window.sum(1)
    ell = np.arange(window.shape[1])
    expected = window @ (20 * (ell / 30) ** 2 * (ell >= 2)) / 1.01**2 / weight
    np.testing.assert_allclose(table["Poisson sources"][first], expected, rtol=1e-9)
    assert not table["Poisson sources"][table["spectrum"] == "EE 150x150"].any()
    rows = like.sections["TT 150x150"]
    residual = (like.data - like.bandpowers(fiducial(), nuisance)[0]).numpy()[rows]
    chi2 = residual @ np.linalg.inv(like.covariance.numpy()[rows, rows]) @ residual
    mine = table["spectrum"] == "TT 150x150"
    assert table["chi2"][mine][0] == pytest.approx(chi2)
    assert table["pte"][mine][0] == pytest.approx(1 - stats.chi2.cdf(chi2, 3))


@pytest.mark.slow
def test_a_panel_for_each_spectrum_of_all_sets(rng: np.random.Generator, tmp_path: Path) -> None:
    like = toy(rng)
    nuisance = {k: one(value=v) for k, v in VALUES.items()}
    other = toy(rng)
    other.info = replace(other.info, name="other")
    table = component_tables([like, other], fiducial(), nuisance)
    figure = plot_components(table)
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert sum("PTE" in t for t in titles) == 8
    assert any(t.startswith("TT 90x90 (toy)") for t in titles)
    save_figure(figure, tmp_path / "x", table)
    assert "Poisson sources" in (tmp_path / "x.csv").read_text().splitlines()[0]


def test_amplitudes_stand_beside_their_priors_and_papers(rng: np.random.Generator, tmp_path: Path) -> None:
    like = toy(rng)
    x = rng.normal(18.0, 2.0, (4000, 2))
    samples = Samples(("p90", "T90"), [x], [np.zeros(4000)], 1, {})
    table = amplitude_table([like], samples)
    assert table["parameter"].tolist() == ["p90"]  # calibrations are none, others were not sampled
    assert table["mean"][0] == pytest.approx(18.0, abs=0.2)
    assert (table["prior_mean"][0], table["prior_std"][0]) == (15.0, 10.0)
    assert np.isnan(table["paper"][0])
    save_figure(plot_amplitudes(table), tmp_path / "x", table)
