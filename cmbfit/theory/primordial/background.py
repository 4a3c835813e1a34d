"""Homogeneous inflation in e-folds: phi'' = -(3 - eps)(phi' + V'/V), eps = phi'^2/2, H^2 = V/(3 - eps)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import DOP853

from cmbfit.errors import InflationError, SolverError
from cmbfit.theory.ode import integrate
from cmbfit.theory.primordial.dual import log_slope
from cmbfit.theory.primordial.potential import Potential

_ENDED = 2.02
"""(dphi/dN)^2 just beyond the end of inflation at 2."""

Ends = tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]


def _ends(derivatives: tuple[torch.Tensor, ...]) -> Ends:
    """Return values at the left and at the right knots of all intervals."""
    return tuple(x[:, :-1] for x in derivatives), tuple(x[:, 1:] for x in derivatives)


def _quintic(ends: Ends, h: torch.Tensor) -> torch.Tensor:  # shape: (..., 6)
    """Return coefficients in s = (N - N_left)/h of the quintic with given value, slope, curvature at both ends."""
    left, right = ends
    a0, a1, a2 = left[0], h * left[1], h**2 * left[2] / 2
    d0 = right[0] - a0 - a1 - a2
    d1 = h * right[1] - a1 - 2 * a2
    d2 = h**2 * right[2] - 2 * a2
    a3 = 10 * d0 - 4 * d1 + d2 / 2
    a4 = -15 * d0 + 7 * d1 - d2
    a5 = 6 * d0 - 3 * d1 + d2 / 2
    return torch.stack([a0, a1, a2, a3, a4, a5], -1)


@dataclass(frozen=True)
class Background:
    """A batch of inflationary histories on common knots of e-folds N (0 at the start).

    Attributes
    ----------
    knots : torch.Tensor, shape (n,)
    velocity : torch.Tensor, shape (batch, n - 1, 6)
        Quintic coefficients of u = dphi/dN between knots.
    log_ah : torch.Tensor, shape (batch, n - 1, 6)
        Likewise of ln(aH), with a = 1 at N = 0.
    n_end : torch.Tensor, shape (batch,)
        Where eps = 1.
    phi : torch.Tensor, shape (batch, n)
        Field at the knots.
    """

    knots: torch.Tensor
    velocity: torch.Tensor
    log_ah: torch.Tensor
    n_end: torch.Tensor
    phi: torch.Tensor

    def at(
        self,
        n: torch.Tensor,  # shape: (batch, m)
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return u, du/dN and ln(aH) at e-folds `n`; each of shape (batch, m)."""
        i = (torch.searchsorted(self.knots, n.contiguous(), right=True) - 1).clamp(0, len(self.knots) - 2)
        h = self.knots[i + 1] - self.knots[i]
        s = (n - self.knots[i]) / h
        index = i[..., None].expand(*i.shape, 6)
        c, d = self.velocity.gather(1, index), self.log_ah.gather(1, index)
        u, slope, log_ah = c[..., 5], 5 * c[..., 5], d[..., 5]
        for j in (4, 3, 2, 1, 0):
            u = u * s + c[..., j]
            log_ah = log_ah * s + d[..., j]
            if j > 0:
                slope = slope * s + j * c[..., j]
        return u, slope / h, log_ah

    def find_log_ah(
        self,
        target: torch.Tensor,  # shape: (batch, m)
    ) -> torch.Tensor:  # shape: (batch, m)
        """Return the e-folds at which ln(aH) = target, by Newton steps; aH grows while eps < 1."""
        n = target - self.log_ah[:, :1, 0]  # H is nearly constant
        end = self.n_end[:, None].expand_as(n)
        n = torch.minimum(n.clamp_min(0.0), end - 1e-3)
        for _ in range(40):
            u, _, value = self.at(n)
            step = (target - value) / (1 - u.square() / 2).clamp_min(0.05)
            n = torch.minimum((n + step).clamp_min(0.0), end)
            if bool((step.abs() < 1e-12).all()):
                break
        return n

    @property
    def slow_roll_end(self) -> torch.Tensor:  # shape: (batch,)
        """ln(aH) at the end of inflation."""
        return self.at(self.n_end[:, None])[2][:, 0]


