"""Modes from the bounce to their frozen power, scalars and tensors, batched.

chi = v/a obeys, in the clock tau of :mod:`.background` and with kappa = k/(a s),

    chi'' + F chi' + (kappa^2 + M) chi = 0.

A mode goes in three stages, each on its own clock: from the start (before the bounce or at it) until it lies `inside` deep in
the horizon of the kinetic era; over the thousands of turns until inflation brings the horizon back to it in the WKB form, W = k + S/2k,
whose next order is (1/inside)^4; and through horizon exit. A mode that never gets that deep is carried in one piece.

At the first joint v = alpha u + beta u* in that form: |beta|^2 are the quanta that the bounce made. The interference of the
two turns with k at twice the conformal time to the end of inflation, faster than any data resolve; power averaged over it is
(1 + 2|beta|^2) times that of the vacuum, which is carried beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from cmbfit.errors import InflationError
from cmbfit.theory.ode import integrate
from cmbfit.theory.primordial.lqc.background import K_B, RHO_C, BounceBackground, flow
from cmbfit.theory.primordial.lqc.masses import pump
from cmbfit.theory.primordial.lqc.vacuum import ORDERS, adiabatic, kinetic


@dataclass(frozen=True)
class BounceModes:
    """Power of modes that crossed a bounce.

    Attributes
    ----------
    power : torch.Tensor, shape (2, batch, n_k)
        P_R, then P_T (both polarisations), with their interference.
    average : torch.Tensor, shape (2, batch, n_k)
        Averaged over the interference; that of `power` where a mode never was `inside`.
    vacuum : torch.Tensor, shape (2, batch, n_k)
        What inflation alone would have given, from its own vacuum; NaN where a mode never was `inside`.
    quanta : torch.Tensor, shape (2, batch, n_k)
        |beta|^2 of the kinetic era; NaN likewise.
    unitarity : float
        Largest relative departure of any mode's Wronskian from i.
    """

    power: torch.Tensor
    average: torch.Tensor
    vacuum: torch.Tensor
    quanta: torch.Tensor
    unitarity: float


def carry(
    background: BounceBackground,
    log_k: torch.Tensor,  # shape: (batch, n_k)
    begin: torch.Tensor,  # shape: (batch, n_k)
    end: torch.Tensor,  # shape: (batch, n_k)
    chi: torch.Tensor,  # shape: (batch, n_k, 2 m)
    rtol: float,
) -> tuple[torch.Tensor, torch.Tensor]:  # shapes: (batch, n_k, 2 m)
    """Evolve chi of m fields (scalars and tensors by turns) and their slopes in tau from `begin` to `end`; return those there and halfway."""
    length = end - begin
    half = chi.shape[-1] // 2

    def prepare(times: Sequence[float]) -> list[tuple[torch.Tensor, ...]]:
        tau = begin[..., None] + length[..., None] * torch.tensor(times, dtype=torch.float64)
        columns = background.at(tau.flatten(1)).reshape(*tau.shape, 4)
        kappa = torch.exp(2 * (log_k[..., None] - columns[..., 1]))
        frequency = kappa[..., None] + columns[..., 2:].repeat(1, 1, 1, half // 2)
        return list(zip(columns[..., 0:1].unbind(2), frequency.unbind(2), strict=True))

    def rhs(at: tuple[torch.Tensor, torch.Tensor], y: torch.Tensor) -> torch.Tensor:
        damping, frequency = at
        fields, slopes = y[..., :half], y[..., half:]
        return length[..., None] * torch.cat([slopes, -(damping * slopes + frequency * fields)], -1)

    run = integrate(rhs, 0.0, 1.0, chi, rtol=rtol, first_step=1e-4, stops=(0.5,), prepare=prepare)
    return run.y[-1], run.y[1]


def _mass_series(background: BounceBackground) -> torch.Tensor:  # shape: (2, batch, 6)
    """Return Taylor coefficients in eta of S at the start [k_B^2]: the flow's own derivatives."""
    potential = background.potential
    with torch.enable_grad():
        y = background.state[:, :1].detach().requires_grad_(True)
        rate = flow(potential, y)
        rate = rate / rate[..., 5:6]  # per d eta
        rows = []
        for value in pump(potential, y, background.approach, RHO_C):
            terms, last = [value.detach() / RHO_C], value / RHO_C
            for i in range(1, 6):
                (slope,) = torch.autograd.grad(last.sum(), y, create_graph=True)
                last = (slope * rate).sum(-1)
                terms.append(last.detach() / math.factorial(i))
            rows.append(torch.stack(terms, -1)[:, 0])
    return torch.stack(rows)


