"""Networks for what polynomials cannot carry: a multilayer perceptron with a linear head, and its training.

The hidden layers give features of the parameters; the head maps them to the coordinates of an
emulator's blocks. Targets are in units of cosmic variance, so the loss, a mean of squares, weighs
every multipole as a likelihood does. AdamW (Loshchilov & Hutter 2019), cosine schedule, early stopping
on validation rows; the same seed gives the same network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.errors import ConfigError, DataError


@dataclass(frozen=True)
class NetworkSettings:
    """Size and training of a network.

    Parameters
    ----------
    width, depth : int
        Units of a hidden layer, number of hidden layers.
    learning_rate, weight_decay : float
        Of AdamW; the rate falls to 1% on a cosine.
    steps, batch : int
        Optimiser steps, rows of each.
    patience : int
        Checks (each 1/50 of the steps) without improvement on the validation rows before it stops.
    seed : int
    """

    width: int = 128
    depth: int = 2
    learning_rate: float = 3e-3
    weight_decay: float = 1e-4
    steps: int = 3000
    batch: int = 512
    patience: int = 15
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("width", "depth", "learning_rate", "steps", "batch", "patience"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"network: {name} must be positive, found {getattr(self, name)}")


class Mlp(torch.nn.Module):
    """Hidden layers (SiLU) and a linear head.

    Parameters
    ----------
    n_in, n_out : int
    settings : NetworkSettings
        Width, depth and the seed of the initial weights.
    """

    def __init__(self, n_in: int, n_out: int, settings: NetworkSettings) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(settings.seed)
        sizes = [n_in, *[settings.width] * settings.depth, n_out]
        self.weights = torch.nn.ParameterList()
        self.biases = torch.nn.ParameterList()
        for fan_in, fan_out in itertools.pairwise(sizes):
            self.weights.append(torch.randn(fan_out, fan_in, generator=generator) / math.sqrt(fan_in))
            self.biases.append(0.1 * torch.randn(fan_out, generator=generator))

    @property
    def layers(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Weights and biases of all layers, the head last."""
        return list(zip(self.weights, self.biases, strict=True))

    @property
    def hidden(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Weights and biases of the hidden layers."""
        return self.layers[:-1]

    def forward(
        self,
        x: torch.Tensor,  # shape: (batch, n_in)
    ) -> torch.Tensor:  # shape: (batch, n_out)
        """Return the head's output."""
        return hidden_features(x, self.hidden) @ self.weights[-1].T + self.biases[-1]


def hidden_features(
    x: torch.Tensor,  # shape: (batch, n_in)
    layers: Sequence[tuple[torch.Tensor, torch.Tensor]],
) -> torch.Tensor:  # shape: (batch, width)
    """Return the last hidden layer."""
    for weight, bias in layers:
        x = torch.nn.functional.silu(x @ weight.T + bias)
    return x


@dataclass(frozen=True)
class History:
    """Losses at the checks of a training run: the mean of squares over rows and outputs.

    Attributes
    ----------
    step, training, validation : list
    """

    step: list[int]
    training: list[float]
    validation: list[float]


def minimise(
    predict: Callable[[torch.Tensor], torch.Tensor],
    parameters: Sequence[torch.nn.Parameter],
    x: torch.Tensor,  # shape: (n, n_in)
    y: torch.Tensor,  # shape: (n, n_out)
    validation: np.ndarray,  # shape: (n,), bool
    settings: NetworkSettings,
) -> History:
    """Train `parameters` in place; the best state on the validation rows is kept.

    Parameters
    ----------
    predict : callable
        From rows of x to rows of y, through `parameters`.
    parameters : sequence of torch.nn.Parameter
        On the device of `x` and `y`.
    x, y : torch.Tensor
        float32, in comparable units.
    validation : numpy.ndarray of bool, shape (n,)
        Rows that are not trained on.
    settings : NetworkSettings

    Raises
    ------
    DataError
        If the loss is not finite from the first check on: the rate is too high, or the data are.
    """
    rng = np.random.default_rng(settings.seed)
    held = torch.from_numpy(validation).to(x.device)
    x_fit, y_fit, x_held, y_held = x[~held], y[~held], x[held], y[held]
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, settings.steps, eta_min=0.01 * settings.learning_rate
    )
    history = History([], [], [])
    best, kept, waited = math.inf, [p.detach().clone() for p in parameters], 0
    every = max(1, settings.steps // 50)
    for step in range(1, settings.steps + 1):
        rows = slice(None)
        if len(x_fit) > settings.batch:
            rows = torch.from_numpy(rng.choice(len(x_fit), settings.batch, replace=False)).to(x.device)  # type: ignore[assignment]
        loss = (predict(x_fit[rows]) - y_fit[rows]).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % every == 0:
            with torch.no_grad():
                now = (predict(x_held) - y_held).square().mean().item()
            history.step.append(step)
            history.training.append(loss.item())
            history.validation.append(now)
            if now < best:
                best, kept, waited = now, [p.detach().clone() for p in parameters], 0
            else:
                waited += 1
                if waited >= settings.patience:
                    break
    if not math.isfinite(best):
        raise DataError(
            f"network: the validation loss is {now} after {step} steps; lower the learning rate "
            f"({settings.learning_rate:g}) or look for non-finite spectra"
        )
    with torch.no_grad():
        for p, value in zip(parameters, kept, strict=True):
            p.copy_(value)
    return history
