"""Homogeneous loop quantum cosmology with an inflaton, from before the bounce to the end of inflation, batched.

Effective dynamics (Ashtekar, Pawlowski & Singh 2006), M_p = 1, rho = phidot^2/2 + V, rho_c = 0.41 Planck densities:

    H^2 = rho/3 (1 - rho/rho_c),   phi'' + 3 H phi' + V_phi = 0   (in cosmic time).

H vanishes at the bounce, where e-folds are no clock, and sqrt(1 - rho/rho_c) has no derivative. Both are cured by an angle:
rho = rho_c / cosh^2(sigma), so that H = sqrt(rho/3) tanh(sigma), and by the clock d tau = sqrt(rho/3) dt (e-folds, long after):

    dphi = phidot / s,  d phidot = -3 tanh(sigma) phidot - V_phi / s,  d sigma = 3 c^2,  dN = tanh(sigma),  d eta = 1/(a s),

per d tau, with s = sqrt(rho/3) and c^2 = phidot^2/2 rho: smooth through the bounce and where the field turns round. rho comes
from the field alone; rho cosh^2(sigma) = rho_c is not imposed, and its departure while sigma is small measures the error.
Without a potential sigma = 3 tau and a = cosh^(1/3)(sigma) = (1 + 3 rho_c t^2)^(1/6).

a = 1 at the bounce, and wavenumbers are in units of k_B = a_B sqrt(rho_c) = a_B sqrt(8 pi G rho_c).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cmbfit.errors import InflationError
from cmbfit.theory.ode import integrate
from cmbfit.theory.primordial.background import _ends, _quintic
from cmbfit.theory.primordial.bounce_lqc import CRITICAL_DENSITY
from cmbfit.theory.primordial.lqc.masses import Approach, friction, mass_excess, pump
from cmbfit.theory.primordial.potential import Potential

RHO_C = CRITICAL_DENSITY * (8 * math.pi) ** 2
"""Critical density [M_p^4]: m_Pl^2 = 8 pi M_p^2."""

K_B = math.sqrt(RHO_C)
"""a_B sqrt(8 pi G rho_c) at a_B = 1 [M_p]."""

M_PL = math.sqrt(8 * math.pi)
"""Planck mass [M_p]."""

_SLOW = 8.0
"""tau after which the kinetic era and the turn of the field are over: longer steps."""

_ENDED = 0.36
"""c^2 just beyond the end of inflation at 1/3."""


@dataclass(frozen=True)
class BounceBackground:
    """A batch of histories on common knots of tau (0 at the bounce).

    Attributes
    ----------
    knots : torch.Tensor, shape (n,)
    state : torch.Tensor, shape (batch, n, 6)
        phi [M_p], dphi/dt [M_p^2], sigma, N = ln(a/a_B), t [1/k_B], eta [1/k_B] at the knots; t = eta = 0 at the bounce.
    modes : torch.Tensor, shape (batch, n - 1, 6, 4)
        Quintics between knots of what modes need: friction, ln(a s / k_B), and the excess mass of scalars and tensors.
    clock : torch.Tensor, shape (batch, n - 1, 6, 4)
        Likewise of N, eta and the integrals of the masses of scalars and tensors over eta.
    lowest, end : torch.Tensor, shape (batch,)
        tau at which inflation begins (aH least) and at which it ends.
    approach : {"dressed", "hybrid"}
    potential : Potential
    """

    knots: torch.Tensor
    state: torch.Tensor
    modes: torch.Tensor
    clock: torch.Tensor
    lowest: torch.Tensor
    end: torch.Tensor
    approach: Approach
    potential: Potential

    def at(
        self,
        tau: torch.Tensor,  # shape: (batch, m)
        table: torch.Tensor | None = None,
    ) -> torch.Tensor:  # shape: (batch, m, 4)
        """Return the columns of `modes` (or of another table) at `tau`."""
        return _evaluate(self.knots, self.modes if table is None else table, tau)[0]

    def rates(
        self, tau: torch.Tensor, table: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the columns of a table at `tau` with their first and second derivatives in tau."""
        return _evaluate(self.knots, table, tau)

    @property
    def efolds(self) -> torch.Tensor:  # shape: (batch,)
        """e-folds of inflation, from the least aH to its end."""
        times = torch.stack([self.lowest, self.end], 1)
        return self.at(times, self.clock)[..., 0].diff(dim=1)[:, 0]

    def find(
        self,
        target: torch.Tensor,  # shape: (batch, m)
        *,
        rising: bool,
    ) -> torch.Tensor:  # shape: (batch, m)
        """Return tau where ln(a s / k_B) = target: before inflation, or (`rising`) in it; the nearest end where there is none."""
        low, high = (self.lowest, self.end) if rising else (torch.zeros_like(self.end), self.lowest)
        low, high = (x[:, None].expand_as(target) for x in (low, high))
        for _ in range(60):
            middle = (low + high) / 2
            before = (self.at(middle)[..., 1] < target) == rising
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        return (low + high) / 2

    def pivot(self, efolds: torch.Tensor) -> torch.Tensor:  # shape: (batch,)
        """Return ln(aH/k_B) at `efolds`, shape (batch,), before the end of inflation.

        Raises
        ------
        InflationError
            If inflation is shorter.
        """
        if bool((self.efolds <= efolds).any()):
            raise InflationError(
                f"potential {self.potential.formula.text!r}: {efolds.max().item():.1f} e-folds of inflation were asked for, the "
                f"bounce leads to {self.efolds.min().item():.1f}; start further up the potential"
            )
        last = self.at(self.end[:, None], self.clock)[:, 0, 0]
        low, high = self.lowest, self.end
        for _ in range(60):
            middle = (low + high) / 2
            before = self.at(middle[:, None], self.clock)[:, 0, 0] < last - efolds
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        return self.at(low[:, None])[:, 0, 1]


