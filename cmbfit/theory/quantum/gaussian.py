"""Gaussian states by their covariance matrix: a classical simulation of what expands and what evaporates.

A state of n modes with zero mean is its covariance V_ij = <{R_i, R_j}>, R = (x_1, p_1, ..., x_n, p_n), with
V = 1 for the vacuum. Quadratic evolution (the expansion of the universe, the horizon) is a symplectic
matrix S: V -> S V S^T. Entropies follow from the symplectic eigenvalues nu_k >= 1 (Weedbrook et al. 2012,
Rev. Mod. Phys. 84, 621). This costs n^2 numbers where a general quantum state would cost exponentially
many; nothing here runs on, or needs, quantum hardware.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from cmbfit.errors import ParameterError


def symplectic_form(n: int) -> np.ndarray:  # shape: (2n, 2n)
    """Return Omega, the commutators of (x_1, p_1, ...)."""
    return np.kron(np.eye(n), np.array([[0.0, 1.0], [-1.0, 0.0]]))


def bosonic_entropy(n: np.ndarray | float) -> np.ndarray:
    """Return s(n) = (n + 1) ln(n + 1) - n ln n, the entropy of a thermal mode with n quanta."""
    n = np.asarray(n, dtype=float)
    safe = np.where(n > 0, n, 1.0)
    return np.where(n > 0, (n + 1) * np.log1p(n) - n * np.log(safe), 0.0)


class GaussianState:
    """A Gaussian state of zero mean.

    Parameters
    ----------
    covariance : numpy.ndarray, shape (2n, 2n)
        In units in which the vacuum is the identity.

    Raises
    ------
    ParameterError
        If it is not symmetric, or violates the uncertainty relation V + i Omega >= 0.
    """

    def __init__(self, covariance: np.ndarray) -> None:
        v = np.asarray(covariance, dtype=float)
        if v.ndim != 2 or v.shape[0] != v.shape[1] or v.shape[0] % 2 or not np.allclose(v, v.T, rtol=1e-9):
            raise ParameterError(f"Gaussian state: expected a symmetric 2n x 2n covariance, found {v.shape}")
        size = np.abs(v).max()
        if np.linalg.eigvalsh(v + 1j * symplectic_form(len(v) // 2)).min() < -1e-9 * size:
            raise ParameterError("Gaussian state: the covariance violates the uncertainty relation")
        self.covariance = v

    @classmethod
    def vacuum(cls, n: int) -> GaussianState:
        """Return the vacuum of `n` modes."""
        return cls(np.eye(2 * n))

    @property
    def modes(self) -> int:
        """Number of modes."""
        return len(self.covariance) // 2

    def evolve(self, symplectic: np.ndarray) -> GaussianState:
        """Return the state after S, shape (2n, 2n).

        Raises
        ------
        ParameterError
            If S is not symplectic (S Omega S^T = Omega): the evolution would not be unitary.
        """
        omega = symplectic_form(self.modes)
        s = np.asarray(symplectic, dtype=float)
        if s.shape != omega.shape or not np.allclose(
            s @ omega @ s.T, omega, atol=1e-9 * max(1.0, np.abs(s).max() ** 2)
        ):
            raise ParameterError(f"evolution: expected a symplectic matrix of shape {omega.shape}")
        return GaussianState(s @ self.covariance @ s.T)

    def lossy(self, mode: int, transmission: float) -> GaussianState:
        """Return the state after a beam splitter with vacuum: the greybody barrier for one mode."""
        if not 0 <= transmission <= 1:
            raise ParameterError(f"transmission: expected 0..1, found {transmission}")
        x = np.eye(2 * self.modes)
        y = np.zeros_like(x)
        for i in (2 * mode, 2 * mode + 1):
            x[i, i] = math.sqrt(transmission)
            y[i, i] = 1 - transmission
        return GaussianState(x @ self.covariance @ x.T + y)

    def reduced(self, modes: Sequence[int]) -> GaussianState:
        """Return the state of some modes, the others traced out."""
        index = [i for m in modes for i in (2 * m, 2 * m + 1)]
        return GaussianState(self.covariance[np.ix_(index, index)])

    def quanta(self) -> np.ndarray:  # shape: (n,)
        """Return the mean number of quanta of each mode."""
        diagonal = np.diag(self.covariance).reshape(-1, 2)
        return (diagonal.sum(1) - 2) / 4

    def symplectic_eigenvalues(self) -> np.ndarray:  # shape: (n,)
        """Return nu_k >= 1, increasing."""
        values = np.abs(np.linalg.eigvals(1j * symplectic_form(self.modes) @ self.covariance))
        return np.maximum(np.sort(values)[::2], 1.0)

    def entropy(self) -> float:
        """Return the von Neumann entropy in nats."""
        return float(bosonic_entropy((self.symplectic_eigenvalues() - 1) / 2).sum())

    def purity(self) -> float:
        """Return Tr rho^2 = 1/sqrt(det V)."""
        return float(np.linalg.det(self.covariance) ** -0.5)

    def log_negativity(self) -> float:
        """Return the entanglement of mode 0 with the rest: -sum ln of the partially transposed nu_k < 1."""
        flip = np.ones(2 * self.modes)
        flip[1] = -1
        v = self.covariance * np.outer(flip, flip)
        nu = np.sort(np.abs(np.linalg.eigvals(1j * symplectic_form(self.modes) @ v)))[::2]
        return float(-np.log(np.minimum(nu, 1.0)).sum())


def two_mode_squeezer(r: float, angle: float = 0.0) -> np.ndarray:  # shape: (4, 4)
    """Return S of a_1 -> cosh r a_1 + e^{i angle} sinh r a_2^dagger, and 1 <-> 2: pairs k, -k or inside, outside."""
    c, s = math.cosh(r), math.sinh(r)
    z = s * np.array([[math.cos(angle), math.sin(angle)], [math.sin(angle), -math.cos(angle)]])
    return np.block([[c * np.eye(2), z], [z, c * np.eye(2)]])


def two_mode_squeezed(r: float, angle: float = 0.0) -> GaussianState:
    """Return the two-mode squeezed vacuum.

    Examples
    --------
    >>> round(two_mode_squeezed(1.0).reduced([0]).entropy(), 4)
    1.6198
    """
    return GaussianState.vacuum(2).evolve(two_mode_squeezer(r, angle))


def squeezing_entropy(r: np.ndarray | float) -> np.ndarray:
    """Return cosh^2 r ln cosh^2 r - sinh^2 r ln sinh^2 r, the entanglement entropy of a squeezed pair."""
    return bosonic_entropy(np.sinh(np.asarray(r, dtype=float)) ** 2)
