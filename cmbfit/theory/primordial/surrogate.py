"""A network that learned the mode solver: potential parameters -> ln P(k).

Trained on the solver's output by the mean squared error of ln P, after standardisation and a principal
component basis. It serves searches and gradients; final numbers come from the solver, which
:meth:`Surrogate.power` calls for points outside the training box.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.stats import qmc

from cmbfit.device import OnDevice
from cmbfit.errors import ConfigError, ParameterError

Solver = Callable[[torch.Tensor], torch.Tensor]
"""theta, shape (batch, n_parameters), to P at the surrogate's k, shape (batch, n_k)."""


@dataclass(frozen=True)
class SurrogateSettings:
    """Size and training of the network."""

    n_train: int = 256
    n_test: int = 64
    components: int = 12
    width: int = 64
    steps: int = 1500
    learning_rate: float = 3e-3

    def __post_init__(self) -> None:
        if min(self.n_train, self.n_test, self.components, self.width, self.steps) < 1:
            raise ConfigError(f"surrogate: expected positive sizes, found {self}")


@dataclass
class Surrogate(OnDevice):
    """A trained network with its measured error.

    Attributes
    ----------
    k : torch.Tensor, shape (n_k,)
    low, high : torch.Tensor, shape (n_parameters,)
        The training box.
    network : torch.nn.Module
        Scaled parameters to coefficients.
    mean, basis : torch.Tensor, shapes (n_k,) and (components, n_k)
        ln P = mean + coefficients @ basis.
    solver : callable
        What was learned, used outside the box.
    held_out : dict of str to float
        `rms` and `max` error of ln P over the test points, `loss` of training, `truncation` (rms error of the
        basis alone).
    """

    k: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    network: torch.nn.Module
    mean: torch.Tensor
    basis: torch.Tensor
    solver: Solver
    held_out: dict[str, float] = field(default_factory=dict)

    def inside(self, theta: torch.Tensor) -> torch.Tensor:  # shape: (batch,), bool
        """Return which points lie in the training box."""
        return ((theta >= self.low) & (theta <= self.high)).all(1)

    def log_power(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_k)
        """Return the network's ln P, differentiable.

        Raises
        ------
        ParameterError
            For a point outside the training box.
        """
        if not bool(self.inside(theta).all()):
            bad = theta[~self.inside(theta)][0].tolist()
            raise ParameterError(
                f"surrogate: {bad} lies outside the training box {self.low.tolist()} to {self.high.tolist()}; "
                "use power(), which falls back to the solver"
            )
        scaled = 2 * (theta - self.low) / (self.high - self.low) - 1
        return self.mean + self.network(scaled) @ self.basis

    def power(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_k)
        """Return P(k): of the network inside the box, of the solver outside."""
        inside = self.inside(theta)
        out = torch.empty((len(theta), len(self.k)), dtype=torch.float64, device=theta.device)
        if bool(inside.any()):
            out[inside] = torch.exp(self.log_power(theta[inside]))
        if not bool(inside.all()):
            out[~inside] = self.solver(theta[~inside])
        return out


def train_surrogate(
    solver: Solver,
    k: torch.Tensor,  # shape: (n_k,)
    box: Sequence[tuple[float, float]],
    *,
    settings: SurrogateSettings | None = None,
    seed: int = 1,
    batch: int = 64,
) -> Surrogate:
    """Run the solver on a Sobol design over `box`, train the network, and measure it on points it has not seen.

    Parameters
    ----------
    solver : callable
    k : torch.Tensor, shape (n_k,)
        Where the solver gives power.
    box : sequence of (low, high)
        One range for each parameter.
    settings : SurrogateSettings, optional
    seed : int
        Of the design and the initial weights; the same seed gives the same network.
    batch : int
        Points for one call of the solver.

    Raises
    ------
    ParameterError
        If the solver's power is not positive and finite somewhere in the box.
    """
    settings = settings or SurrogateSettings()
    low, high = torch.tensor(list(box), dtype=torch.float64).T
    n = settings.n_train + settings.n_test
    unit = qmc.Sobol(len(box), seed=seed).random_base2(math.ceil(math.log2(n)))[:n]
    theta = low + (high - low) * torch.from_numpy(unit)
    power = torch.cat([solver(part) for part in theta.split(batch)])
    if not bool(((power > 0) & torch.isfinite(power)).all()):
        raise ParameterError("surrogate: the solver's power is not positive and finite everywhere in the box")
    # the test points are drawn at random: the end of a Sobol sequence is not a fair sample
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    train, test = order[: settings.n_train], order[settings.n_train :]
    target = power.log()
    mean = target[train].mean(0)
    _, size, basis = torch.linalg.svd(target[train] - mean, full_matrices=False)
    basis = basis[: settings.components] * size[: settings.components, None] / math.sqrt(settings.n_train)
    norm = basis.square().sum(1)
    coefficients = (target[train] - mean) @ basis.T / norm
    scaled = 2 * (theta - low) / (high - low) - 1

    network = _network(len(box), settings.width, len(basis), seed)
    optimiser = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.steps)
    loss = torch.zeros(())
    for _ in range(settings.steps):
        optimiser.zero_grad()
        # the mean squared error of ln P over k, through the orthogonal basis
        loss = ((network(scaled[train]) - coefficients).square() * norm).sum(1).mean() / len(k)
        loss.backward()
        optimiser.step()
        schedule.step()
    network.requires_grad_(requires_grad=False)
    result = Surrogate(k, low, high, network, mean, basis, solver)
    residual = result.log_power(theta[test]) - target[test]
    exact = (target[test] - mean) @ basis.T / norm @ basis + mean
    result.held_out = {
        "rms": residual.square().mean().sqrt().item(),
        "max": residual.abs().max().item(),
        "truncation": (exact - target[test]).square().mean().sqrt().item(),
        "loss": loss.item(),
    }
    return result


def _network(n_in: int, width: int, n_out: int, seed: int) -> torch.nn.Sequential:
    """Return two hidden layers; weights from `seed` without touching torch's global generator."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(n_in, width), (width, width), (width, n_out)]
    layers: list[torch.nn.Module] = []
    for rows, columns in sizes:
        layer = torch.nn.Linear(rows, columns, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.normal_(0, 1 / math.sqrt(rows), generator=generator)
            layer.bias.zero_()
        layers += [layer, torch.nn.SiLU()]
    return torch.nn.Sequential(*layers[:-1])
