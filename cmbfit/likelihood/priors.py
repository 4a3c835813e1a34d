"""Prior densities: normalised, batched, with a support.

Every parameter has exactly one prior, and the Posterior adds it exactly once; likelihoods never
include priors (published chains have counted nuisance priors more than once).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch

from cmbfit.errors import ConfigError, shown


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

    def mass_outside(self, low: float, high: float) -> float:
        """Return the probability outside [low, high]."""
        ...

    def describe(self) -> dict[str, Any]:
        """Return the configuration that builds this prior."""
        ...


def require_density(name: str, prior: Prior) -> None:
    """Raise :class:`ConfigError` for a prior of which no density is known: no posterior and no evidence can use it."""
    parts = ("support", "log_prob", "mass_outside", "sample", "describe")
    if missing := [part for part in parts if not hasattr(prior, part)]:
        raise ConfigError(
            f"prior of {name}: {type(prior).__name__} has no {', '.join(missing)}; expected a normalised density as in "
            "cmbfit.likelihood.priors.Prior"
        )


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

    def mass_outside(self, low: float, high: float) -> float:
        """Return the probability outside [low, high]."""
        inside = min(high, self.high) - max(low, self.low)
        return 1 - max(inside, 0.0) / (self.high - self.low)

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

    def mass_outside(self, low: float, high: float) -> float:
        """Return the probability outside [low, high]."""
        scale = self.std * math.sqrt(2)
        return 0.5 * (math.erfc((self.mean - low) / scale) + math.erfc((high - self.mean) / scale))

    def describe(self) -> dict[str, Any]:
        """Return the configuration that builds this prior."""
        return {"gaussian": [self.mean, self.std]}


@dataclass(frozen=True)
class JointGaussian:
    """Normal density of several parameters with correlations.

    Parameters
    ----------
    names : tuple of str
    mean : tuple of float
    covariance : tuple of tuple of float
        Symmetric and positive definite, in the order of `names`.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        covariance = np.array(self.covariance, dtype=float)
        n = len(self.names)
        if len(self.mean) != n or covariance.shape != (n, n) or not np.allclose(covariance, covariance.T):
            raise ConfigError(
                f"joint prior of {', '.join(self.names)}: expected {n} means and a symmetric {n}x{n} covariance"
            )
        if not np.linalg.eigvalsh(covariance).min() > 0:
            raise ConfigError(
                f"joint prior of {', '.join(self.names)}: the covariance is not positive definite"
            )

    def log_prob(
        self,
        x: torch.Tensor,  # shape: (batch, n_names)
    ) -> torch.Tensor:  # shape: (batch,)
        """Return the log of the normalised density."""
        covariance = torch.tensor(self.covariance, dtype=x.dtype, device=x.device)
        cholesky = torch.linalg.cholesky(covariance)
        residual = (x - torch.tensor(self.mean, dtype=x.dtype, device=x.device)).T
        white = torch.linalg.solve_triangular(cholesky, residual, upper=False)
        norm = torch.log(torch.diagonal(cholesky)).sum() + 0.5 * len(self.names) * math.log(2 * math.pi)
        return -0.5 * white.square().sum(0) - norm

    def marginal(self, name: str) -> Gaussian:
        """Return one parameter's own density, the others integrated out."""
        i = self.names.index(name)
        return Gaussian(self.mean[i], math.sqrt(self.covariance[i][i]))

    def describe(self) -> dict[str, Any]:
        """Return names, means and covariance."""
        return {
            "names": list(self.names),
            "mean": list(self.mean),
            "covariance": [list(r) for r in self.covariance],
        }


def sum_log_prior(
    values: Mapping[str, torch.Tensor],  # name -> shape (batch,)
    priors: Mapping[str, Prior],
    joint: Sequence[JointGaussian] = (),
) -> torch.Tensor:  # shape: (batch,)
    """Return the log prior of named values, each parameter counted once.

    A parameter of a joint prior counts there alone; its entry in `priors` is only its marginal.
    """
    jointly = {name for prior in joint for name in prior.names}
    terms = [priors[name].log_prob(x) for name, x in values.items() if name not in jointly]
    terms += [prior.log_prob(torch.stack([values[n] for n in prior.names], dim=1)) for prior in joint]
    return torch.stack(terms).sum(0)


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
            f"prior of {name}: expected {{uniform: [low, high]}} or {{gaussian: [mean, std]}}, found {shown(spec)}"
        )
    kind, numbers = next(iter(spec.items()))
    if not isinstance(numbers, list | tuple) or len(numbers) != 2:
        raise ConfigError(f"prior of {name}: {kind} takes two numbers, found {shown(numbers)}")
    try:
        return kinds[kind](float(numbers[0]), float(numbers[1]))
    except (TypeError, ValueError, ConfigError) as error:
        raise ConfigError(f"prior of {name}: {error}") from error
