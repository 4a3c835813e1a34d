"""Loop quantum cosmology: modes through the bounce of a kinetic-dominated universe, into inflation.

H^2 = (8 pi G/3) rho (1 - rho/rho_c) with rho ~ a^-6 gives a = a_B (1 + g t^2)^(1/6); the mode equation is
v'' + (k^2 - a''/a) v = 0 (dressed metric). In units of k_B = a_B sqrt(g/3), a_B = 1: a = (1 + 3t^2)^(1/6) and
a''/a = (1 - t^2)/a^10. Far from the bounce a^2 ~ y = 1/(2 aH), where the exact vacuum is
u = sqrt(pi y/4) H_0^(2)(k y). A mode in that vacuum before the bounce is v = alpha u + beta u* after it.

Inflation (de Sitter, a and H continuous) begins at y. The power that v leaves behind is its Wronskian with de Sitter's
decaying solution, as for a kinetic start (Contaldi et al. 2003), so that with z = 2 k y = k/k_I

    P/P0 = (pi z/4) |alpha M + beta M*|^2,   M = sin z H_0(z/2) - z j_1(z) H_1(z/2),

at all k. Far within the horizon M -> e^{-i(k eta - pi/4)}, eta the conformal time from the bounce to the *end* of inflation:
|alpha - beta e^{2i(k eta - pi/4)}|^2, smoothed P0 (1 + 2 N_k), N_k = |beta|^2: an enhancement. Modes below k_I = 1.5/eta never
settle in a vacuum and are suppressed.

rho_c = 0.41 rho_Pl ties eta to the energy of inflation: r < 0.036 is eta > 1.6e4/k_B. Its interference then turns
faster in k than the CMB's transfer functions can (2 eta against twice the distance to last scattering).
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
from cmbfit.theory.primordial.cutoff_kinetic import late_amplitude
from cmbfit.theory.primordial.model import (
    LOG_A,
    NS,
    R_BOUND,
    RATIO,
    Flat,
    Parameter,
    PrimordialModel,
    Values,
    amplitude,
    feature,
)
from cmbfit.theory.primordial.spline import Spline

_FAR = 200.0
"""|t| of the vacua in units 1/k_B: corrections to the kinetic era are of order 1/t^2 and die out like y^-5."""


_TABLE = (1e-7, 8.0)
"""k/k_B of the tables; at their end |beta| is 4e-5."""

_LAG = math.sqrt(math.pi / 12) * math.gamma(-1 / 3) / math.gamma(1 / 6)
"""eta - y long after the bounce: the finite part of the integral of dt/a, a Beta function."""

CRITICAL_DENSITY = 0.41
"""rho_c in Planck densities."""


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
def _tables() -> tuple[Spline, Spline, Spline]:
    """Return splines over ln(k/k_B) of |alpha + beta|^2, |alpha - beta|^2 and -Im (alpha + beta)* (alpha - beta)."""
    log_x = np.linspace(math.log(_TABLE[0]), math.log(_TABLE[1]), 220)
    run = cross_bounce(torch.from_numpy(np.exp(log_x)), rtol=1e-10)
    plus, minus = run.alpha + run.beta, run.alpha - run.beta
    columns = (plus.abs().square(), minus.abs().square(), -(plus.conj() * minus).imag)
    return tuple(Spline(log_x, c.numpy()) for c in columns)  # type: ignore[return-value]


def transfer(
    x: torch.Tensor,  # shape: (batch, n_k)
    eta: torch.Tensor,  # shape: (batch, 1)
    average: float = 0.0,
) -> torch.Tensor:  # shape: (batch, n_k)
    """Return P/P0 at x = k/k_B.

    Parameters
    ----------
    x : torch.Tensor, shape (batch, n_k)
        Positive.
    eta : torch.Tensor, shape (batch, 1)
        k_B times the conformal time from the bounce to the end of inflation, which begins well after the bounce: the error
        is of order 1/(3 t^2) at the time t when it does, eta = 3.7 t^(2/3).
    average : float
        The interference is averaged over this standard deviation of ln k: its turns 2 k eta that are faster vanish.
    """
    z = 2 * x * (eta - _LAG) / 3
    real, imaginary = late_amplitude(z)
    inside = x.clamp_max(_TABLE[1])
    plus, minus, cross = (table(torch.log(inside)) for table in _tables())
    # beyond the table N falls like exp(-2 pi k/(sqrt 6 k_B)) (Poeschl-Teller)
    fall = torch.exp(-math.pi / math.sqrt(6) * (x - inside))
    mean = 1 + ((plus + minus) / 2 - 1) * fall.square()
    turning = (plus - minus) / 2 * (real.square() - imaginary.square()) + 2 * cross * real * imaginary
    slow = torch.exp(-0.5 * (3 * average * z).square())
    return math.pi / 4 * z * (mean * (real.square() + imaginary.square()) + turning * fall * slow)


def conformal_time(scalar_amplitude: torch.Tensor, ratio: torch.Tensor) -> torch.Tensor:
    """Return k_B times the conformal time from the bounce to the end of inflation at H = pi M_p sqrt(A_s r/2)."""
    # in units of sqrt(g/3) = 8 pi sqrt(rho_c/rho_Pl) M_p: H = t/(1 + 3t^2), of its two times the later one
    hubble = torch.sqrt(scalar_amplitude * ratio / 2) / (8 * math.sqrt(CRITICAL_DENSITY))
    t = (1 + torch.sqrt(1 - 12 * hubble.square())) / (6 * hubble)
    return 3 * (1 + 3 * t.square()) ** (5 / 6) / (2 * t) + _LAG


def modulation(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return P/P0 averaged over 1/30 in ln k."""
    eta = conformal_time(amplitude(values), values["r"])
    return transfer(k * torch.exp(-values["ln_kb"]), eta, average=1 / 30)


MODEL = PrimordialModel(
    name="bounce_lqc",
    title="loop quantum cosmology bounce",
    formula="P = P0 (pi z/4) |alpha M(z) + beta M*(z)|^2, z = k/k_I, alpha and beta by solving the modes; P0 (1 + 2N) for k >> k_I",
    parameters=(
        LOG_A,
        NS,
        Parameter("ln_kb", -8.0, Flat(-12.0, -3.0), "ln(1/Mpc)", "ln of the bounce scale k_B"),
        Parameter(
            RATIO.name,
            0.01,
            Flat(1e-4, R_BOUND),
            "",
            f"{RATIO.meaning}: the energy at which inflation begins",
        ),
    ),
    citations=(
        "Agullo, Ashtekar & Nelson (2013), CQG 30, 085014; arXiv:1302.0254",
        "Zhu et al. (2017), PRD 96, 083520; arXiv:1705.07544 and 1607.06329",
    ),
    function=feature(modulation),
    null={"ln_kb": "low"},
    note=f"{EXCLUSION}; at any r that data allow only P0 (1 + 2N) is seen, and r is not",
    resolution=(100.0, 5.0),
)
