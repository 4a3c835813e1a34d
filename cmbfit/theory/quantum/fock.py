"""The same squeezing in a truncated Fock space: a brute-force check of the Gaussian simulator."""

from __future__ import annotations

import numpy as np
from scipy.sparse import diags, identity, kron
from scipy.sparse.linalg import expm_multiply

from cmbfit.errors import ParameterError


def squeeze_fock(r: float, levels: int) -> np.ndarray:  # shape: (levels, levels)
    """Return amplitudes <n, m| exp[r (a^dagger b^dagger - a b)] |0, 0> with `levels` states for each mode.

    The evolution is by the matrix exponential of the truncated generator, not by the known result.

    Raises
    ------
    ParameterError
        If fewer than two levels are given.
    """
    if levels < 2:
        raise ParameterError(f"Fock space: expected at least 2 levels, found {levels}")
    lower = diags(np.sqrt(np.arange(1.0, levels)), 1)
    one = identity(levels)
    a, b = kron(lower, one), kron(one, lower)
    generator = (r * (a.T @ b.T - a @ b)).tocsc()
    vacuum = np.zeros(levels**2)
    vacuum[0] = 1.0
    return expm_multiply(generator, vacuum).reshape(levels, levels)


def reduced_entropy(amplitudes: np.ndarray) -> float:
    """Return the entanglement entropy [nats] of a pure state of two modes, from its singular values."""
    p = np.linalg.svd(amplitudes, compute_uv=False) ** 2
    p = p[p > 1e-300]
    return float(-(p * np.log(p)).sum())


def mean_quanta(amplitudes: np.ndarray) -> float:
    """Return <n> of the first mode."""
    return float((np.arange(len(amplitudes))[:, None] * amplitudes**2).sum())
