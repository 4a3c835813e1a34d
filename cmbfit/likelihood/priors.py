"""Prior densities: normalised, batched, with a support.

Every parameter has exactly one prior, and the Posterior adds it exactly once; likelihoods never
include priors (published chains have counted nuisance priors more than once).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from cmbfit.errors import ConfigError


class Prior(Protocol):
    """A normalised density of one parameter."""

    @property
    def support(self) -> tuple[float, float]:
        """Closed interval outside of which the density is zero."""
        ...

    def log_prob(
        self,
        x: torch.Tensor,  # shape: (batch,)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the log density; -inf outside the support."""
        ...

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return `n` draws."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the configuration that builds this prior."""
        ...


@dataclass(frozen=True)
class Uniform:
    """Flat density on [low, high]."""

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ConfigError(f"uniform prior: expected finite low < high, found [{self.low}, {self.high}]")

    @property
    def support(self) -> tuple[float, float]:
        """The interval."""
        return self.low, self.high

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Return -ln(high - low) inside."""
        inside = (x >= self.low) & (x <= self.high)
        # 0 * x keeps the graph: a flat prior has gradient zero, not none
        return torch.where(inside, 0.0 * x - math.log(self.high - self.low), -torch.inf)

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return `n` draws."""
        return rng.uniform(self.low, self.high, n)

    def describe(self) -> dict[str, Any]:
        """Return the configuration that builds this prior."""
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True)
class Gaussian:
    """Normal density."""

    mean: float
    std: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std > 0):
            raise ConfigError(
                f"gaussian prior: expected a finite mean and std > 0, found {self.mean}, {self.std}"
            )

    @property
    def support(self) -> tuple[float, float]:
        """The whole line."""
        return -math.inf, math.inf

    def log_prob(self, x: torch.Tensor) -> torch.Tensor:
        """Return the log of the normalised density."""
        return -0.5 * ((x - self.mean) / self.std) ** 2 - math.log(self.std * math.sqrt(2 * math.pi))

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Return `n` draws."""
        return rng.normal(self.mean, self.std, n)

    def describe(self) -> dict[str, Any]:
        """Return the configuration that builds this prior."""
        return {"gaussian": [self.mean, self.std]}


def prior_from_config(name: str, spec: Mapping[str, Any]) -> Prior:
    """Build a prior from ``{uniform: [low, high]}`` or ``{gaussian: [mean, std]}``.

    Raises
    ------
    ConfigError
        If the specification is anything else; the message names the parameter.
    """
    kinds: dict[str, Callable[[float, float], Prior]] = {"uniform": Uniform, "gaussian": Gaussian}
    if not isinstance(spec, Mapping) or len(spec) != 1 or next(iter(spec)) not in kinds:
        raise ConfigError(
            f"prior of {name}: expected {{uniform: [low, high]}} or {{gaussian: [mean, std]}}, found {spec}"
        )
    kind, numbers = next(iter(spec.items()))
    if not isinstance(numbers, list | tuple) or len(numbers) != 2:
        raise ConfigError(f"prior of {name}: {kind} takes two numbers, found {numbers!r}")
    try:
        return kinds[kind](float(numbers[0]), float(numbers[1]))
    except (TypeError, ValueError, ConfigError) as error:
        raise ConfigError(f"prior of {name}: {error}") from error
