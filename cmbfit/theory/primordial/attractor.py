"""Alpha-attractors (E-models), whose modes are solved once and learned: the potentials between Starobinsky's and m^2 phi^2.

V = V0 (1 - exp(-sqrt(2/(3 alpha)) phi))^2 (Kallosh & Linde 2013; alpha = 1 is Starobinsky's). First order would be
n_s = 1 - 2/N*, r = 12 alpha/N*^2 for alpha of order one; no slow-roll formula is used: `solve` evolves background and modes, and
a network that learned it (:mod:`~cmbfit.theory.primordial.surrogate`), one of scalars and one of tensors, is what a fit evaluates, thousands of times faster and with
gradients. What is fitted with it is re-weighted by the solver's own spectra (``solved`` of the model).

The network knows ln P at Chebyshev nodes of ln k, between which the polynomial through them is good to 1e-9.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import torch

from cmbfit.device import moved
from cmbfit.shipped import read_shipped
from cmbfit.theory.primordial.inflation import solve_inflation
from cmbfit.theory.primordial.model import LOG_A, PIVOT, Flat, Parameter, PrimordialModel, Values, amplitude
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.primordial.surrogate import (
    Evolved,
    Surrogate,
    SurrogateSettings,
    Trained,
    evolve,
    read_surrogates,
    train_on,
)

FORMULA = "(1 - exp(-c * phi))**2"
PHI_RANGE = (0.1, 22.0)
SHIPPED = "theory/primordial/attractor.npz"

_RANGE = (-11.0, 7.0)
"""Of ln(k/k*)."""

_NODES = 14

BOX = ((45.0, 65.0), (-1.0, 2.0))
"""Of N* and log10 alpha."""


def _angles(n: int) -> torch.Tensor:
    return math.pi * (torch.arange(n, dtype=torch.float64) + 0.5) / n


def nodes() -> torch.Tensor:  # shape: (14,)
    """Return the wavenumbers [1/Mpc] at which modes are evolved."""
    low, high = _RANGE
    return PIVOT * torch.exp(low + (high - low) * (torch.cos(_angles(_NODES)) + 1) / 2)


def solve(
    theta: torch.Tensor,  # shape: (batch, 2)
) -> torch.Tensor:  # shape: (batch, 28)
    """Evolve the modes: P_R, then P_T, at :func:`nodes`, both over P_R(k*); theta holds N* and log10 alpha."""
    k = torch.cat([torch.tensor([PIVOT], dtype=torch.float64), nodes()])
    steepness = torch.sqrt(2 / (3 * 10 ** theta[:, 1]))
    run = solve_inflation(Potential(FORMULA, {"c": steepness}, PHI_RANGE), k, theta[:, 0])
    return torch.cat([run.scalar[:, 1:], run.tensor[:, 1:]], 1) / run.scalar[:, :1]


def _part(theta: torch.Tensor, *, tensor: bool) -> torch.Tensor:
    power = solve(theta)
    return power[:, _NODES:] if tensor else power[:, :_NODES]


SOLVERS = {"scalar": functools.partial(_part, tensor=False), "tensor": functools.partial(_part, tensor=True)}
"""What each network learned."""


@functools.cache
def learned(kind: str) -> Trained:
    """Return the network of a kind, scalar or tensor, that cmbfit ships."""
    return read_surrogates(read_shipped(SHIPPED), SOLVERS, SHIPPED)[kind]


@functools.lru_cache(maxsize=8)
def _network_on(kind: str, device: torch.device) -> Surrogate:
    return moved(learned(kind).network, device)


@functools.lru_cache(maxsize=4)
def _coefficients_on(device: torch.device) -> torch.Tensor:
    """Return the matrix from values at the nodes to Chebyshev coefficients."""
    order = torch.arange(_NODES, dtype=torch.float64)
    values = 2 / _NODES * torch.cos(order[:, None] * _angles(_NODES))
    values[0] /= 2
    return values.to(device)


def between(
    log_power: torch.Tensor,  # shape: (batch, 14)
    k: torch.Tensor,  # shape: (n_k,) or (batch, n_k)
) -> torch.Tensor:  # shape: (batch, n_k)
    """Return ln P at k from that at :func:`nodes`; constant beyond them."""
    low, high = _RANGE
    s = (2 * (torch.log(k / PIVOT) - low) / (high - low) - 1).clamp(-1, 1)
    c = log_power @ _coefficients_on(log_power.device).T
    one, two = torch.zeros_like(c[:, :1] * s), torch.zeros_like(c[:, :1] * s)
    for i in range(_NODES - 1, 0, -1):  # Clenshaw
        one, two = c[:, i : i + 1] + 2 * s * one - two, one
    return c[:, :1] + s * one - two


def _power(k: torch.Tensor, values: Values, *, kind: str, solved: bool) -> torch.Tensor:
    theta = torch.cat([values["n_star"], values["log10_alpha"]], 1)
    if solved:
        log_power = SOLVERS[kind](theta.detach().cpu()).log().to(theta.device)
    else:
        network = _network_on(kind, theta.device)
        # the prior refuses points outside: theirs must only be a number
        log_power = network.log_power(theta.clamp(network.low, network.high))
    return amplitude(values) * torch.exp(between(log_power, k))


_PARAMETERS = (
    LOG_A,
    Parameter("n_star", 55.0, Flat(*BOX[0]), "", "e-folds from the exit of k* to the end of inflation"),
    Parameter(
        "log10_alpha", 0.0, Flat(*BOX[1]), "", "curvature of field space, R = -2/(3 alpha); 0: Starobinsky"
    ),
)
_CITATIONS = (
    "Kallosh & Linde (2013), JCAP 07, 002; arXiv:1306.5220",
    "Kallosh, Linde & Roest (2013), JHEP 11, 198; arXiv:1311.0472",
)
MODEL = PrimordialModel(
    name="attractor",
    title="alpha-attractor (E-model)",
    formula="modes of V = V0 (1 - exp(-sqrt(2/(3 alpha)) phi))^2, learned by a network",
    parameters=_PARAMETERS,
    citations=_CITATIONS,
    function=functools.partial(_power, kind="scalar", solved=False),
    solved=functools.partial(_power, kind="scalar", solved=True),
    trained=functools.partial(learned, "scalar"),
    note="fitted with a network; final numbers are the solver's, by re-weighting",
    resolution=(20.0, 5.0),
)
TENSOR = PrimordialModel(
    name="tensor_attractor",
    title="tensors, alpha-attractor (E-model)",
    formula="tensor modes of the same potential, learned; r is predicted",
    parameters=_PARAMETERS,
    citations=_CITATIONS,
    function=functools.partial(_power, kind="tensor", solved=False),
    solved=functools.partial(_power, kind="tensor", solved=True),
    trained=functools.partial(learned, "tensor"),
    kind="tensor",
)


def train(settings: SurrogateSettings, sizes: Sequence[int], seed: int) -> dict[str, Trained]:
    """Evolve a design and learn it: what :func:`learned` returns, made anew.

    Parameters
    ----------
    settings : SurrogateSettings
    sizes : sequence of int
        Of training sets whose held-out errors are recorded too: the learning curve.
    seed : int
    """
    evolved = evolve(solve, BOX, settings.n_train + settings.n_test, seed=seed)
    parts = dict(zip(SOLVERS, evolved.log_power.split(_NODES, 1), strict=True))
    return {
        kind: train_on(Evolved(evolved.theta, log_power), SOLVERS[kind], nodes(), BOX, settings, sizes, seed)
        for kind, log_power in parts.items()
    }
