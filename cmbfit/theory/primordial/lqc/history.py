"""What is behind a spectrum: energies from the bounce to inflation, and the power of each choice of mass and vacuum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.errors import InflationError
from cmbfit.theory.primordial.lqc.background import M_PL, RHO_C
from cmbfit.theory.primordial.lqc.masses import APPROACHES, Approach
from cmbfit.theory.primordial.lqc.modes import evolve_bounce
from cmbfit.theory.primordial.lqc.quanta import quanta
from cmbfit.theory.primordial.lqc.solved import BEFORE, Inflaton, history
from cmbfit.theory.primordial.lqc.vacuum import ORDERS

_TURNS = 160
"""Evolved modes that show the interference."""


@dataclass(frozen=True)
class History:
    """A bounce with its spectra.

    Attributes
    ----------
    efolds, kinetic, potential : numpy.ndarray, shape (n,)
        ln(a/a_B), and both energies over rho_c.
    inflation : (float, float)
        ln(a/a_B) where aH is least, and at the end of inflation.
    phi_b : float
        Field at the bounce [Planck masses].
    k_b : float
        1/Mpc.
    k, scalar, tensor : numpy.ndarray, shape (160,)
        1/Mpc, and power over that of inflation's own vacuum with every turn of the interference, for the model's own choice.
    choices : dict of str to (numpy.ndarray, numpy.ndarray)
        k/k_B and 1 + 2N, of each mass and vacuum, where the vacuum exists.
    chosen : str
        Key of the model's own.
    """

    efolds: np.ndarray
    kinetic: np.ndarray
    potential: np.ndarray
    inflation: tuple[float, float]
    phi_b: float
    k_b: float
    k: np.ndarray
    scalar: np.ndarray
    tensor: np.ndarray
    choices: dict[str, tuple[np.ndarray, np.ndarray]]
    chosen: str


def label(approach: Approach, vacuum: int | str) -> str:
    """Return the words for a choice."""
    when = "kinetic vacuum before" if vacuum == "kinetic" else f"adiabatic order {vacuum} at the bounce"
    return f"{approach}: {when}"


def compare_choices() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return k/k_B and 1 + 2N of each mass and vacuum, at the wavenumbers that have it."""
    x = torch.logspace(-2, math.log10(5), 40, dtype=torch.float64)
    out = {}
    for approach in APPROACHES:
        for vacuum in ("kinetic", *ORDERS):
            for first in range(len(x)):  # from the longest wave that has the vacuum
                try:
                    found = quanta(x[first:], approach, vacuum)
                except InflationError:
                    continue
                out[label(approach, vacuum)] = (x[first:].numpy(), 1 + 2 * found.numpy())
                break
    return out


def describe(
    values: Mapping[str, float], *, inflaton: Inflaton, approach: Approach, vacuum: int | str
) -> History:
    """Solve one history with logA, n_star and ln_kb of `values`, and every choice of mass and vacuum beside it."""
    a_s, n_star, ln_kb = (
        torch.tensor([x], dtype=torch.float64)
        for x in (math.exp(values["logA"]) * 1e-10, values["n_star"], values["ln_kb"])
    )
    run = history(
        inflaton, a_s, n_star, ln_kb, approach=approach, before=BEFORE if vacuum == "kinetic" else 0.0
    )
    after = run.knots >= 0
    phi, velocity, _, n = run.state[0, after, :4].T
    x = torch.logspace(-2, math.log10(4), _TURNS, dtype=torch.float64)
    modes = evolve_bounce(run, x[None], vacuum=vacuum, inside=50.0)
    # where a mode was never a wave, inflation's own vacuum is no vacuum: nothing is shown
    ratio = (modes.power / modes.vacuum)[:, 0].numpy()
    marks = run.at(torch.stack([run.lowest, run.end], 1), run.clock)[0, :, 0]
    return History(
        efolds=n.numpy(),
        kinetic=(velocity.square() / 2 / RHO_C).numpy(),
        potential=(run.potential.value(phi[None])[0] / RHO_C).numpy(),
        inflation=(marks[0].item(), marks[1].item()),
        phi_b=float(np.interp(0.0, run.knots.numpy(), run.state[0, :, 0].numpy())) / M_PL,
        k_b=math.exp(values["ln_kb"]),
        k=x.numpy() * math.exp(values["ln_kb"]),
        scalar=ratio[0],
        tensor=ratio[1],
        choices=compare_choices(),
        chosen=label(approach, vacuum),
    )
