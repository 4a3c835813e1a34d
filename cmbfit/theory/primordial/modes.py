"""Mukhanov-Sasaki: curvature and tensor modes from the vacuum to the frozen power, batched.

In e-folds, with u = dphi/dN and eps = u^2/2,

    R'' + (3 - eps + 2u'/u) R' + (k/aH)^2 R = 0,    h'' + (3 - eps) h' + (k/aH)^2 h = 0.

Every mode starts k/aH = `inside` deep in the Bunch-Davies vacuum and has its own clock, so that all
modes of all potentials are one state on one grid of time since the start (the fastest phase is the
same for all). Unitarity, |alpha|^2 - |beta|^2 = 1, is the Wronskian: no step enforces it, so its
departure from 1 measures the error of the integration.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cmbfit.errors import InflationError
from cmbfit.theory.ode import integrate
from cmbfit.theory.primordial.background import Background

_CHECKS = (10.0, 1.0, 0.1)
"""k/aH at which unitarity and squeezing are recorded."""


@dataclass(frozen=True)
class ModeResult:
    """Power of a batch of modes.

    Attributes
    ----------
    scalar, tensor : torch.Tensor, shape (batch, n_k)
        P_R and P_T (both polarisations); for H in reduced Planck units.
    unitarity : float
        Largest | |alpha|^2 - |beta|^2 - 1 | of any mode at k/aH near 10, 1 and 0.1.
    quanta : torch.Tensor, shape (3, batch, n_k)
        |beta|^2 = sinh^2 r of the scalar mode there, for the momentum v' - (z'/z) v.
    ratio : torch.Tensor, shape (3, batch, n_k)
        k/aH there.
    steps : int
    """

    scalar: torch.Tensor
    tensor: torch.Tensor
    unitarity: float
    quanta: torch.Tensor
    ratio: torch.Tensor
    steps: int


def evolve_modes(
    background: Background,
    log_k: torch.Tensor,  # shape: (batch, n_k)
    *,
    inside: float = 200.0,
    outside: float = 1e-4,
    rtol: float = 1e-9,
) -> ModeResult:
    """Evolve modes of ln k (in the units of ln(aH) of `background`).

    Parameters
    ----------
    background : Background
    log_k : torch.Tensor, shape (batch, n_k)
    inside, outside : float
        k/aH at the start and at the end.
    rtol : float
        Of each mode's complex amplitude, per step.

    Raises
    ------
    InflationError
        If a mode would start before the background does, or not freeze before inflation ends.
    """
    begin = background.find_log_ah(log_k - math.log(inside))
    u0, du0, l0 = background.at(begin)
    finish = background.find_log_ah(log_k - math.log(outside))
    started = ((l0 - log_k + math.log(inside)).abs() < 1e-8).all()
    frozen = ((background.at(finish)[2] - log_k + math.log(outside)).abs() < 1e-8).all()
    if not bool(started & frozen):
        raise InflationError(
            f"modes: expected every mode to go from k/aH = {inside:g} to {outside:g} within inflation; "
            + ("give the background more e-folds before the modes" if not bool(started) else "k is too large")
        )

    def prepare(times: Sequence[float]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        offsets = torch.tensor(times, dtype=torch.float64, device=begin.device)
        n = begin[..., None] + offsets  # shape: (batch, n_k, n_times)
        u, du, log_ah = (x.reshape(n.shape) for x in background.at(n.flatten(1)))
        friction = 3 - u.square() / 2
        frequency = torch.exp(2 * (log_k[..., None] - log_ah))
        damping = torch.stack([friction + 2 * du / u, friction], -1)
        return list(zip(frequency[..., None].unbind(2), damping.unbind(2), strict=True))

    def rhs(at: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor) -> torch.Tensor:
        frequency, damping = at
        fields, slopes = y[..., :2], y[..., 2:]  # of R and h
        return torch.cat([slopes, -(damping * slopes + frequency * fields)], -1)

    one = torch.ones_like(u0, dtype=torch.complex128)
    y0 = torch.stack([one, one, -1j * inside - 1 - du0 / u0, (-1j * inside - 1) * one], -1)
    length = (finish - begin).max().item()
    stops = [math.log(inside / x) for x in _CHECKS]
    run = integrate(rhs, 0.0, length, y0, rtol=rtol, stops=stops, first_step=0.2 / inside, prepare=prepare)

    quanta, ratio, worst = [], [], 0.0
    for t, y in zip(run.t[1:-1], run.y[1:-1], strict=True):
        u, _, log_ah = background.at(begin + t)
        grown = torch.exp(2 * t + 2 * torch.log(u / u0))  # (z/z0)^2
        x = torch.exp(log_k - log_ah)
        wronskian = -(y[..., 0].conj() * y[..., 2]).imag * grown * torch.exp(log_ah - l0) / inside
        tensor = -(y[..., 1].conj() * y[..., 3]).imag * math.exp(2 * t) * torch.exp(log_ah - l0) / inside
        worst = max(worst, (wronskian - 1).abs().max().item(), (tensor - 1).abs().max().item())
        energy = grown / 4 * (y[..., 0].abs().square() + (y[..., 2].abs() / x).square())
        quanta.append(energy - wronskian / 2)
        ratio.append(x)
    # (k/a)^2 = (inside H)^2 at the start, where |R| = 1/(a u sqrt(2k))
    norm = torch.exp(2 * (l0 - begin)) * inside**2 / (4 * math.pi**2)
    y = run.y[-1]
    return ModeResult(
        scalar=norm / u0.square() * y[..., 0].abs().square(),
        tensor=8 * norm * y[..., 1].abs().square(),
        unitarity=worst,
        quanta=torch.stack(quanta),
        ratio=torch.stack(ratio),
        steps=run.steps,
    )
