"""Loop quantum cosmology: modes through the bounce of a kinetic-dominated universe.

H^2 = (8 pi G/3) rho (1 - rho/rho_c) with rho ~ a^-6 gives a = a_B (1 + g t^2)^(1/6); the mode equation is
v'' + (k^2 - a''/a) v = 0 (dressed metric). In units of k_B = a_B sqrt(g/3), a_B = 1: a = (1 + 3t^2)^(1/6) and
a''/a = (1 - t^2)/a^10. Far from the bounce a^2 ~ y, where the exact vacuum is
u = sqrt(pi y/4) H_0^(2)(k y). A mode in that vacuum before the bounce is alpha u + beta u* after it.

The result is an enhancement: smoothed over its oscillations the power is P0 (1 + 2 N_k), N_k = |beta|^2.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.theory.ode import integrate
from cmbfit.theory.primordial.bessel import bessel_j, bessel_y
from cmbfit.theory.primordial.bounce_generic import EXCLUSION
from cmbfit.theory.primordial.excited import rotated_power
from cmbfit.theory.primordial.model import LOG_A, NS, Flat, Parameter, PrimordialModel, Values, feature
from cmbfit.theory.primordial.spline import Spline

_FAR = 200.0
"""|t| of the vacua in units 1/k_B: corrections to the kinetic era are of order 1/t^2 and die out like y^-5."""


@dataclass(frozen=True)
class BounceResult:
    """Bogoliubov coefficients of modes that crossed the bounce; each of shape (n_k,), complex128."""

    alpha: torch.Tensor
    beta: torch.Tensor

    @property
    def quanta(self) -> torch.Tensor:
        """N_k = |beta|^2."""
        return self.beta.abs().square()

    @property
    def unitarity(self) -> float:
        """Largest | |alpha|^2 - |beta|^2 - 1 |: the error of the integration."""
        return (self.alpha.abs().square() - self.beta.abs().square() - 1).abs().max().item()


def _vacuum(x: torch.Tensor, y: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return u = sqrt(pi y/4) H_0^(2)(x y) and du/dy."""
    z = x * y
    h0, h1 = (torch.complex(bessel_j(n, z), -bessel_y(n, z)) for n in (0, 1))
    root = math.sqrt(math.pi * y / 4)
    return root * h0, root * (h0 / (2 * y) - x * h1)


def cross_bounce(
    x: torch.Tensor,  # shape: (n_k,)
    rtol: float = 1e-11,
) -> BounceResult:
    """Carry modes of x = k/k_B from the vacuum before the bounce to the kinetic era after it.

    Parameters
    ----------
    x : torch.Tensor, shape (n_k,)
        Positive.
    rtol : float
        Of each complex amplitude, per step.

    Examples
    --------
    >>> round(cross_bounce(torch.tensor([1.0], dtype=torch.float64)).quanta.item(), 4)
    0.1511
    """
    y = (1 + 3 * _FAR**2) ** (5 / 6) / (2 * _FAR)  # a^2 ~ y: y = a/(2a')
    u, du = _vacuum(x, y)
    square = x.square()

    def rhs(t: float, state: torch.Tensor) -> torch.Tensor:
        a = (1 + 3 * t * t) ** (1 / 6)
        pump = (1 - t * t) / a**10
        return torch.stack([state[..., 1] / a, -(square - pump) * state[..., 0] / a], -1)

    # before the bounce time runs towards it: u_in(eta) = u*(|eta|), d/d eta = -d/dy
    before = torch.stack([u.conj(), -du.conj()], -1)
    v, dv = integrate(rhs, -_FAR, _FAR, before, rtol=rtol, first_step=0.1, stops=()).y[-1].unbind(-1)
    return BounceResult(alpha=-1j * (v * du.conj() - dv * u.conj()), beta=1j * (v * du - dv * u))


def poschl_teller_quanta(x: torch.Tensor) -> torch.Tensor:
    """Return N_k of the Poeschl-Teller approximation of the bounce (Zhu et al. 2017); 10% for k >= k_B."""
    top = math.cos(math.pi / (2 * math.sqrt(3))) ** 2
    return top / torch.sinh(math.pi * x / math.sqrt(6)).square()


@functools.cache
def _tables() -> tuple[Spline, Spline]:
    """Return splines of ln N_k and of arg(-alpha beta*) over ln(k/k_B), from 120 modes."""
    log_x = np.linspace(math.log(0.01), math.log(4.0), 120)
    run = cross_bounce(torch.from_numpy(np.exp(log_x)))
    phase = np.unwrap((-run.alpha * run.beta.conj()).angle().numpy())
    return Spline(log_x, run.quanta.log().numpy(), flat=True), Spline(log_x, phase, flat=True)


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return P/P0 = |alpha - beta exp(2ik eta)|^2, from tables of the solved modes."""
    log_x = torch.log(k) - values["ln_kb"]
    quanta, phase = _tables()
    # beyond the table N falls like exp(-2 pi k / (sqrt 6 k_B)) (Poeschl-Teller)
    excess = torch.exp(log_x.clamp_min(math.log(4.0))) - 4.0
    log_n = quanta(log_x.clamp_max(math.log(4.0))) - 2 * math.pi / math.sqrt(6) * excess
    angle = phase(log_x) - 2 * torch.exp(log_x) * values["eta"]
    return rotated_power(torch.exp(log_n.clamp_min(-600.0) / 2), angle)


MODEL = PrimordialModel(
    name="bounce_lqc",
    title="loop quantum cosmology bounce",
    formula="P = P0 [1 + 2N + 2 sqrt(N(N+1)) cos(phase_k - 2 eta k/k_B)], N_k by solving the modes",
    parameters=(
        LOG_A,
        NS,
        Parameter("ln_kb", -8.0, Flat(-12.0, -3.0), "ln(1/Mpc)", "ln of the bounce scale k_B"),
        Parameter("eta", 5.0, Flat(0.0, 50.0), "1/k_B", "conformal time from the bounce to inflation"),
    ),
    citations=(
        "Agullo, Ashtekar & Nelson (2013), CQG 30, 085014; arXiv:1302.0254",
        "Zhu et al. (2017), PRD 96, 083520; arXiv:1705.07544 and 1607.06329",
    ),
    function=feature(modulation),
    null={"ln_kb": "low"},
    note=EXCLUSION,
)
