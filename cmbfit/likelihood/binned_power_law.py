"""A power law of a free exponent seen through windows, without its multipoles: a polynomial of the exponent."""

from __future__ import annotations

import numpy as np
import torch

from cmbfit.device import OnDevice

_PRECISION = 1e-14
"""Last Chebyshev coefficients, relative to the largest of their bandpower."""


class BinnedPowerLaw(OnDevice):
    """Windows times (l / l_0)^exponent as Chebyshev polynomials of the exponent, to rounding inside a range.

    Outside the range the multipoles are summed as they are.

    Parameters
    ----------
    windows : torch.Tensor, shape (n_rows, n_ell)
    log_ell : torch.Tensor, shape (n_ell,)
        ln(l / l_0).
    low, high : float
        Range of the exponent.
    """

    def __init__(self, windows: torch.Tensor, log_ell: torch.Tensor, low: float, high: float) -> None:
        self.windows, self.log_ell = windows, log_ell
        self.middle, self.half = (low + high) / 2, (high - low) / 2
        for n in (8, 16, 32, 64, 128):
            angle = np.pi * (np.arange(n) + 0.5) / n
            at = torch.from_numpy(self.middle + self.half * np.cos(angle))
            values = torch.exp(at[:, None] * log_ell) @ windows.T
            transform = torch.from_numpy(2 / n * np.cos(np.arange(n)[:, None] * angle))
            transform[0] /= 2
            self.coefficients = transform @ values  # (n, n_rows)
            size = self.coefficients.abs().amax(0)
            if bool((self.coefficients[-2:].abs() <= _PRECISION * size).all()):
                break
        else:
            self.half = 0.0  # too wide a range: the multipoles are summed
        large = (self.coefficients.abs() > 1e-17 * self.coefficients.abs().amax(0)).any(1)
        self.coefficients = self.coefficients[: int(torch.nonzero(large).max()) + 1].contiguous()

    def __call__(self, exponent: torch.Tensor) -> torch.Tensor:  # (batch,) -> (n_rows, batch)
        """Return the bandpowers at amplitude 1."""
        x = (exponent - self.middle) / self.half if self.half else torch.full_like(exponent, torch.inf)
        if not bool((x.abs() <= 1).all()):
            return self.windows @ torch.exp(exponent * self.log_ell[:, None])
        terms = [torch.ones_like(x), x]
        while len(terms) < len(self.coefficients):
            terms.append(2 * x * terms[-1] - terms[-2])
        return self.coefficients.T @ torch.stack(terms[: len(self.coefficients)])
