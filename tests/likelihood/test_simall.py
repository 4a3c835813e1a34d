"""The low-l EE table against the published rule: take the row below D_l."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmbfit import data
from cmbfit.errors import DataError
from cmbfit.likelihood import TabulatedSpectrum
from cmbfit.likelihood.base import Likelihood
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import info, one

STEP, N_ROWS, N_ELL = 1e-4, 3000, 28


@pytest.fixture(scope="module")
def table() -> np.ndarray:
    text = data.read_bytes("planck2018_lowE/prob_table.txt").decode()
    return np.array([[float(x) for x in line.split()] for line in text.splitlines() if line.strip()])


@pytest.fixture(scope="module")
def lowe(likelihoods: dict[str, Likelihood]) -> Likelihood:
    return likelihoods["lowe"]


def log_prob(lowe: Likelihood, dl: np.ndarray, a_planck: float = 1.0) -> np.ndarray:
    """`dl` of l = 2..29, shape (batch, 28)."""
    ee = torch.from_numpy(np.concatenate([np.zeros((len(dl), 2)), dl], axis=1))
    return lowe.log_prob(Spectra({"ee": ee}), {"A_planck": one(len(dl), a_planck)}).numpy()


def floor_look_up(table: np.ndarray, dl: np.ndarray) -> float:
    """SimAll as published (Cobaya's planck_2018_lowl.EE), by a loop."""
    return sum(table[int(x / STEP), i] for i, x in enumerate(dl))


def test_equals_the_mean_of_published_look_ups(
    table: np.ndarray, lowe: Likelihood, rng: np.random.Generator
) -> None:
    """Linear interpolation between row centres is the look-up averaged over one step around D_l."""
    n = 2000
    offsets = ((np.arange(n) + 0.5) / n - 0.5) * STEP
    for dl in rng.uniform(STEP, 0.2, (5, N_ELL)):
        mean = np.mean([floor_look_up(table, dl + o) for o in offsets])
        # the midpoint rule misplaces the jump between two rows by at most 1/2n of the step
        jumps = np.abs(np.diff(table, axis=0)).max()
        assert log_prob(lowe, dl[None])[0] == pytest.approx(mean, abs=N_ELL * jumps / (2 * n))


def test_differs_from_the_published_look_up_by_at_most_half_a_row(
    table: np.ndarray, lowe: Likelihood, rng: np.random.Generator
) -> None:
    for dl in rng.uniform(STEP, 0.29, (50, N_ELL)):
        rows = (dl / STEP).astype(int)
        jumps = np.abs(np.diff(table, axis=0))
        bound = sum(0.5 * jumps[[r - 1, r], i].max() for i, r in enumerate(rows))
        assert abs(log_prob(lowe, dl[None])[0] - floor_look_up(table, dl)) <= bound + 1e-9


def test_at_row_centres_it_is_the_table(
    table: np.ndarray, lowe: Likelihood, rng: np.random.Generator
) -> None:
    rows = rng.integers(0, N_ROWS, (20, N_ELL))
    expected = [floor_look_up(table, (r + 0.5) * STEP) for r in rows]
    np.testing.assert_allclose(log_prob(lowe, (rows + 0.5) * STEP), expected, rtol=1e-9)


def test_calibration_divides_the_model_by_its_square(
    table: np.ndarray, lowe: Likelihood, rng: np.random.Generator
) -> None:
    rows = rng.integers(0, 2000, (4, N_ELL))
    expected = [floor_look_up(table, (r + 0.5) * STEP) for r in rows]
    np.testing.assert_allclose(log_prob(lowe, (rows + 0.5) * STEP * 1.1**2, 1.1), expected, rtol=1e-9)


@pytest.mark.parametrize("value", [-1e-6, 0.31, np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 27])
def test_outside_the_table_the_probability_is_zero(lowe: Likelihood, value: float, column: int) -> None:
    dl = np.full((3, N_ELL), 0.03)
    dl[1, column] = value
    got = log_prob(lowe, dl)
    assert got[1] == -np.inf
    assert np.isfinite(got[[0, 2]]).all()


def test_gradient_equals_finite_differences(lowe: Likelihood, rng: np.random.Generator) -> None:
    # half-way between two centres: the step of the difference stays on one straight piece
    dl = (rng.integers(10, 2000, (1, N_ELL)) + 0.0) * STEP
    ee = torch.from_numpy(np.concatenate([np.zeros((1, 2)), dl], axis=1)).requires_grad_()
    (gradient,) = torch.autograd.grad(lowe.log_prob(Spectra({"ee": ee}), {"A_planck": one()}).sum(), ee)
    h = 0.1 * STEP
    for i in range(N_ELL):
        shift = np.zeros((1, N_ELL))
        shift[0, i] = h
        expected = (log_prob(lowe, dl + shift) - log_prob(lowe, dl - shift))[0] / (2 * h)
        # cancellation: ln L of 200 in double precision over 2e-5
        assert gradient[0, i + 2].item() == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_a_table_with_holes_is_refused() -> None:
    table = np.zeros((5, 3))
    table[2, 1] = -np.inf
    with pytest.raises(DataError, match="finite two-dimensional"):
        TabulatedSpectrum(info(), "ee", 2, STEP, table)
