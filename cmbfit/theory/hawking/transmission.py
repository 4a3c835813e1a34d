"""Greybody factors: the chance that a wave from the horizon escapes, by the radial equations, batched.

psi'' + (w^2 - V) psi = 0 in the tortoise coordinate, M = 1, f = 1 - 2/r (Regge & Wheeler 1957; Page 1976):

    bosons:   V = f [l(l+1)/r^2 + 2(1 - s^2)/r^3],   s = 0, 1, 2
    s = 1/2:  V = W^2 + dW/dr*, W = (j + 1/2) sqrt(f)/r.

The wave is purely ingoing at the horizon and is decomposed far away with WKB amplitudes of the first
order. The clock is y = ln(r - 2), in which neither the horizon nor the far zone is stiff. The flux
|A_in|^2 - |A_out|^2 = w is conserved by the equation but not by the integrator: its departure is the error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cmbfit.errors import ParameterError
from cmbfit.theory.ode import integrate

SPINS = (0.0, 0.5, 1.0, 2.0)
_HORIZON = -60.0
"""y of the start: for s = 1/2 the potential falls only like exp(y/2)."""
_FAR = 160.0
"""w r of the end: the potential is l(l+1)/160^2 of w^2 there."""


@dataclass(frozen=True)
class Greybody:
    """Transmission of a batch of waves.

    Attributes
    ----------
    gamma : torch.Tensor, shape (n_w, n_waves)
    flux_error : float
        Largest relative departure of the conserved flux.
    """

    gamma: torch.Tensor
    flux_error: float


def _potential(spin: torch.Tensor, ell: torch.Tensor, r: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    f = torch.exp(y) / r
    kappa = ell + 0.5
    fermion = kappa**2 * f / r**2 + kappa * torch.sqrt(f) * (1 / r**3 - f / r**2)
    boson = f * (ell * (ell + 1) / r**2 + 2 * (1 - spin**2) / r**3)
    return torch.where(spin == 0.5, fermion, boson)


def greybody(
    frequencies: torch.Tensor,  # shape: (n_w,)
    waves: Sequence[tuple[float, float]],
    rtol: float = 1e-9,
) -> Greybody:
    """Return the transmission of waves, each of a spin and an angular momentum, at frequencies M w.

    Parameters
    ----------
    frequencies : torch.Tensor, shape (n_w,)
        M w > 0.
    waves : sequence of (spin, l)
        Massless fields of spin 0, 1/2, 1, 2 (gravitational, Regge-Wheeler); l = s, s + 1, ... (for
        s = 1/2 the total angular momentum j). Spins may be mixed: all waves are one batch.
    rtol : float
        Of psi and its derivative, per step.

    Raises
    ------
    ParameterError
        For another spin, an l below s, or frequencies that are not positive.

    Examples
    --------
    >>> w = torch.tensor([0.1], dtype=torch.float64)
    >>> round(greybody(w, [(0, 0)]).gamma.item(), 5)
    0.32453
    """
    for s, x in waves:
        if s not in SPINS or x < s or (x - s) % 1:
            raise ParameterError(
                f"greybody: expected a spin of {SPINS} and l = s, s + 1, ..., found s = {s:g}, l = {x:g}"
            )
    if frequencies.ndim != 1 or not bool(((frequencies > 0) & torch.isfinite(frequencies)).all()):
        raise ParameterError("greybody: expected a vector of positive frequencies M w")
    w = frequencies.to(torch.float64)[:, None]
    spin, ell = torch.tensor(list(waves), dtype=torch.float64).T[:, None]  # each of shape (1, n_waves)
    length = torch.log(_FAR / w) - _HORIZON  # shape: (n_w, 1)

    def coefficients(times: Sequence[float]) -> list[torch.Tensor]:
        y = _HORIZON + torch.tensor(times, dtype=torch.float64)[:, None, None] * length
        r = 2 + torch.exp(y)
        k2 = w**2 - _potential(spin, ell, r, y)
        return list(torch.stack([(length * r).expand_as(k2), -length * r * k2], -1))

    def rhs(at: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        return at * state.flip(-1)

    shape = (len(w), len(waves))
    one = torch.ones(shape, dtype=torch.complex128)
    start = torch.stack([one, -1j * w.expand(shape)], -1)
    psi, slope = integrate(rhs, 0.0, 1.0, start, rtol=rtol, stops=(), prepare=coefficients).y[-1].unbind(-1)

    y = torch.log(_FAR / w).expand(shape).clone().requires_grad_()
    with torch.enable_grad():
        r = 2 + torch.exp(y)
        k = torch.sqrt(w**2 - _potential(spin, ell, r, y))
        (dk_dy,) = torch.autograd.grad(k.sum(), y)
    k, dk = k.detach(), dk_dy / r.detach()  # dr* = r dy
    # psi = [A_in exp(-i phase) + A_out exp(+i phase)] / sqrt(k)
    momentum = 1j * (slope + dk * psi / (2 * k)) / k
    root = torch.sqrt(k) / 2
    incoming = (root * (psi + momentum)).abs().square()
    outgoing = (root * (psi - momentum)).abs().square()
    error = ((incoming - outgoing - w) / torch.maximum(w.expand(shape), incoming)).abs().max().item()
    return Greybody(gamma=w / incoming, flux_error=error)
