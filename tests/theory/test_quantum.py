"""Gaussian states against closed forms and brute-force evolution in Fock space."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cmbfit.errors import ParameterError
from cmbfit.figures.quantum import plot_states, state_table
from cmbfit.theory.quantum import GaussianState, hawking_pair, squeezing_entropy, two_mode_squeezed
from cmbfit.theory.quantum.fock import mean_quanta, reduced_entropy, squeeze_fock
from cmbfit.theory.quantum.gaussian import bosonic_entropy, two_mode_squeezer
from cmbfit.theory.quantum.hawking_state import primordial_squeezing
from cmbfit.theory.quantum.tables import state_tables


def test_two_mode_squeezing_against_fock_space() -> None:
    r = 1.0
    state, amplitudes = two_mode_squeezed(r), squeeze_fock(r, 60)
    # tanh^2(1)^60 = 7e-15 of the probability is cut off
    assert (amplitudes**2).sum() == pytest.approx(1, abs=1e-12)
    assert reduced_entropy(amplitudes) == pytest.approx(state.reduced([0]).entropy(), abs=1e-8)
    assert mean_quanta(amplitudes) == pytest.approx(state.quanta()[0], abs=1e-8)
    assert state.quanta() == pytest.approx([math.sinh(1) ** 2] * 2)
    assert state.reduced([1]).entropy() == pytest.approx(1.6198, abs=5e-5)
    assert float(squeezing_entropy(1.0)) == pytest.approx(1.6198, abs=5e-5)
    n = np.arange(20)
    assert np.diag(amplitudes)[:20] == pytest.approx(np.tanh(r) ** n / np.cosh(r), abs=1e-8)


def test_pairs_are_pure_and_entangled() -> None:
    state = two_mode_squeezed(1.3, angle=0.7)
    assert state.purity() == pytest.approx(1, abs=1e-10)
    assert state.entropy() == pytest.approx(0, abs=1e-6)
    assert state.log_negativity() == pytest.approx(2 * 1.3, rel=1e-9)
    assert GaussianState.vacuum(2).log_negativity() == pytest.approx(0, abs=1e-12)
    back = state.evolve(np.linalg.inv(two_mode_squeezer(1.3, 0.7)))
    assert back.covariance == pytest.approx(np.eye(4), abs=1e-10)


def test_hawking_pairs() -> None:
    # the reduced state is thermal at T = 1/8 pi M: Boltzmann's ratio of levels, Planck's mean
    w = 0.08
    free = hawking_pair(w)
    n = 1 / math.expm1(8 * math.pi * w)
    assert free.quanta()[0] == pytest.approx(n, rel=1e-10)
    assert free.reduced([0]).entropy() == pytest.approx(
        8 * math.pi * w * n - math.log(-math.expm1(-8 * math.pi * w))
    )
    filtered = hawking_pair(w, 0.3)
    assert filtered.quanta() == pytest.approx([0.3 * n, n], rel=1e-10)
    assert filtered.reduced([0]).entropy() == pytest.approx(float(bosonic_entropy(0.3 * n)), rel=1e-10)
    assert filtered.entropy() > 0  # what the barrier reflects is not followed


def test_primordial_pair() -> None:
    # de Sitter: |beta|^2 = 1/(4 x^2); 50 e-folds after exit r = 50
    assert primordial_squeezing(1 / (4 * math.exp(-50.0) ** 2)) == pytest.approx(50.0, abs=1e-6)
    assert two_mode_squeezed(primordial_squeezing(25.0)).quanta()[0] == pytest.approx(25.0, rel=1e-9)


def test_what_is_not_a_state_is_refused() -> None:
    with pytest.raises(ParameterError, match="uncertainty"):
        GaussianState(0.5 * np.eye(2))
    with pytest.raises(ParameterError, match="symmetric"):
        GaussianState(np.ones((3, 3)))
    with pytest.raises(ParameterError, match="symplectic"):
        GaussianState.vacuum(1).evolve(2 * np.eye(2))
    with pytest.raises(ParameterError, match="transmission"):
        hawking_pair(0.1, 1.2)
    with pytest.raises(ParameterError, match="levels"):
        squeeze_fock(1.0, 1)


@pytest.mark.slow
def test_tables_of_squeezed_states() -> None:
    table = state_tables(1.2, 50)
    s, p, h = table["squeezing"], table["primordial"], table["hawking"]
    assert s["quanta"] == pytest.approx(np.sinh(s["r"]) ** 2)
    # tanh(1.2)^100 = 1e-8 of the probability is cut off, times the quanta there
    assert s["quanta_fock"] == pytest.approx(s["quanta"], abs=1e-5)
    assert s["entropy_fock"] == pytest.approx(s["entropy"], abs=1e-6)
    assert s["log_negativity"] == pytest.approx(2 * np.array(s["r"]), abs=1e-9)
    # slow roll: x^-(1 - n_s) = 9% at x = 0.1, and k tau = (1 + epsilon) k/aH = 2%
    assert p["quanta"] == pytest.approx(p["quanta_de_sitter"], rel=0.12)
    assert max(p["unitarity"]) < 1e-8
    # the entropy of the state outside is that of the flux of the greybody calculation
    assert h["entropy"] == pytest.approx(h["entropy_rate"], rel=1e-8, abs=1e-12)
    assert all(0 < g < 1 + 1e-6 for g in h["transmission"])  # rounding of large frequencies
    assert len(plot_states(table).axes) == 3
    assert set(state_table(table)["panel"]) == {"squeezing", "primordial", "hawking"}
