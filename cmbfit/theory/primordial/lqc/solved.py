"""P(k) in physical units: the mass scale of the potential from A_s, the field at the bounce from k_B, the modes evolved.

The pivot leaves the horizon N* e-folds before the end, which fixes n_s, r and (with A_s) V0. How much inflation came before it says how far
k_B has been stretched: ln(k_B/k*) = -ln(aH/k_B) at the pivot's exit. The field at the bounce phi_B follows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from cmbfit.errors import InflationError
from cmbfit.theory.primordial.lqc.background import RHO_C, BounceBackground, solve_bounce
from cmbfit.theory.primordial.lqc.masses import Approach
from cmbfit.theory.primordial.lqc.modes import BounceModes, evolve_bounce
from cmbfit.theory.primordial.model import PIVOT
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.primordial.tabulated import tables

BEFORE = 2.0
"""tau before the bounce at which the kinetic vacuum is set: corrections to the kinetic era are 1/cosh^2(6) = 2e-5."""

_CLOSE = 1e-3
"""In ln k_B: the history may differ from the one asked for by so much; wavenumbers are in units of the k_B asked for."""

_K = (1e-6, 20.0)
"""Of wavenumbers [1/Mpc] between which spectra are drawn through nodes."""


@dataclass(frozen=True)
class Inflaton:
    """A potential of the models, and on which branch its field crosses the bounce.

    Attributes
    ----------
    formula : str
        With the overall factor V0.
    phi_range : (float, float)
        Fields of slow roll.
    velocity : {1, -1}
        Sign of dphi/dt at the bounce: up the quadratic potential; down the plateau of Starobinsky's, whose exponential wall at
        negative fields would rule the contraction that rises from it.
    """

    formula: str
    phi_range: tuple[float, float]
    velocity: int = 1

    def potential(self, v0: torch.Tensor | float) -> Potential:
        """Return the potential at V0 [M_p^4], a number or of shape (batch,)."""
        return Potential(self.formula, {"V0": v0}, self.phi_range)

    def scale(self, amplitude: torch.Tensor, n_star: torch.Tensor) -> torch.Tensor:
        """Return V0 [M_p^4] at which P_R(k*) = A_s; each of shape (batch,)."""
        found = tables(self.formula, self.phi_range)
        return amplitude / torch.exp(found.scalar(found.pivot(n_star)))

    def field(self, efolds: np.ndarray) -> np.ndarray:
        """Return the field from which slow roll lasts so many e-folds, dN = dphi V/V'."""
        grid = torch.linspace(*self.phi_range, 20_001, dtype=torch.float64)[None]
        rate = (1 / self.potential(1.0).log_slopes(grid)[1])[0].numpy()
        phi = grid[0].numpy()
        length = np.concatenate([[0.0], np.cumsum((rate[1:] + rate[:-1]) / 2 * np.diff(phi))])
        return np.interp(efolds, length - np.interp(2**-0.5, rate, length), phi)


