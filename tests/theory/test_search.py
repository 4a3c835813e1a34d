"""The search finds the polynomial that the spectra are; the learning curve falls with the spectra."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError
from cmbfit.theory.emulator.coordinates import Coordinates, reionisation_redshift
from cmbfit.theory.emulator.design import LCDM_BOX, LCDM_FOCUS, Design
from cmbfit.theory.emulator.search import learning_curve, search
from cmbfit.theory.emulator.train import fit_settings, prepare, split_by_background
from tests.theory.synthetic import LMAX, SETTINGS, Universe


def test_the_degree_of_the_spectra_is_chosen() -> None:
    """Quadratic spectra: degree 1 cannot hold them; degree 3 only adds terms to fit noise that is not there."""
    training = Universe(np.random.default_rng(5)).training_set(240)
    prepared = prepare(training, SETTINGS, LMAX)
    fit, validation = prepared.select(np.arange(180)), prepared.select(np.arange(180, 240))
    candidates = [{"degree": d, "weights": [1] * 6} for d in (1, 2, 8)]
    chosen, table = search(fit, validation, SETTINGS, candidates, LCDM_BOX)
    assert chosen.degree == chosen.lowl_degree == 2
    assert [row["degree"] for row in table] == [1, 2]  # degree 8 has more terms than there are spectra
    curve = learning_curve(fit, validation, chosen, LCDM_BOX, fractions=(0.15, 1))
    few, many = (row["errors"]["cmb"][1] for row in curve)
    assert many < 0.1 * few
    with pytest.raises(ConfigError, match="no candidate"):
        search(fit, validation, SETTINGS, candidates[2:], LCDM_BOX)


def test_unknown_fit_settings_are_refused() -> None:
    assert fit_settings({"weights": [1, 2, 3, 4, 5, 6]}).weights == (1, 2, 3, 4, 5, 6)
    with pytest.raises(ConfigError, match="did you mean 'degree'"):
        fit_settings({"degre": 3})
    with pytest.raises(ConfigError, match="expected one of tau, zre"):
        dataclasses.replace(SETTINGS, coordinates="z")


def test_both_box_and_focus_are_held_out() -> None:
    design = Design(n_backgrounds=40, n_focus=20, draws=2)
    training = Universe(np.random.default_rng(5)).training_set(120)
    training = dataclasses.replace(training, settings={"design": design.settings()})
    _, held = split_by_background(training, 0.1)
    assert sorted(set(held.background)) == [36, 37, 38, 39, 58, 59]


def test_extended_designs_vary_the_extension() -> None:
    design = Design(n_backgrounds=16, draws=1, per_chunk=16, extension={"nnu": (2.0, 4.0)})
    background, primordial = design.chunk(0)
    assert background.shape == (16, 5)
    assert primordial.shape == (16, 1, 2)
    assert sorted(np.floor((background[:, 4] - 2) / 2 * 16)) == list(range(16))  # Sobol strata
    # what acts on the primordial spectrum or on lensing takes another value in each draw
    late = Design(n_backgrounds=16, draws=2, per_chunk=16, extension={"mnu": (0.0, 0.6), "Alens": (0.5, 2.0)})
    background, primordial = late.chunk(0)
    assert late.background_names[-1] == "mnu"
    assert late.draw_names == ("logA", "ns", "Alens")
    assert primordial.shape == (16, 2, 3)
    assert len(np.unique(primordial[..., 2])) == 32
    assert (np.abs(primordial[..., 2] - 1.25) <= 0.75).all()
    assert "extension" not in Design().settings()
    with pytest.raises(ConfigError, match="nnu: expected low < high"):
        Design(extension={"nnu": (4.0, 2.0)})


def test_the_redshift_coordinate_is_near_camb_and_fills_its_range() -> None:
    """Planck's z_re = 7.68 at its best fit (Planck 2018 VI, table 2: 7.67 +- 0.73 with these means)."""
    planck = torch.tensor([[0.02236], [0.1202], [0.0544]], dtype=torch.float64)
    assert reionisation_redshift(*planck).item() == pytest.approx(7.68, abs=0.15)
    coordinates = Coordinates(LCDM_BOX, "zre")
    theta = torch.from_numpy(Universe(np.random.default_rng(2)).theta(2000))
    z = coordinates(theta)[:, 3]
    low, high = coordinates.box["tau"]
    assert low <= z.min().item()
    assert z.max().item() <= high
    assert torch.equal(coordinates(theta)[:, [0, 1, 2, 4, 5]], theta[:, [0, 1, 2, 4, 5]])
    assert set(LCDM_FOCUS) == set(LCDM_BOX)
