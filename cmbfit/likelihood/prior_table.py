"""The joint prior of a batch in a few operations, whatever the number of parameters."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence

import torch

from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior, Uniform


class PriorTable:
    """Uniform and normal priors as columns of numbers; any other prior is asked for itself.

    Parameters
    ----------
    parameters : sequence of str
        Columns of theta.
    priors : mapping of str to Prior
    joint : sequence of JointGaussian
        Replace the priors of the parameters that they name.
    box : mapping of str to (low, high)
        Where the theory is valid, for the parameters that it has.
    """

    def __init__(
        self,
        parameters: Sequence[str],
        priors: Mapping[str, Prior],
        joint: Sequence[JointGaussian],
        box: Mapping[str, tuple[float, float]],
    ) -> None:
        infinite = (-math.inf, math.inf)
        jointly = {name for prior in joint for name in prior.names}
        single = {i: priors[p] for i, p in enumerate(parameters) if p not in jointly}
        limits = [infinite if p in jointly else priors[p].support for p in parameters]
        self._low, self._high = torch.tensor(limits, dtype=torch.float64).T
        self._box_low, self._box_high = torch.tensor(
            [box.get(p, infinite) for p in parameters], dtype=torch.float64
        ).T
        # a prior within the box, the usual case, needs no second comparison
        self._box_cuts = bool(((self._low < self._box_low) | (self._high > self._box_high)).any())
        normal = {i: prior for i, prior in single.items() if isinstance(prior, Gaussian)}
        flat = [prior for prior in single.values() if isinstance(prior, Uniform)]
        self._normal = torch.tensor(list(normal), dtype=torch.long)
        self._mean = torch.tensor([x.mean for x in normal.values()], dtype=torch.float64)
        self._std = torch.tensor([x.std for x in normal.values()], dtype=torch.float64)
        self._constant = -sum(math.log(x.high - x.low) for x in flat)
        self._constant -= sum(math.log(x.std * math.sqrt(2 * math.pi)) for x in normal.values())
        self._other = {i: x for i, x in single.items() if not isinstance(x, Gaussian | Uniform)}
        self._joint = [([list(parameters).index(n) for n in x.names], x) for x in joint]

    def to(self, device: torch.device | str) -> PriorTable:
        """Return a copy on `device`."""
        moved = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(moved, name, value.to(device))
        return moved

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the log prior (any number outside the support), and who is inside support and box.

        NaN is inside nothing; who is outside a support that lies within the box may count as outside the
        box too. Each of the three has shape (batch,).
        """
        allowed = ((theta >= self._low) & (theta <= self._high)).all(1)
        inside = allowed
        if self._box_cuts:
            inside = ((theta >= self._box_low) & (theta <= self._box_high)).all(1)
        white = (theta[:, self._normal] - self._mean) / self._std
        value = self._constant - 0.5 * white.square().sum(1)
        for column, prior in self._other.items():
            value = value + prior.log_prob(theta[:, column])
        for columns, together in self._joint:
            value = value + together.log_prob(theta[:, columns])
        return value, allowed & torch.isfinite(value), inside