def _evaluate(
    knots: torch.Tensor, table: torch.Tensor, tau: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    i = (torch.searchsorted(knots, tau.contiguous(), right=True) - 1).clamp(0, len(knots) - 2)
    h = (knots[i + 1] - knots[i])[..., None]
    s = (tau - knots[i])[..., None] / h
    rows = torch.arange(len(table))[:, None].expand_as(i)
    c = table[rows, i]  # shape: (batch, m, 6, 4)
    value, slope, bend = c[..., 5, :], torch.zeros_like(c[..., 5, :]), torch.zeros_like(c[..., 5, :])
    for j in (4, 3, 2, 1, 0):
        bend = bend * s + 2 * slope
        slope = slope * s + value
        value = value * s + c[..., j, :]
    return value, slope / h, bend / h.square()


def flow(potential: Potential, state: torch.Tensor) -> torch.Tensor:
    """Return d state/d tau; both of shape (batch, n, 6)."""
    phi, velocity, sigma, n = state[..., :4].unbind(-1)
    v, slope = potential.with_slope(phi)
    rho = velocity.square() / 2 + v
    s = torch.sqrt(rho / 3)
    expansion = torch.tanh(sigma)
    return torch.stack(
        [
            velocity / s,
            -3 * expansion * velocity - slope / s,
            1.5 * velocity.square() / rho,
            expansion,
            K_B / s,
            K_B * torch.exp(-n) / s,
        ],
        -1,
    )


def solve_bounce(
    potential: Potential,
    phi_b: torch.Tensor,  # shape: (batch,)
    *,
    velocity: int = 1,
    before: float = 0.0,
    approach: Approach = "dressed",
    max_tau: float = 300.0,
    rtol: float = 1e-10,
) -> BounceBackground:
    """Follow the field from before the bounce to the end of inflation.

    Parameters
    ----------
    potential : Potential
        V in units of M_p^4, its overall factor that of nature: it says how far below rho_c inflation happens.
    phi_b : torch.Tensor, shape (batch,)
        Field at the bounce [M_p].
    velocity : {1, -1}
        Sign of dphi/dt at the bounce, of which the size is sqrt(2 (rho_c - V)).
    before : float
        tau of the start before the bounce: there a^6 = cosh^2(3 before) while kinetic energy dominates.
    approach : {"dressed", "hybrid"}
        Whose masses the modes get.
    max_tau : float
    rtol : float
        Of each part of the state, per step.

    Raises
    ------
    InflationError
        If V exceeds rho_c at the bounce, or inflation does not happen or does not end.

    Examples
    --------
    >>> V = Potential("m**2 * phi**2 / 2", {"m": 6e-6}, (0.1, 30.0))
    >>> run = solve_bounce(V, torch.tensor([5.0], dtype=torch.float64))
    >>> 60 < run.efolds.item() < 80
    True
    """
    phi = phi_b.reshape(-1, 1)
    v = potential.value(phi)
    if bool((~(v < RHO_C)).any()) or bool((v < 0).any()):
        raise InflationError(
            f"potential {potential.formula.text!r}: expected 0 <= V < rho_c = {RHO_C:.1f} M_p^4 at the bounce, found "
            f"{v.flatten().tolist()[:4]}"
        )
    zero = torch.zeros_like(phi)
    begin = torch.stack([phi, velocity * torch.sqrt(2 * (RHO_C - v)), zero, zero, zero, zero], -1)
    turned = torch.tensor([1, -1, -1, 1, -1, -1], dtype=torch.float64)  # of time
    if before > 0:
        past = integrate(
            lambda _, y: flow(potential, y), 0.0, before, begin * turned, rtol=rtol, atol=1e-14, stops=()
        )
        begin = past.y[-1] * turned

    inflating = torch.zeros_like(phi, dtype=torch.bool)
    alive = torch.ones_like(phi, dtype=torch.bool)

    def rhs(_: float, y: torch.Tensor) -> torch.Tensor:
        return flow(potential, y) * alive[..., None]

    def finished(_: float, y: torch.Tensor) -> bool:
        kinetic = _kinetic(potential, y)
        inflating.logical_or_(kinetic < 1 / 3)
        alive.logical_and_(~(inflating & (kinetic > _ENDED)))
        return not bool(alive.any())

    if bool((_kinetic(potential, begin) < 1 / 2).any()):
        raise InflationError(
            f"potential {potential.formula.text!r}: expected kinetic energy to rule from the start to the bounce, found V of "
            f"{(1 - _kinetic(potential, begin)).max().item():.3g} of the energy at the start; choose another field at the bounce, or start later"
        )
    # a third of the bounce's own time and of the turn of the field: between steps quintics are good to 1e-9
    early = integrate(rhs, -before, _SLOW, begin, rtol=rtol, atol=1e-16, max_step=0.1, finished=finished)
    times, states = list(early.t), [early.y]
    if bool(alive.any()):
        late = integrate(
            rhs, _SLOW, max_tau, early.y[-1], rtol=rtol, atol=1e-16, max_step=0.5, finished=finished
        )
        times, states = times + list(late.t[1:]), [*states, late.y[1:]]
    if bool((~inflating).any()) or bool(alive.any()):
        raise InflationError(
            f"potential {potential.formula.text!r}: after the bounce inflation does not {'end' if bool(inflating.all()) else 'begin'}"
            f" within tau = {max_tau:g}"
        )
    state = torch.cat(states)[:, :, 0].transpose(0, 1).contiguous()  # shape: (batch, n, 6)
    return _tabulate(potential, torch.tensor(times, dtype=torch.float64), state, approach)


def _kinetic(potential: Potential, state: torch.Tensor) -> torch.Tensor:
    velocity = state[..., 1].square() / 2
    return velocity / (velocity + potential.value(state[..., 0]))


def _tabulate(
    potential: Potential, knots: torch.Tensor, state: torch.Tensor, approach: Approach
) -> BounceBackground:
    h = (knots[1:] - knots[:-1]).expand(len(state), -1)

    def quintics(columns: torch.Tensor) -> torch.Tensor:
        """Columns and two derivatives, shape (batch, n, m, 3), to shape (batch, n - 1, 6, m)."""
        parts = [_quintic(_ends(tuple(c.unbind(-1))), h) for c in columns.unbind(2)]
        return torch.stack(parts, -1)

    modes, clock, kinetic = _derived(potential, state, approach)
    masses = quintics(clock[:, :, 2:])
    # integrals of the masses: the quintic's own
    powers = torch.arange(1, 7, dtype=torch.float64)[:, None]
    pieces = (masses / powers).sum(2) * h[..., None]
    sums = torch.cat([torch.zeros_like(pieces[:, :1]), pieces.cumsum(1)], 1)
    integrals = torch.cat([sums[..., None], clock[:, :, 2:, :2]], -1)
    table = quintics(torch.cat([clock[:, :, :2], integrals], 2))

    index = torch.arange(len(knots))
    positive = knots >= 0
    first = torch.where((kinetic < 1 / 3) & positive, index, len(knots)).min(1).values - 1
    last = (
        torch.where((kinetic >= 1 / 3) & (index > first[:, None] + 1), index, len(knots) - 1).min(1).values
        - 1
    )
    out = BounceBackground(
        knots, state, quintics(modes), table, knots[first], knots[last], approach, potential
    )
    bounds = []
    for left, ends in ((first, False), (last, True)):
        low, high = knots[left], knots[left + 1]
        for _ in range(60):
            middle = (low + high) / 2
            f, _, _, _ = out.at(middle[:, None])[:, 0].unbind(-1)
            # friction is 3 (1 - c^2) tanh(sigma): 2 at c^2 = 1/3
            before = (f > 2) == ends
            low, high = torch.where(before, middle, low), torch.where(before, high, middle)
        bounds.append((low + high) / 2)
    return BounceBackground(knots, state, out.modes, table, bounds[0], bounds[1], approach, potential)


def _derived(
    potential: Potential, state: torch.Tensor, approach: Approach
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what is tabulated, each with two derivatives in tau, shapes (batch, n, 4, 3) twice, and c^2."""
    with torch.enable_grad():
        y = state.detach().requires_grad_(True)
        velocity = flow(potential, y)

        def rates(value: torch.Tensor) -> torch.Tensor:
            out = [value]
            for _ in range(2):
                (slope,) = torch.autograd.grad(out[-1].sum(), y, create_graph=True)
                out.append((slope * velocity).sum(-1))
            return torch.stack(out, -1).detach()

        scale = _scale(potential, y)
        log_as = y[..., 3] + torch.log(scale / K_B)
        excess = mass_excess(potential, y, approach, RHO_C)
        mass = pump(potential, y, approach, RHO_C)
        conformal = torch.exp(-log_as)  # d eta/d tau
        modes = torch.stack([rates(x) for x in (friction(potential, y), log_as, *excess)], 2)
        clock = torch.stack(
            [rates(x) for x in (y[..., 3], y[..., 5], *(m / RHO_C * conformal for m in mass))], 2
        )
        kinetic = _kinetic(potential, y).detach()
    return modes, clock, kinetic


def _scale(potential: Potential, state: torch.Tensor) -> torch.Tensor:
    """Return s = sqrt(rho/3) [M_p]."""
    return torch.sqrt((state[..., 1].square() / 2 + potential.value(state[..., 0])) / 3)
