"""Loop quantum cosmology with m^2 phi^2/2 by scipy: cosmic time, Planck units (G = c = hbar = 1), no code of cmbfit's.

H is part of the state near the bounce (Raychaudhuri's equation, H' = -4 pi phidot^2 (1 - 2 rho/rho_c)), and the effective Friedmann
equation's root after it. Modes are v of v'' + (k^2 + S) v = 0 from the vacuum to far outside the horizon in one piece: every turn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

RHO_C = 0.41
K_B = math.sqrt(8 * math.pi * RHO_C)
_SWITCH = 3.0
"""Planck times after the bounce, from which H is the Friedmann equation's."""


@dataclass
class Bounce:
    """m and phi_b in Planck masses; `start` in Planck times (0 or negative)."""

    mass: float
    phi_b: float
    start: float = 0.0

    def __post_init__(self) -> None:
        dphi = math.sqrt(2 * (RHO_C - self.potential(self.phi_b)))
        y0 = [0.0, self.phi_b, dphi, 0.0]
        options = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-30, "dense_output": True}
        near = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-15, "dense_output": True}
        self.early = solve_ivp(self._near, (0, _SWITCH), y0, **near).sol
        self.before = solve_ivp(self._near, (0, self.start), y0, **near).sol if self.start else None
        first = self.early(_SWITCH)[:3]

        def ended(_: float, y: np.ndarray) -> float:
            kinetic = y[2] ** 2 / 2
            # rho + 3P = 0, from below, once the field has turned and rolls down slowly
            return (2 * kinetic - self.potential(y[1])) if y[0] > 15 else -1.0

        ended.terminal = True  # type: ignore[attr-defined]
        run = solve_ivp(self._late, (_SWITCH, 1e12), first, events=ended, **options)
        self.late, self.end = run.sol, run.t[-1]
        self.efolds = run.y[0, -1]
        self.begin = brentq(self._acceleration, 10.0, run.t[np.argmax(run.y[1])])

    def potential(self, phi: float) -> float:
        return self.mass**2 * phi**2 / 2

    def _near(self, _: float, y: np.ndarray) -> list[float]:
        _, phi, dphi, hubble = y
        rho = dphi**2 / 2 + self.potential(phi)
        slope = -3 * hubble * dphi - self.mass**2 * phi
        return [hubble, dphi, slope, -4 * math.pi * dphi**2 * (1 - 2 * rho / RHO_C)]

    def _friedmann(self, phi: float, dphi: float) -> float:
        rho = dphi**2 / 2 + self.potential(phi)
        return math.sqrt(8 * math.pi / 3 * rho * (1 - rho / RHO_C))

    def _late(self, _: float, y: np.ndarray) -> list[float]:
        _, phi, dphi = y
        hubble = self._friedmann(phi, dphi)
        return [hubble, dphi, -3 * hubble * dphi - self.mass**2 * phi]

    def _acceleration(self, t: float) -> float:
        _, phi, dphi, _ = self.at(t)
        return dphi**2 - self.potential(phi)

    def at(self, t: float) -> tuple[float, float, float, float]:
        """ln a, phi, phidot, H."""
        if t < _SWITCH:
            return tuple((self.early if t >= 0 or self.before is None else self.before)(t))
        n, phi, dphi = self.late(t)
        return n, phi, dphi, self._friedmann(phi, dphi)

    def masses(self, t: float, *, hybrid: bool) -> tuple[float, float]:
        """S/a^2 of scalars and tensors."""
        _, phi, dphi, hubble = self.at(t)
        v = self.potential(phi)
        rho, pressure = dphi**2 / 2 + v, dphi**2 / 2 - v
        if hybrid:
            tensor = -4 * math.pi / 3 * (rho - 3 * pressure)
            mixed = 6 * hubble * dphi / rho
        else:
            tensor = -4 * math.pi / 3 * rho * (1 + 2 * rho / RHO_C) + 4 * math.pi * pressure * (
                1 - 2 * rho / RHO_C
            )
            mixed = 2 * math.sqrt(24 * math.pi / rho) * dphi * (1 if hubble >= 0 else -1)
        more = self.mass**2 + 48 * math.pi * v * (1 - v / rho) + mixed * self.mass**2 * phi
        return tensor + more, tensor

    def hubble_exit(self, ratio: float, k: float) -> float:
        """Time in inflation at which k/aH = ratio."""

        def short(log_t: float) -> float:
            n, _, _, hubble = self.at(math.exp(log_t))
            return math.log(k) - n - math.log(hubble) - math.log(ratio)

        return math.exp(brentq(short, math.log(self.begin), math.log(self.end)))

    def log_ah(self, efolds: float) -> float:
        """ln(aH/k_B) so many e-folds before the end."""
        t = math.exp(
            brentq(
                lambda x: self.at(math.exp(x))[0] - self.efolds + efolds,
                math.log(self.begin),
                math.log(self.end),
            )
        )
        n, _, _, hubble = self.at(t)
        return n + math.log(hubble / K_B)

    def power(self, x: float, *, hybrid: bool, order: int, outside: float = 1e-3) -> tuple[float, float]:
        """P_R and P_T of a mode k = x k_B, from the adiabatic vacuum of order 0 or 2 at `start`."""
        k = x * K_B
        t0, t1 = self.start, self.hubble_exit(outside, k)
        n0, _, _, h0 = self.at(t0)
        y0 = []
        step = 1e-3 * max(1.0, abs(t0))

        def square(t: float, i: int) -> float:
            return k**2 + math.exp(2 * self.at(t)[0]) * self.masses(t, hybrid=hybrid)[i]

        for i in (0, 1):
            # derivatives in conformal time, d/d eta = a d/dt, of ln(omega^2): five-point differences in t
            logs = [math.log(square(t0 + j * step, i)) for j in (-2, -1, 0, 1, 2)] if order or t0 else []
            rate = (logs[0] - 8 * logs[1] + 8 * logs[3] - logs[4]) / (12 * step) if logs else 0.0
            bend = (
                (-logs[0] + 16 * logs[1] - 30 * logs[2] + 16 * logs[3] - logs[4]) / (12 * step**2)
                if logs
                else 0.0
            )
            a = math.exp(n0)
            l1, l2 = a * rate / 2, a * a * (bend + h0 * rate) / 2  # of ln omega
            w2 = square(t0, i)
            slope = l1
            if order == 2:
                # W^2 = w^2 - w''/2w + 3/4 (w'/w)^2, w''/w = l2 + l1^2; its slope is left at that of omega
                w2 = w2 - (l2 + l1**2) / 2 + 0.75 * l1**2
            w = math.sqrt(w2)
            v = 1 / math.sqrt(2 * w)
            y0 += [v, v * (-1j * w - slope / 2) / a]

        def rhs(t: float, y: np.ndarray) -> list[complex]:
            n, _, _, hubble = self.at(t)
            scalar, tensor = self.masses(t, hybrid=hybrid)
            q = k**2 * math.exp(-2 * n)
            return [y[1], -hubble * y[1] - (q + scalar) * y[0], y[3], -hubble * y[3] - (q + tensor) * y[2]]

        y = solve_ivp(rhs, (t0, t1), np.array(y0, dtype=complex), method="DOP853", rtol=1e-9, atol=1e-30).y[
            :, -1
        ]
        n, _, dphi, hubble = self.at(t1)
        cube = k**3 / (2 * math.pi**2) * math.exp(-2 * n)
        return cube * abs(y[0]) ** 2 * (hubble / dphi) ** 2, 64 * math.pi * cube * abs(y[2]) ** 2