def initial(
    background: BounceBackground,
    k: torch.Tensor,  # shape: (batch, n_k)
    tau: torch.Tensor,  # shape: (batch, n_k)
    vacuum: int | str,
) -> torch.Tensor:  # shape: (batch, n_k, 4)
    """Return chi of scalars and tensors and its slopes in tau: in the kinetic vacuum at `tau`, or the adiabatic one at the start."""
    scale = torch.exp(background.at(tau)[..., 1])  # a s/k_B
    clock, rate, _ = background.rates(tau, background.clock)
    n, growth = clock[..., 0], rate[..., 0]
    if vacuum == "kinetic":
        if background.knots[0] > -1:
            raise InflationError(
                "kinetic vacuum: expected a start in the kinetic era of the contraction, tau = 1 or more before the bounce, found "
                f"{-background.knots[0].item():g}"
            )
        # y = 1/(2 a |H|): the Hubble rate is s |tanh sigma|
        pairs = [kinetic(k, 1 / (2 * scale * growth.abs()))] * 2
    elif vacuum in ORDERS:
        pairs = [adiabatic(k, mass, int(vacuum)) for mass in _mass_series(background)]
    else:
        raise InflationError(f"vacuum: expected kinetic or an adiabatic order 0, 2 or 4, found {vacuum!r}")
    a = torch.exp(n)
    fields = torch.stack([v / a for v, _ in pairs], -1)
    # v = a chi; dv/d tau = dv/d eta / (a s)
    slopes = torch.stack([dv / (a * scale) for _, dv in pairs], -1) - growth[..., None] * fields
    return torch.cat([fields, slopes], -1)


def _starts(background: BounceBackground, k: torch.Tensor, vacuum: int | str) -> torch.Tensor:
    """Return tau at which modes start: in the kinetic vacuum, large k have nothing to learn far from the bounce."""
    first = background.knots[0].expand_as(k)
    if vacuum != "kinetic":
        return first
    for above, latest in ((0.3, -1.5), (8.0, -1.0)):
        # there beta errs by S/(4 k^2 cosh^2(3 tau)): 3e-6 at k = 0.3 k_B and 8 k_B
        first = torch.where(k > above, first.clamp_min(latest), first)
    return first


