"""A smaller model within a larger one: some parameters held at given values.

The likelihood is that of the larger posterior, folded or not; its priors of the remaining parameters
are kept, so that the two are nested in the sense of Dickey (1971).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch

from cmbfit.errors import ParameterError
from cmbfit.likelihood.posterior import EvaluationCounts, Posterior
from cmbfit.likelihood.prior_table import PriorTable
from cmbfit.likelihood.priors import Prior
from cmbfit.theory.base import Theory
from cmbfit.theory.parameters import unknown_name
from cmbfit.theory.spectra import Spectra


class _FixedTheory:
    """A theory without some of its parameters."""

    def __init__(self, whole: Theory, fixed: Mapping[str, float]) -> None:
        self.whole = whole
        self.fixed = {p: x for p, x in fixed.items() if p in whole.parameters}
        self.parameters = tuple(p for p in whole.parameters if p not in self.fixed)
        self.box = {p: limits for p, limits in whole.box.items() if p not in self.fixed}
        self.lmax = whole.lmax

    @property
    def settings(self) -> dict[str, Any]:
        return {**self.whole.settings, "fixed": self.fixed}

    def _insert(self, theta: torch.Tensor) -> torch.Tensor:
        return insert_columns(theta, self.whole.parameters, self.parameters, self.fixed)

    def allowed(self, theta: torch.Tensor) -> torch.Tensor:
        refuse = getattr(self.whole, "allowed", None)  # primordial models know where they make no sense
        return refuse(self._insert(theta)) if refuse else torch.ones_like(theta[:, 0], dtype=torch.bool)

    def spectra(self, theta: torch.Tensor) -> Spectra:
        return self.whole.spectra(self._insert(theta))

    def derived(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        known = getattr(self.whole, "derived", None)
        return known(self._insert(theta)) if known else {}


def insert_columns(
    theta: torch.Tensor,  # shape: (batch, len(free))
    parameters: tuple[str, ...],
    free: tuple[str, ...],
    fixed: Mapping[str, float],
) -> torch.Tensor:  # shape: (batch, len(parameters))
    """Return points of the larger model from those of the smaller one.

    Examples
    --------
    >>> insert_columns(torch.tensor([[1.0, 3.0]]), ("a", "b", "c"), ("a", "c"), {"b": 2.0})
    tensor([[1., 2., 3.]])
    """
    columns = [
        torch.full_like(theta[:, 0], fixed[p]) if p in fixed else theta[:, free.index(p)] for p in parameters
    ]
    return torch.stack(columns, dim=1)


class FixedPosterior(Posterior):
    """A posterior with some parameters held fixed; everything else is that of the larger one.

    Parameters
    ----------
    posterior : Posterior
        Compiled or not.
    fixed : mapping of str to float
        Parameters of theory or data and the values that they keep. They have no prior here.

    Raises
    ------
    ParameterError
        If a parameter is unknown, its value lies outside its prior or the theory's box, it shares a joint
        prior with free ones, or nothing is left to vary.
    """

    def __init__(self, posterior: Posterior, fixed: Mapping[str, float]) -> None:
        for name, value in fixed.items():
            if name not in posterior.parameters:
                raise ParameterError(unknown_name("parameter to fix", name, posterior.parameters))
            low, high = posterior.priors[name].support
            box_low, box_high = posterior.theory.box.get(name, (-math.inf, math.inf))
            low, high = max(low, box_low), min(high, box_high)
            if not low <= value <= high:
                raise ParameterError(
                    f"{name} cannot be fixed at {value:g}: expected a value within [{low:g}, {high:g}], where prior "
                    "and theory allow it; widen the prior of the larger fit"
                )
            if joint := next((j for j in posterior.joint_priors if name in j.names), None):
                raise ParameterError(
                    f"{name} shares a prior with {', '.join(joint.names)}: it cannot be fixed"
                )
        if not fixed or len(fixed) == len(posterior.parameters):
            raise ParameterError("fixed: expected some parameters of the fit, not none and not all")
        self.__dict__.update(posterior.__dict__)
        self.whole = posterior
        self.fixed = dict(fixed)
        self.theory = _FixedTheory(posterior.theory, fixed)
        self.parameters = tuple(p for p in posterior.parameters if p not in fixed)
        self.nuisances = {p: x for p, x in posterior.nuisances.items() if p not in fixed}
        self.priors: dict[str, Prior] = {p: posterior.priors[p] for p in self.parameters}
        self.counts = EvaluationCounts()
        # the larger posterior may have been moved: the table follows it
        table = PriorTable(self.parameters, self.priors, self.joint_priors, self.theory.box)
        self._prior_table = table.to(posterior.device)

    def expand(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_parameters of the larger model)
        """Return the same points as the larger model knows them."""
        return insert_columns(theta, self.whole.parameters, self.parameters, self.fixed)

    def log_likelihoods(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (batch,)
        """Return ln L of each data set, without priors."""
        self._check_shape(theta)
        return self.whole.log_likelihoods(self.expand(theta))

    def _log_like(self, theta: torch.Tensor) -> torch.Tensor:
        return self.whole._log_like(self.expand(theta))

    def to(self, device: torch.device | str) -> FixedPosterior:
        """Return a copy that computes on `device`."""
        return FixedPosterior(self.whole.to(device), self.fixed)


def restrict(posterior: Posterior, fixed: Mapping[str, float]) -> FixedPosterior:
    """Return the posterior with some parameters held fixed; see :class:`FixedPosterior`."""
    return FixedPosterior(posterior, fixed)
