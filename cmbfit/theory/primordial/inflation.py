"""From a potential to P_R(k) and P_T(k): background, pivot, modes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cmbfit.theory.primordial.background import Background, solve_background
from cmbfit.theory.primordial.model import PIVOT
from cmbfit.theory.primordial.modes import ModeResult, evolve_modes
from cmbfit.theory.primordial.potential import Potential

_RELAX = 4.0
"""e-folds before the first mode starts, in which the start's memory fades to exp(-12)."""


@dataclass(frozen=True)
class InflationResult:
    """Spectra of a batch of potentials.

    Attributes
    ----------
    k : torch.Tensor, shape (n_k,)
        1/Mpc.
    scalar, tensor : torch.Tensor, shape (batch, n_k)
    background : Background
    modes : ModeResult
    """

    k: torch.Tensor
    scalar: torch.Tensor
    tensor: torch.Tensor
    background: Background
    modes: ModeResult


def solve_inflation(
    potential: Potential,
    k: torch.Tensor,  # shape: (n_k,)
    efolds: float | torch.Tensor,
    *,
    pivot: float = PIVOT,
    inside: float = 200.0,
    rtol: float = 1e-9,
) -> InflationResult:
    """Solve background and modes of `potential`; the pivot leaves the horizon `efolds` before the end.

    Parameters
    ----------
    potential : Potential
        V in units of M_p^4 (the overall factor is that of the spectra).
    k : torch.Tensor, shape (n_k,)
        1/Mpc.
    efolds : float or torch.Tensor, shape (batch,)
        N*, e-folds between k* = aH and eps = 1.
    pivot : float
        k* [1/Mpc].
    inside : float
        k/aH at which modes start in the vacuum; the error of the vacuum is of order 1/inside^2.
    rtol : float
        Of the modes, per step.

    Raises
    ------
    InflationError
        If the potential does not inflate long enough, or does not end.

    Examples
    --------
    >>> V = Potential("phi**2 / 2", {}, (0.1, 30.0))
    >>> k = torch.tensor([0.05], dtype=torch.float64)
    >>> round(solve_inflation(V, k, 55.0).scalar.item(), 2)
    50.98
    """
    deepest = max(0.0, math.log(pivot / k.min().item()))
    duration = torch.as_tensor(efolds, dtype=torch.float64).expand(potential.batch)
    longest = duration.max().item() + math.log(inside) + deepest + _RELAX
    background = solve_background(potential, potential.slow_roll_start(longest))
    exit_pivot = (background.n_end - duration)[:, None]
    log_k = background.at(exit_pivot)[2] + torch.log(k / pivot)
    modes = evolve_modes(background, log_k, inside=inside, rtol=rtol)
    return InflationResult(k, modes.scalar, modes.tensor, background, modes)


@dataclass(frozen=True)
class Tilts:
    """Spectral parameters at the pivot, each of shape (batch,)."""

    amplitude: torch.Tensor
    ns: torch.Tensor
    running: torch.Tensor
    r: torch.Tensor
    nt: torch.Tensor


def spectral_parameters(
    potential: Potential, efolds: float, *, pivot: float = PIVOT, step: float = 0.2
) -> Tilts:
    """Return A, n_s, its running, r and n_t at the pivot by five-point differences of ln P in ln k.

    The differences are exact for quartics; `step` in ln k keeps the solver's noise (1e-9) below 1e-7.
    """
    offsets = torch.arange(-2, 3, dtype=torch.float64) * step
    run = solve_inflation(potential, pivot * torch.exp(offsets), efolds, pivot=pivot)
    first = torch.tensor([1, -8, 0, 8, -1], dtype=torch.float64) / (12 * step)
    second = torch.tensor([-1, 16, -30, 16, -1], dtype=torch.float64) / (12 * step**2)
    scalar, tensor = run.scalar.log(), run.tensor.log()
    return Tilts(
        amplitude=run.scalar[:, 2],
        ns=1 + scalar @ first,
        running=scalar @ second,
        r=run.tensor[:, 2] / run.scalar[:, 2],
        nt=tensor @ first,
    )