def _wkb(
    background: BounceBackground,
    k: torch.Tensor,  # shape: (batch, n_k)
    tau: torch.Tensor,  # shape: (batch, n_k)
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return chi of u = exp(-i phase)/(a sqrt(2W)) and its slope in tau, both over exp(-i phase), and the phase; (batch, n_k, 2)."""
    clock, rate, bend = background.rates(tau, background.clock)
    columns, slope, _ = background.rates(tau, background.modes)
    scale, k = torch.exp(columns[..., 1:2]), k[..., None]
    mass = scale * rate[..., 2:]  # S = d(integral of S)/d eta
    drift = scale * (slope[..., 1:2] * rate[..., 2:] + bend[..., 2:])  # dS/d tau
    w = k + mass / (2 * k)
    u = torch.exp(-clock[..., 0:1]) / torch.sqrt(2 * w)
    turn = torch.complex(-rate[..., 0:1] - drift / (4 * k * w), -w / scale)
    return u, u * turn, k * clock[..., 1:2] + clock[..., 2:] / (2 * k)


def evolve_bounce(
    background: BounceBackground,
    k: torch.Tensor,  # shape: (batch, n_k)
    *,
    vacuum: int | str = "kinetic",
    inside: float = 100.0,
    outside: float = 1e-4,
    rtol: float = 1e-9,
) -> BounceModes:
    """Evolve scalars and tensors from the start of `background` until they are frozen.

    Parameters
    ----------
    background : BounceBackground
        Its start is that of the modes.
    k : torch.Tensor, shape (batch, n_k)
        In units of k_B.
    vacuum : {"kinetic", 0, 2, 4}
        At the start: of the contracting kinetic era, or adiabatic of that order.
    inside : float
        k/(a s) beyond which modes are waves: errors are of order 1/inside^4.
    outside : float
        k/(a s) at the end.
    rtol : float
        Of each complex amplitude, per step.

    Raises
    ------
    InflationError
        If the vacuum does not exist for one of the modes, or one does not freeze before inflation ends.
    """
    log_k = torch.log(k)
    finish = background.find(log_k - math.log(outside), rising=True)
    if bool(((background.at(finish)[..., 1] - log_k + math.log(outside)).abs() > 1e-6).any()):
        raise InflationError(
            "modes: expected every mode to leave the horizon within inflation; k is too large or too small"
        )
    lowest = background.at(background.lowest[:, None])[..., 1]
    waves = log_k - lowest > math.log(inside)
    low = background.find(log_k - math.log(inside), rising=False)
    high = background.find(log_k - math.log(inside), rising=True)
    low = torch.where(waves, low, background.lowest[:, None])
    high = torch.where(waves, high, low)
    start = _starts(background, k, vacuum)
    # a mode that is a wave at the bounce too stays one from the start
    peak = (
        background.at(background.knots.clamp(-0.1, 0.1)[None].expand(len(k), -1))[..., 1]
        .max(1, keepdim=True)
        .values
    )
    low = torch.where(log_k - peak > math.log(inside), start, low)

    chi, _ = carry(background, log_k, start, low, initial(background, k, start, vacuum), rtol)
    worst = _departure(background, low, chi)
    u, du, phase = _wkb(background, k, low)
    area = torch.exp(3 * background.at(low, background.clock)[..., 0:1]) * _scale(background, low)
    # chi = alpha u + beta u*, u du* - u* du = i / (a^3 s)
    alpha = -1j * area * (chi[..., :2] * du.conj() - chi[..., 2:] * u)
    beta = 1j * area * (chi[..., :2] * du - chi[..., 2:] * u)
    later, dlater, end_phase = _wkb(background, k, high)
    turn = torch.exp(1j * (end_phase - phase))
    fields = later * (alpha / turn + beta * turn)
    slopes = dlater * alpha / turn + dlater.conj() * beta * turn
    carried = chi.split(2, -1)
    # a mode that never was a wave goes on as it is, twice
    fields, slopes, later, dlater = (
        torch.where(waves[..., None], new.to(old.dtype), old)
        for new, old in zip((fields, slopes, later, dlater), (*carried, *carried), strict=True)
    )
    both = torch.cat([fields, later, slopes, dlater], -1)
    both, halfway = carry(background, log_k, high, finish, both, rtol)
    # at the end, far outside, the Wronskian is a difference of large numbers
    middle = torch.cat([halfway[..., :2], halfway[..., 4:6]], -1)
    worst = max(worst, _departure(background, (high + finish) / 2, middle))

    square = both[..., :4].abs().square()
    z = _field_velocity(background, finish)
    # k^3/(2 pi^2) |v/z|^2 with v = a chi, z = a dphi/dN; two polarisations of h = 2 chi
    cube = (k * K_B).pow(3) / (2 * math.pi**2) / K_B
    norm = torch.stack([cube / z.square(), 8 * cube], -1)
    power, vacuum_power = norm * square[..., :2], norm * square[..., 2:]
    quanta = beta.abs().square()
    average = torch.where(waves[..., None], vacuum_power * (alpha.abs().square() + quanta), power)
    none = torch.full_like(power, torch.nan)
    vacuum_power, quanta = (torch.where(waves[..., None], x, none) for x in (vacuum_power, quanta))
    power, average, vacuum_power, quanta = (x.movedim(-1, 0) for x in (power, average, vacuum_power, quanta))
    return BounceModes(power, average, vacuum_power, quanta, worst)


def _scale(background: BounceBackground, tau: torch.Tensor) -> torch.Tensor:
    """Return s/k_B = (a s/k_B)/a; shape (batch, n_k, 1)."""
    log_as, n = background.at(tau)[..., 1:2], background.at(tau, background.clock)[..., 0:1]
    return torch.exp(log_as - n)


def _departure(background: BounceBackground, tau: torch.Tensor, chi: torch.Tensor) -> float:
    """Return the largest departure of 2 a^3 s Im(chi dchi*) from 1: v v'* - v* v' = i."""
    area = torch.exp(3 * background.at(tau, background.clock)[..., 0:1]) * _scale(background, tau)
    return (2 * area * (chi[..., :2] * chi[..., 2:].conj()).imag - 1).abs().max().item()


def _field_velocity(background: BounceBackground, tau: torch.Tensor) -> torch.Tensor:
    """Return |dphi/dN| = sqrt(6) |c| long after the bounce; c^2 = 1 - F/3."""
    return torch.sqrt(6 * (1 - background.at(tau)[..., 0] / 3))
