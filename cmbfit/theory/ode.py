"""Batched initial-value problems in torch: Dormand-Prince 8(5,3) with one step for the whole batch.

Every element of the batch is held to its own tolerance: the step is the one that the worst element
allows. Coefficients are those of scipy's `DOP853` (Hairer, Norsett & Wanner 1993, sec. II.5).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.integrate import DOP853

from cmbfit.errors import SolverError

_STAGES = 12
_A, _B, _C = np.asarray(DOP853.A), np.asarray(DOP853.B), DOP853.C.tolist()
_E3, _E5 = np.asarray(DOP853.E3), np.asarray(DOP853.E5)


@dataclass(frozen=True)
class OdeSolution:
    """What :func:`integrate` returns.

    Attributes
    ----------
    t : tuple of float
        The times kept: the start, then every accepted step (or the stops only).
    y : torch.Tensor, shape (n_t, ...)
        The states there.
    steps : int
        Accepted steps.
    """

    t: tuple[float, ...]
    y: torch.Tensor
    steps: int


class _Stages:
    """The slopes of one step as rows of real numbers, so that each combination is one product."""

    def __init__(self, y: torch.Tensor) -> None:
        self.shape, self.is_complex = y.shape, y.is_complex()
        self.rows = torch.zeros((_STAGES + 1, y.numel() * (2 if self.is_complex else 1)), dtype=torch.float64)
        self.rows = self.rows.to(y.device)
        table = np.zeros((_STAGES + 3, _STAGES + 1))
        table[:_STAGES, :_STAGES], table[_STAGES, :_STAGES] = _A, _B
        table[_STAGES + 1], table[_STAGES + 2] = _E3, _E5
        self.table = torch.tensor(table, device=y.device)

    def __setitem__(self, i: int, slope: torch.Tensor) -> None:
        flat = torch.view_as_real(slope) if self.is_complex else slope
        self.rows[i] = flat.reshape(-1)

    def combine(self, row: int, used: int, h: float) -> torch.Tensor:
        """Return h times the slopes weighed by a row of the tableau (stages, B, E3, E5)."""
        total = (h * self.table[row, :used]) @ self.rows[:used]
        if self.is_complex:
            return torch.view_as_complex(total.reshape(*self.shape, 2))
        return total.reshape(self.shape)

    def worst_error(self, y: torch.Tensor, new: torch.Tensor, h: float, rtol: float, atol: float) -> float:
        """Return the largest scaled error of any element (1 is the tolerance); inf when not finite."""
        scale = atol + rtol * torch.maximum(y.abs(), new.abs())
        third = (self.combine(_STAGES + 1, _STAGES + 1, h).abs() / scale).square()
        fifth = (self.combine(_STAGES + 2, _STAGES + 1, h).abs() / scale).square()
        # Hairer's combination of both estimates; an element without error has 0/0
        ratio = fifth / (fifth + 0.01 * third + 1e-300).sqrt()
        worst = ratio.max().item()  # NaN propagates
        return worst if math.isfinite(worst) else math.inf


@torch.no_grad()
def integrate(
    rhs: Callable[[Any, torch.Tensor], torch.Tensor],
    start: float,
    end: float,
    y0: torch.Tensor,  # shape: (...)
    *,
    rtol: float = 1e-10,
    atol: float = 0.0,
    first_step: float = 1e-3,
    max_step: float = math.inf,
    max_steps: int = 100_000,
    stops: Sequence[float] | None = None,
    finished: Callable[[float, torch.Tensor], bool] | None = None,
    prepare: Callable[[Sequence[float]], Sequence[Any]] | None = None,
) -> OdeSolution:
    """Integrate dy/dt = rhs(t, y) from `start` to `end` > `start`.

    Parameters
    ----------
    rhs : callable
        (t, y) to dy/dt of y's shape; t is a number, shared by the batch. Real or complex (where the
        modulus is held to the tolerance).
    y0 : torch.Tensor, shape (...)
    rtol, atol : float
        Of every single element, per step.
    stops : sequence of float, optional
        Increasing times that the steps must hit; only the states there are kept (else: of all steps).
    finished : callable, optional
        Called after each accepted step; True ends the integration early.
    prepare : callable, optional
        Turns the times of all stages of a step into what `rhs` gets instead of t: coefficients that do
        not depend on y are then computed once a step, not once a stage.

    Raises
    ------
    SolverError
        When the step becomes negligible, the state is not finite or `max_steps` do not suffice.
    """
    t, y, h = start, y0, min(first_step, end - start)
    targets = [*(stops or ()), end]
    kept_t, kept_y = [start], [y0]
    prepare = prepare or (lambda times: times)
    slope, steps, target = rhs(prepare([t])[0], y), 0, 0
    stages = _Stages(y)
    for _ in range(max_steps):
        h = min(h, max_step)
        room = targets[target] - t
        landing = h >= room * (1 - 1e-12)
        step = room if landing else h
        arrival = targets[target] if landing else t + step
        at = prepare([*(t + c * step for c in _C), arrival])
        stages[0] = slope
        for i in range(1, _STAGES):
            stages[i] = rhs(at[i], y + stages.combine(i, i, step))
        new = y + stages.combine(_STAGES, _STAGES, step)
        slope_new = rhs(at[-1], new)
        stages[_STAGES] = slope_new
        error = stages.worst_error(y, new, step, rtol, atol)
        factor = 0.9 * max(error, 1e-12) ** (-1 / 8) if math.isfinite(error) else 0.1
        if error > 1:
            h = step * max(0.1, min(factor, 0.9))
            if h < 1e-14 * max(abs(t), 1e-3):
                raise SolverError(f"integration stalls at t = {t:.6g}: the solution is singular there")
            continue
        t, y, slope, steps = arrival, new, slope_new, steps + 1
        # a step cut short to land on a stop says nothing against the longer one
        h = max(h, step * min(factor, 5.0)) if landing else step * min(factor, 5.0)
        if stops is None or landing:
            kept_t.append(t)
            kept_y.append(y)
        if landing:
            target += 1
        if target == len(targets) or (finished is not None and finished(t, y)):
            return OdeSolution(tuple(kept_t), torch.stack(kept_y), steps)
    raise SolverError(f"{max_steps} steps did not reach t = {end:g} (got to {t:.6g}); loosen rtol")