def history(
    inflaton: Inflaton,
    amplitude: torch.Tensor,  # shape: (batch,)
    n_star: torch.Tensor,  # shape: (batch,)
    ln_kb: torch.Tensor,  # shape: (batch,)
    *,
    approach: Approach = "dressed",
    before: float = BEFORE,
) -> BounceBackground:
    """Return the histories with these A_s, N* and ln k_B [1/Mpc].

    Raises
    ------
    InflationError
        If no field at the bounce leads there.
    """
    potential = inflaton.potential(inflaton.scale(amplitude, n_star))
    target = math.log(PIVOT) - ln_kb  # ln(aH/k_B) at the pivot's exit
    # ln(a s/k_B) falls by two thirds of what ln(rho)/2 falls by, to about -9
    top = torch.from_numpy(inflaton.field((n_star + target + 9).numpy()))
    # kinetic energy meets V at cosh^2(3 tau) = rho_c/V, and the field runs by sqrt(6) tau
    v = potential.value(top[:, None])[:, 0]
    phi = top - inflaton.velocity * (6**0.5 / 6 * torch.log(4 * RHO_C / (1.5 * v)) + 0.33)
    gain, asked, before_step = torch.ones_like(phi), torch.zeros_like(phi), torch.zeros_like(phi)
    for step in range(12):
        run = solve_bounce(potential, phi, velocity=inflaton.velocity, before=before, approach=approach)
        lowest = run.at(run.lowest[:, None])[:, 0, 1]
        short = target - _pivot(run, n_star, lowest)
        if bool((short.abs() < _CLOSE).all()):
            return run
        if step:  # slow roll's estimate of what a step gains, corrected by what the last one did
            gained = (before_step - short) / torch.where(asked == 0, 1.0, asked)
            gain = torch.where(asked == 0, gain, (gain / gained).clamp(0.3, 3.0))
        now = run.efolds
        steps = [torch.from_numpy(inflaton.field(x.numpy())) for x in (now + short, now)]
        asked, before_step = torch.where(short.abs() < _CLOSE, 0.0, short), short
        phi = phi + torch.where(asked == 0, 0.0, gain * (steps[0] - steps[1]))
    raise InflationError(
        f"potential {inflaton.formula!r}: no field at the bounce gives ln k_B = {ln_kb[short.abs() >= _CLOSE].tolist()[:4]} at "
        f"N* = {n_star[short.abs() >= _CLOSE].tolist()[:4]}"
    )


def _pivot(run: BounceBackground, n_star: torch.Tensor, lowest: torch.Tensor) -> torch.Tensor:
    """Return ln(aH/k_B) at N*, continued where inflation is still too short."""
    short = (n_star - run.efolds + 1).clamp_min(0)
    return torch.where(short > 0, lowest - short, run.pivot((n_star - short).clamp_min(1.0)))


def evolve(
    inflaton: Inflaton,
    k: torch.Tensor,  # shape: (batch, n_k)
    amplitude: torch.Tensor,  # shape: (batch,)
    n_star: torch.Tensor,  # shape: (batch,)
    ln_kb: torch.Tensor,  # shape: (batch,)
    *,
    approach: Approach = "dressed",
    vacuum: int | str = "kinetic",
    inside: float = 20.0,
) -> BounceModes:
    """Evolve the modes k [1/Mpc] of histories with these A_s, N* and ln k_B: dimensionless P_R and P_T."""
    before = BEFORE if vacuum == "kinetic" else 0.0
    run = history(inflaton, amplitude, n_star, ln_kb, approach=approach, before=before)
    return evolve_bounce(run, k * torch.exp(-ln_kb)[:, None], vacuum=vacuum, inside=inside)


def nodes(ln_kb: torch.Tensor) -> torch.Tensor:  # shape: (batch, 66)
    """Return ln k between which ln P is splined: everywhere, and close together where the bounce bends it."""
    low, high = (math.log(x) for x in _K)
    wide = torch.linspace(low, high, 26, dtype=torch.float64).expand(len(ln_kb), -1)
    bend = ln_kb[:, None] + torch.linspace(math.log(0.05), math.log(6.0), 40, dtype=torch.float64)
    return torch.cat([wide, bend], 1).sort(1).values


def spectrum(
    inflaton: Inflaton,
    k: torch.Tensor,  # shape: (n_k,) or (batch, n_k)
    amplitude: torch.Tensor,
    n_star: torch.Tensor,
    ln_kb: torch.Tensor,
    *,
    tensor: bool,
    approach: Approach,
    vacuum: int | str,
) -> torch.Tensor:  # shape: (batch, n_k)
    """Return P_R or P_T at k [1/Mpc] of modes evolved at :func:`nodes`, averaged over the interference."""
    at = nodes(ln_kb)
    run = evolve(inflaton, torch.exp(at), amplitude, n_star, ln_kb, approach=approach, vacuum=vacuum)
    log_power = run.average[int(tensor)].log().numpy()
    log_k = torch.log(k).expand(len(at), -1).numpy()
    rows = []
    for x, y, want in zip(at.numpy(), log_power, log_k, strict=True):
        apart = np.concatenate([[True], np.diff(x) > 1e-6])
        rows.append(CubicSpline(x[apart], y[apart])(want.clip(x[0], x[-1])))
    return torch.from_numpy(np.exp(np.stack(rows)))
