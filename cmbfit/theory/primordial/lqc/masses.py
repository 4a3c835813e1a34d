"""Masses of perturbations in loop quantum cosmology: dressed metric and hybrid quantisation.

Both give v'' + (k^2 + S) v = 0 in conformal time, for tensors v = a h/2 and for scalars v = a Q (Q the Mukhanov-Sasaki variable), and
agree with general relativity far below rho_c. With P = phidot^2/2 - V and 8 pi G = 1:

    tensors, dressed metric:  S = -a''/a = -(a^2/6) [rho (1 + 2 rho/rho_c) - 3 P (1 - 2 rho/rho_c)]
    tensors, hybrid:          S = -(a^2/6) (rho - 3 P)
    scalars:                  S + a^2 [V'' + 6 V - 6 V^2/rho + C V'],

C = 2 sqrt(3) phidot/sqrt(rho) with the sign of H (dressed; the sign before the bounce is a convention) or 6 H phidot/rho (hybrid).
At a bounce ruled by kinetic energy S = -k_B^2 (dressed) and +k_B^2/3 (hybrid): they differ in sign. C V' and its companions are below
1e-9 of it there.

Sources: Agullo, Ashtekar & Nelson 2013 (CQG 30, 085014); Fernandez-Mendez, Mena Marugan & Olmedo 2013 (PRD 88, 044013);
Elizaga Navascues, Martin de Blas & Mena Marugan 2018 (PRD 97, 043523, equations of both masses).
"""

from __future__ import annotations

import math
from typing import Literal

import torch

from cmbfit.theory.primordial.potential import Potential

Approach = Literal["dressed", "hybrid"]
APPROACHES: tuple[Approach, ...] = ("dressed", "hybrid")


def along(potential: Potential, phi: torch.Tensor, order: int) -> tuple[torch.Tensor, ...]:
    """Return V and its first `order` derivatives, differentiable where phi is; each of shape (batch, n).

    :meth:`Potential.log_slopes` has those of ln V, which are infinite where the field passes V = 0.
    """
    track = phi.requires_grad
    with torch.enable_grad():
        x = phi if track else phi.detach().requires_grad_(True)
        out = [potential.value(x)]
        for i in range(order):
            if not out[-1].requires_grad:
                out.append(torch.zeros_like(phi))
                continue
            keep = track or i + 1 < order
            (slope,) = torch.autograd.grad(out[-1].sum(), x, create_graph=keep)
            out.append(slope)
    return tuple(out) if track else tuple(v.detach() for v in out)


def _pieces(potential: Potential, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Return V, V', V'', rho, phidot, sigma and a^2."""
    v, slope, curvature = along(potential, state[..., 0], 2)
    velocity, sigma = state[..., 1], state[..., 2]
    return v, slope, curvature, velocity.square() / 2 + v, velocity, sigma, torch.exp(2 * state[..., 3])


def friction(potential: Potential, state: torch.Tensor) -> torch.Tensor:
    """Return what multiplies d chi/d tau, chi = v/a: 3 tanh(sigma) (1 - phidot^2/2 rho)."""
    v, _, _, rho, _, sigma, _ = _pieces(potential, state)
    return 3 * torch.tanh(sigma) * v / rho


def _scalar_part(potential: Potential, state: torch.Tensor, approach: Approach) -> torch.Tensor:
    """Return V'' + 6 V - 6 V^2/rho + C V'."""
    v, slope, curvature, rho, velocity, sigma, _ = _pieces(potential, state)
    if approach == "hybrid":
        coupling = 2 * math.sqrt(3) * torch.tanh(sigma) * velocity / torch.sqrt(rho)
    else:
        sign = torch.where(sigma >= 0, 1.0, -1.0).to(sigma.dtype)
        coupling = 2 * math.sqrt(3) * sign * velocity / torch.sqrt(rho)
    return curvature + 6 * v * (1 - v / rho) + coupling * slope


def pump(
    potential: Potential, state: torch.Tensor, approach: Approach, rho_c: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return S of scalars and of tensors [M_p^2 at a_B = 1]; each of shape (batch, n)."""
    v, _, _, rho, _, _, square = _pieces(potential, state)
    pressure = rho - 2 * v
    share = rho / rho_c if approach == "dressed" else torch.zeros_like(rho)
    tensor = -square / 6 * (rho * (1 + 2 * share) - 3 * pressure * (1 - 2 * share))
    return tensor + square * _scalar_part(potential, state, approach), tensor


def mass_excess(
    potential: Potential, state: torch.Tensor, approach: Approach, rho_c: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (S + a''/a)/(a s)^2 of scalars and of tensors: the mass of chi = v/a in the clock tau, apart from k^2/(a s)^2."""
    v, _, _, rho, _, _, _ = _pieces(potential, state)
    # hybrid: a''/a of the effective dynamics minus the classical one, (a^2/3) (rho/rho_c) (rho + 3 P)
    share = rho / rho_c if approach == "hybrid" else torch.zeros_like(rho)
    tensor = share * (4 - 6 * v / rho)
    return tensor + 3 * _scalar_part(potential, state, approach) / rho, tensor
