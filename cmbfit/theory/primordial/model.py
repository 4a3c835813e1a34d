"""What a primordial model is: parameters with priors, a batched function, a domain, citations.

A model maps k [1/Mpc] and a batch of parameter vectors to dimensionless power. `scalar` models are
the spectrum of curvature perturbations, P_R(k), `tensor` models that of gravitational waves, P_T(k)
(both polarisations, so that P_T = r P_R at the pivot).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch

from cmbfit.errors import ParameterError
from cmbfit.theory.base import checked_before

PIVOT = 0.05
"""Pivot wavenumber k* [1/Mpc] of all amplitudes, tilts and phases."""

Values = Mapping[str, torch.Tensor]
"""Parameter name -> shape (batch, 1)."""

Power = Callable[[torch.Tensor, Values], torch.Tensor]
"""k [1/Mpc], shape (n_k,), and parameters to a shape (batch, n_k)."""


@dataclass(frozen=True)
class Flat:
    """A flat prior on [low, high], declared: theory knows no densities.

    `cmbfit.likelihood.priors.prior_from_config(name, flat.describe())` builds the density.
    """

    low: float
    high: float

    def describe(self) -> dict[str, list[float]]:
        """Return the configuration of the prior."""
        return {"uniform": [self.low, self.high]}


@dataclass(frozen=True)
class Parameter:
    """A parameter of a primordial model.

    Attributes
    ----------
    name : str
    default : float
    prior : Flat
    unit : str
        Empty for a pure number.
    meaning : str
    """

    name: str
    default: float
    prior: Flat
    unit: str
    meaning: str


LOG_A = Parameter("logA", 3.044, Flat(2.5, 3.5), "", "ln(10^10 A_s) at k*")
NS = Parameter("ns", 0.9649, Flat(0.8, 1.2), "", "tilt of the scalar spectrum")
R_BOUND = 0.036
"""Largest r that data allow, 95% (BICEP/Keck 2021, arXiv:2110.00483): end of the priors of models whose energy r sets."""

RATIO = Parameter("r", 0.01, Flat(0.0, 0.2), "", "tensor-to-scalar ratio at k*")


@dataclass(frozen=True)
class PrimordialModel:
    """A primordial power spectrum.

    Attributes
    ----------
    name : str
        Its name in the registry.
    title : str
        One line for tables.
    formula : str
        The spectrum, as text.
    parameters : tuple of Parameter
        The columns of `theta`, in order.
    citations : tuple of str
    function : callable
        P(k) from k, shape (n_k,), and named values, each of shape (batch, 1).
    bound : callable, optional
        Where the model makes sense besides P > 0: the same arguments to a mask of shape (batch, 1).
    kind : {"scalar", "tensor"}
    null : mapping of str to float or {"low", "high"}
        Where the model is the power law: parameter to its value there, or to the edge of its prior at which no data see
        the feature. Empty where there is no such place.
    note : str
        What the data cannot say about this model, or what a fit must report with it.
    resolution : (float, float)
        Fastest features: largest w of cos(w ln k) and of cos(w k/k*) that a fit must resolve. A spectrum that is
        smooth in ln k needs few wavenumbers and is fitted many times faster.
    positive : bool
        Whether power is positive and finite wherever the priors are, so that :meth:`valid` need not compute it.
    solved : callable, optional
        What `function` has learned, evolved: slow, without gradients, for final numbers. See :attr:`exact`.
    trained : callable, optional
        The :class:`~cmbfit.theory.primordial.surrogate.Trained` network of a learned model.
    history : callable, optional
        From one point's values by name to the :class:`~cmbfit.theory.primordial.lqc.history.History` behind its spectrum, of a model
        that has a bounce: what its figure shows.

    Examples
    --------
    >>> from cmbfit.theory.primordial import get_model
    >>> model = get_model("power_law")
    >>> k = torch.logspace(-4, 0, 5, dtype=torch.float64)
    >>> model.power(k, model.defaults()).shape
    torch.Size([1, 5])
    """

    name: str
    title: str
    formula: str
    parameters: tuple[Parameter, ...]
    citations: tuple[str, ...]
    function: Power
    bound: Power | None = None
    kind: Literal["scalar", "tensor"] = "scalar"
    null: Mapping[str, float | Literal["low", "high"]] = field(default_factory=dict, hash=False)
    note: str = ""
    resolution: tuple[float, float] = (130.0, 130.0)
    positive: bool = False
    solved: Power | None = None
    trained: Callable[[], Any] | None = None
    history: Callable[[Mapping[str, float]], Any] | None = None

    @property
    def exact(self) -> PrimordialModel:
        """The model itself, or, of a learned one, that which evolves what was learned."""
        return self if self.solved is None else replace(self, function=self.solved, solved=None, trained=None)

    @property
    def parameter_names(self) -> tuple[str, ...]:
        """Names of the columns of `theta`."""
        return tuple(p.name for p in self.parameters)

    @property
    def priors(self) -> dict[str, Flat]:
        """Default prior of each parameter."""
        return {p.name: p.prior for p in self.parameters}

    def defaults(self, device: torch.device | str = "cpu") -> torch.Tensor:  # shape: (1, n_parameters)
        """Return the default point."""
        return torch.tensor([[p.default for p in self.parameters]], dtype=torch.float64, device=device)

    def point(self, values: Mapping[str, float]) -> torch.Tensor:  # shape: (1, n_parameters)
        """Return the default point with some values replaced.

        Raises
        ------
        ParameterError
            For an unknown name or a number that is not finite.
        """
        for name, value in values.items():
            if name not in self.parameter_names:
                raise ParameterError(
                    f"{self.name}: unknown parameter {name!r}; expected {', '.join(self.parameter_names)}"
                )
            if not math.isfinite(value):
                raise ParameterError(f"{self.name}: {name}: expected a finite number, found {value}")
        row = [float(values.get(p.name, p.default)) for p in self.parameters]
        return torch.tensor([row], dtype=torch.float64)

    def _values(self, k: torch.Tensor, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        n = len(self.parameters)
        if theta.ndim != 2 or theta.shape[1] != n or theta.dtype != torch.float64:
            raise ParameterError(
                f"{self.name}: expected float64 theta of shape (batch, {n}) for "
                f"{', '.join(self.parameter_names)}, found {theta.dtype} {tuple(theta.shape)}"
            )
        own = k.ndim == 2 and len(k) == len(theta)
        if (
            not (k.ndim == 1 or own)
            or k.dtype != torch.float64
            or not (checked_before() or bool((k > 0).all()))
        ):
            raise ParameterError(
                f"{self.name}: expected float64 k of positive 1/Mpc, a vector or one row for each point of theta, "
                f"found {k.dtype} {tuple(k.shape)}"
            )
        return {name: theta[:, i : i + 1] for i, name in enumerate(self.parameter_names)}

    def power(
        self,
        k: torch.Tensor,  # shape: (n_k,) or (batch, n_k)
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_k)
        """Return the dimensionless power at k [1/Mpc], differentiable in `theta`.

        Outside the model's domain the numbers mean nothing: see :meth:`valid`.

        Raises
        ------
        ParameterError
            If a shape, a dtype or a wavenumber is wrong.
        """
        return self.function(k, self._values(k, theta))

    def valid(
        self,
        k: torch.Tensor,  # shape: (n_k,) or (batch, n_k)
        theta: torch.Tensor,  # shape: (batch, n_parameters)
        seen: torch.Tensor | None = None,  # shape: (n_k,), bool
    ) -> torch.Tensor:  # shape: (batch,), bool
        """Return where the model makes sense: power positive and finite, bounds kept, priors supported.

        A fit gives probability zero to the others. Positive at all k, or where data look: at those that are `seen`.
        """
        values = self._values(k, theta)
        with torch.no_grad():
            if self.positive:
                good = torch.ones(len(theta), dtype=torch.bool, device=theta.device)
            else:
                power = self.function(k, values)
                positive = power > 0 if seen is None else (power > 0) | ~seen
                good = (torch.isfinite(power) & positive).all(1)
            for parameter in self.parameters:
                x = values[parameter.name][:, 0]
                good &= (x >= parameter.prior.low) & (x <= parameter.prior.high)
            if self.bound is not None:
                good &= self.bound(k, values).all(1)
        return good

    def require_valid(self, k: torch.Tensor, theta: torch.Tensor, seen: torch.Tensor | None = None) -> None:
        """Raise :class:`ParameterError` naming the first row of `theta` that :meth:`valid` refuses."""
        if bad := (~self.valid(k, theta, seen)).nonzero().flatten().tolist():
            row = theta[bad[0]].tolist()
            at = ", ".join(f"{n} = {x:g}" for n, x in zip(self.parameter_names, row, strict=True))
            limits = ", ".join(f"{p.name} in [{p.prior.low:g}, {p.prior.high:g}]" for p in self.parameters)
            raise ParameterError(
                f"{self.name}: no valid spectrum at {at} (power not positive, or a bound of the model broken); "
                f"expected {limits}" + (f"; {self.note}" if self.note else "")
            )


def amplitude(values: Values) -> torch.Tensor:  # shape: (batch, 1)
    """Return A_s."""
    return torch.exp(values["logA"]) * 1e-10


def power_law(k: torch.Tensor, values: Values) -> torch.Tensor:  # shape: (batch, n_k)
    """Return A_s (k/k*)^(n_s - 1): what features multiply."""
    return amplitude(values) * torch.exp((values["ns"] - 1) * torch.log(k / PIVOT))


def feature(modulation: Power) -> Power:
    """Return the spectrum that is the power law times `modulation`."""

    def function(k: torch.Tensor, values: Values) -> torch.Tensor:
        return power_law(k, values) * modulation(k, values)

    return function
