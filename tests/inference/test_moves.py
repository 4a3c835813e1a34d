"""Vectorised moves against emcee's own, and against a distribution that they must leave unchanged."""

from __future__ import annotations

import emcee
import numpy as np
import pytest

from cmbfit.errors import SamplerError
from cmbfit.inference.moves import DifferentialEvolution, Snooker, Stretch, VectorisedMove

D = 5


def log_prob(x: np.ndarray) -> np.ndarray:
    """A normal with a wall: density zero below -1 in the first parameter."""
    return np.where(x[:, 0] > -1, -0.5 * (x**2).sum(1), -np.inf)


def chain(move: emcee.moves.Move, start: np.ndarray, steps: int) -> emcee.EnsembleSampler:
    sampler = emcee.EnsembleSampler(*start.shape, log_prob, vectorize=True, moves=move)
    sampler.random_state = np.random.RandomState(7).get_state()
    sampler.run_mcmc(start, steps)
    return sampler


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(DifferentialEvolution, emcee.moves.DEMove), (Stretch, emcee.moves.StretchMove)],
)
def test_the_same_seed_gives_the_chain_of_emcee(
    ours: type[VectorisedMove], theirs: type[emcee.moves.Move], rng: np.random.Generator
) -> None:
    start = np.abs(rng.standard_normal((20, D)))
    a, b = chain(ours(), start, 200), chain(theirs(), start, 200)
    np.testing.assert_array_equal(a.get_chain(), b.get_chain())
    np.testing.assert_array_equal(a.get_log_prob(), b.get_log_prob())
    np.testing.assert_array_equal(a.acceptance_fraction, b.acceptance_fraction)
    assert 0.2 < a.acceptance_fraction.mean() < 0.8


@pytest.mark.parametrize("move", [Snooker(), DifferentialEvolution(), Stretch()])
def test_exact_draws_stay_exact(move: VectorisedMove, rng: np.random.Generator) -> None:
    """4000 draws of the truncated normal after 40 steps: still draws of it, hardly dependent on each other.

    One parameter is a half-line normal, the others are standard normals. With emcee 3.1.6's own snooker
    move the squared length of these falls by a tenth.
    """
    n = 4000
    start = rng.standard_normal((3 * n, D))
    start = start[start[:, 0] > -1][:n]
    sampler = chain(move, start, 40)
    x = sampler.get_chain()[-1]
    assert sampler.acceptance_fraction.mean() > 0.15
    assert x[:, 0].min() > -1
    # standard errors: 1/sqrt(n) of a mean, sqrt(2/n) of a variance; 5 of them
    phi = np.exp(-0.5) / np.sqrt(2 * np.pi) / 0.8413447
    assert x[:, 0].mean() == pytest.approx(phi, abs=5 / np.sqrt(n))
    np.testing.assert_allclose(x[:, 1:].mean(0), 0, atol=5 / np.sqrt(n))
    np.testing.assert_allclose(np.cov(x[:, 1:].T), np.eye(D - 1), atol=5 * np.sqrt(2 / n))
    length = (x[:, 1:] ** 2).sum(1).mean()
    assert length == pytest.approx(D - 1, abs=5 * np.sqrt(2 * (D - 1) / n))


def test_nan_is_an_error_and_not_a_refusal(rng: np.random.Generator) -> None:
    sampler = emcee.EnsembleSampler(
        20, D, lambda x: np.where(x[:, 0] > 3, np.nan, 0.0), vectorize=True, moves=Stretch()
    )
    with pytest.raises(SamplerError, match="returned NaN"):
        sampler.run_mcmc(rng.standard_normal((20, D)), 1000)