def solve_background(
    potential: Potential,
    start: torch.Tensor,  # shape: (batch,)
    *,
    max_efolds: float = 300.0,
    rtol: float = 1e-9,
    max_step: float = 0.5,
) -> Background:
    """Roll the field from `start` at its slow-roll velocity to the end of inflation.

    Parameters
    ----------
    potential : Potential
    start : torch.Tensor, shape (batch,)
        Field values; the memory of the starting velocity fades like exp(-3N).
    max_efolds : float
    rtol : float
        Of field and velocity, per step.
    max_step : float
        In e-folds; bounds the error of interpolation between steps.

    Raises
    ------
    InflationError
        If V is not positive at the start, inflation does not start (eps >= 1) or does not end.
    """
    phi0 = start.reshape(-1, 1)
    v, slope = potential.log_slopes(phi0)
    if bool((~(v > 0)).any()) or bool((slope.square() >= 2).any()):
        raise InflationError(
            f"potential {potential.formula.text!r}: expected V > 0 and epsilon_V < 1 at the start "
            f"phi = {phi0.flatten().tolist()[:4]}"
        )
    if potential.batch == 1:
        times, states = _roll_one(potential, phi0.item(), max_efolds, rtol, max_step)
        return _tabulate(potential, times, states)
    alive = torch.ones_like(phi0, dtype=torch.bool)

    def rhs(t: float, y: torch.Tensor) -> torch.Tensor:  # noqa: ARG001
        phi, u = y[..., 0], y[..., 1]
        _, slope = potential.log_slopes(phi)
        out = torch.stack([u, -(3 - u.square() / 2) * (u + slope)], -1)
        return torch.where(alive[..., None], out, torch.zeros_like(out))

    def finished(t: float, y: torch.Tensor) -> bool:  # noqa: ARG001
        # members that have ended are frozen: what follows (oscillations) is not needed
        alive.logical_and_(y[..., 1].square() < _ENDED)
        return not bool(alive.any())

    y0 = torch.stack([phi0, -slope], -1)  # shape: (batch, 1, 2)
    run = integrate(
        rhs, 0.0, max_efolds, y0, rtol=rtol, atol=rtol * 1e-2, max_step=max_step, finished=finished
    )
    if bool(alive.any()):
        raise _endless(potential, max_efolds)
    return _tabulate(potential, torch.tensor(run.t, dtype=torch.float64), run.y[:, :, 0])


def _endless(potential: Potential, max_efolds: float) -> InflationError:
    return InflationError(
        f"potential {potential.formula.text!r}: inflation does not end within {max_efolds:g} e-folds"
    )


def _roll_one(
    potential: Potential, phi0: float, max_efolds: float, rtol: float, max_step: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return knots and states, shape (n, 1, 2), of one potential: the same method on plain numbers.

    A batch shares what tensors and automatic differentiation cost; alone it is most of the time.
    """
    slope = log_slope(potential.formula, "phi", {p: x.item() for p, x in potential.parameters.items()})

    def rhs(t: float, y: np.ndarray) -> tuple[float, float]:  # noqa: ARG001
        phi, u = y.tolist()
        return u, -(3 - u * u / 2) * (u + slope(phi))

    run = DOP853(
        rhs,
        0.0,
        [phi0, -slope(phi0)],
        max_efolds,
        # its norm is the mean of both errors, where a batch is held to the largest
        rtol=max(rtol / 10, 3e-14),  # scipy refuses less
        atol=rtol * 1e-3,
        first_step=min(1e-3, max_efolds),
        max_step=max_step,
    )
    times, states = [0.0], [run.y]
    while run.y[1] ** 2 < _ENDED:
        if run.status == "finished":
            raise _endless(potential, max_efolds)
        run.step()
        if run.status == "failed":
            raise SolverError(f"integration stalls at N = {run.t:.6g}: the solution is singular there")
        times.append(run.t)
        states.append(run.y)
    return torch.tensor(times, dtype=torch.float64), torch.from_numpy(np.stack(states))[:, None]


def _tabulate(potential: Potential, knots: torch.Tensor, states: torch.Tensor) -> Background:
    phi, u = states[..., 0].T, states[..., 1].T  # shape: (batch, n)
    v, slope, curvature = potential.log_slopes(phi, 2)
    eps = u.square() / 2
    du = -(3 - eps) * (u + slope)
    ddu = u * du * (u + slope) - (3 - eps) * (du + curvature * u)
    log_ah = knots + 0.5 * torch.log(v / (3 - eps))
    h = (knots[1:] - knots[:-1]).expand(len(phi), -1)
    velocity = _quintic(_ends((u, du, ddu)), h)
    horizon = _quintic(_ends((log_ah, 1 - eps, -u * du)), h)
    table = Background(knots, velocity, horizon, torch.zeros(len(phi), dtype=torch.float64), phi)
    last = (eps < 1).sum(1, keepdim=True) - 1  # eps passes 1 once before the freeze
    low, high = knots[last], knots[(last + 1).clamp_max(len(knots) - 1)]
    for _ in range(60):
        middle = (low + high) / 2
        before = table.at(middle)[0].square() < 2
        low, high = torch.where(before, middle, low), torch.where(before, high, middle)
    return Background(knots, velocity, horizon, low[:, 0], phi)
