"""A matrix product that leaves out zeros: a multipole sees wavenumbers around l / distance and somewhat beyond."""

from __future__ import annotations

import torch

from cmbfit.device import OnDevice

_ROWS = 1024
"""Rows of one product, about: fewer leave out more zeros, more are faster each."""


class Staircase(OnDevice):
    """Rows by pair and multipole, each of which begins and ends with zeros.

    Parameters
    ----------
    matrix : torch.Tensor, shape (n_pairs, n_ell, n, n_k)
        `n` rows for each pair and multipole. CAMB's own are zero below k D = 0.97 l, and those of the CMB beyond what its
        integrals are cut at: half of all numbers. Which are is looked up, not taken for granted.
    """

    def __init__(self, matrix: torch.Tensor) -> None:
        self.matrix = matrix
        n_pairs, n_ell, n, _ = matrix.shape
        step = max(1, round(_ROWS / n))
        self._steps = [
            (pair, low, min(low + step, n_ell), *_extent(matrix[pair, low : low + step]))
            for pair in range(n_pairs)
            for low in range(0, n_ell, step)
        ]

    def __call__(
        self,
        x: torch.Tensor,  # shape: (batch, n_k)
    ) -> torch.Tensor:  # shape: (batch, n_pairs, n_ell, n)
        """Return the matrix times each x, in the matrix's precision."""
        x = x.to(self.matrix.dtype)
        parts = [
            x[:, a:b] @ self.matrix[pair, i:j, :, a:b].flatten(0, 1).T for pair, i, j, a, b in self._steps
        ]
        return torch.cat(parts, 1).unflatten(1, self.matrix.shape[:3])


def _extent(rows: torch.Tensor) -> tuple[int, int]:
    """First and one past the last wavenumber that any row sees."""
    seen = (rows.flatten(0, 1) != 0).any(0).nonzero()
    return (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, 0)
