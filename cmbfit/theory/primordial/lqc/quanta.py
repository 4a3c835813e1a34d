"""Quanta that a bounce ruled by kinetic energy makes, for either mass and each vacuum: one function of k/k_B.

At the bounce every potential that can inflate the universe later is below 1e-9 of rho_c, so that a = cosh^(1/3)(3 tau) and the modes
know no potential ("universal", Zhu et al. 2017). In the clock tau and with x = k/k_B, chi = v/a obeys

    chi'' + [3 x^2 cosh^(4/3)(3 tau) + M] chi = 0,   M = 0 (dressed metric) or 4/cosh^2(3 tau) (hybrid),

tensors and scalars alike. N = |beta|^2 is counted in the vacuum of the kinetic era after the bounce.
"""

from __future__ import annotations

import functools
import math

import numpy as np
import torch

from cmbfit.theory.ode import integrate
from cmbfit.theory.primordial.lqc.masses import Approach
from cmbfit.theory.primordial.lqc.vacuum import adiabatic, kinetic
from cmbfit.theory.primordial.spline import Spline

_FAR = ((0.3, 7.5), (math.inf, 4.5))
"""Up to which k/k_B, and |sigma| where quanta are counted: beta errs by S exp(-2 sigma)/k^2 there, below 1e-5 of itself."""

TABLE = (1e-6, 5.0)
"""k/k_B of the tables."""


def _scale(sigma: torch.Tensor) -> torch.Tensor:
    """Return a s/k_B."""
    return torch.cosh(sigma).pow(-2 / 3) / math.sqrt(3)


def _mass_series(approach: Approach) -> torch.Tensor:  # shape: (1, 6)
    """Return Taylor coefficients in eta of S at the bounce: 1/(3 a^4), minus 4/(3 a^10) for the dressed metric."""
    with torch.enable_grad():
        sigma = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        a = torch.cosh(sigma).pow(1 / 3)
        value = a.pow(-4) / 3 - (4 * a.pow(-10) / 3 if approach == "dressed" else 0.0)
        terms = [value.detach()]
        for i in range(1, 6):
            (slope,) = torch.autograd.grad(value.sum(), sigma, create_graph=True)
            value = slope * 3 * _scale(sigma)
            terms.append(value.detach() / math.factorial(i))
    return torch.stack(terms, 1)


def quanta(
    x: torch.Tensor,  # shape: (n_k,)
    approach: Approach = "dressed",
    vacuum: int | str = "kinetic",
    rtol: float = 1e-10,
) -> torch.Tensor:  # shape: (n_k,)
    """Return N at x = k/k_B from the kinetic vacuum before the bounce, or the adiabatic one of order 0, 2 or 4 at it.

    Raises
    ------
    InflationError
        If the vacuum does not exist for one of the modes.

    Examples
    --------
    >>> round(quanta(torch.tensor([1.0], dtype=torch.float64)).item(), 4)
    0.1511
    """
    out, done = torch.empty_like(x), torch.zeros_like(x, dtype=torch.bool)
    for largest, far in _FAR:
        part = (x <= largest) & ~done
        if bool(part.any()):
            out[part] = _quanta(x[part][None], approach, vacuum, far, rtol)
        done |= part
    return out


def _quanta(k: torch.Tensor, approach: Approach, vacuum: int | str, far: float, rtol: float) -> torch.Tensor:
    start = -far if vacuum == "kinetic" else 0.0
    sigma = torch.tensor([[start]], dtype=torch.float64)
    scale, growth = _scale(sigma), torch.tanh(sigma)
    if vacuum == "kinetic":
        v, dv = kinetic(k, 1 / (2 * scale * growth.abs()))
    else:
        v, dv = adiabatic(k, _mass_series(approach), int(vacuum))
    a = torch.cosh(sigma).pow(1 / 3)
    chi = v / a
    begin = torch.stack([chi, dv / (a * scale) - growth * chi], -1)

    def rhs(tau: float, y: torch.Tensor) -> torch.Tensor:
        c = math.cosh(3 * tau)
        excess = 4 / c**2 if approach == "hybrid" else 0.0
        return torch.stack([y[..., 1], -(3 * c ** (4 / 3) * k.square() + excess) * y[..., 0]], -1)

    end = integrate(rhs, start / 3, far / 3, begin, rtol=rtol, stops=()).y[-1]
    sigma = torch.tensor([[far]], dtype=torch.float64)
    scale, growth, a = _scale(sigma), torch.tanh(sigma), torch.cosh(sigma).pow(1 / 3)
    v = a * end[..., 0]
    dv = a * scale * (end[..., 1] + growth * end[..., 0])
    u, du = kinetic(k, 1 / (2 * scale * growth))  # time runs away from the bounce: u* here
    return (v * du.conj() + dv * u.conj()).abs().square()[0]


@functools.cache
def table(approach: Approach, vacuum: int | str) -> Spline:
    """Return ln N over ln(k/k_B); beyond its end N falls as there."""
    log_x = np.concatenate(
        [
            np.linspace(math.log(TABLE[0]), math.log(0.03), 80)[:-1],
            np.linspace(math.log(0.03), math.log(TABLE[1]), 121),
        ]
    )
    return Spline(log_x, quanta(torch.from_numpy(np.exp(log_x)), approach, vacuum).log().numpy())
