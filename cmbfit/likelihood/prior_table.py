"""The joint prior of a batch in a few operations, whatever the number of parameters."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch

from cmbfit.device import OnDevice
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior, Uniform


class PriorTable(OnDevice):
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

    Attributes
    ----------
    middle : torch.Tensor, shape (n_parameters,)
        A point inside support and box, which stands for points that are outside.
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
        self._low, self._high = _limits([infinite if p in jointly else priors[p].support for p in parameters])
        self._box_low, self._box_high = _limits([box.get(p, infinite) for p in parameters])
        # a prior within the box, the usual case, needs no second comparison
        self._box_cuts = bool(((self._low < self._box_low) | (self._high > self._box_high)).any())
        normal = {i: prior for i, prior in single.items() if isinstance(prior, Gaussian)}
        # every column, with weight zero where the prior is not normal: cheaper than picking columns
        self._offset, self._weight = torch.zeros(2, len(parameters), dtype=torch.float64)
        for i, prior in normal.items():
            self._offset[i], self._weight[i] = -prior.mean / prior.std, 1 / prior.std
        low, high = torch.maximum(self._low, self._box_low), torch.minimum(self._high, self._box_high)
        means = [
            p.mean if isinstance(p, Gaussian) else float(x)
            for p, x in zip((priors[name] for name in parameters), low / 2 + high / 2, strict=True)
        ]
        self.middle = torch.tensor(means, dtype=torch.float64).clamp(low, high)
        flat = [prior for prior in single.values() if isinstance(prior, Uniform)]
        constant = -sum(math.log(x.high - x.low) for x in flat)
        constant -= sum(math.log(x.std * math.sqrt(2 * math.pi)) for x in normal.values())
        self._other = {i: x for i, x in single.items() if not isinstance(x, Gaussian | Uniform)}
        self._joint = []
        for together in joint:
            columns = torch.tensor([list(parameters).index(n) for n in together.names])
            mean = torch.tensor(together.mean, dtype=torch.float64)
            factor = torch.linalg.cholesky(torch.tensor(together.covariance, dtype=torch.float64))
            unit = torch.eye(len(mean), dtype=torch.float64)
            self._joint.append((columns, mean, torch.linalg.solve_triangular(factor, unit, upper=False).T))
            constant -= float(factor.diagonal().log().sum()) + len(mean) / 2 * math.log(2 * math.pi)
        self._constant = torch.tensor(constant, dtype=torch.float64)

    def normalise(self, log_mass: float) -> None:
        """Divide the density by the mass that is left of it."""
        self._constant = self._constant - log_mass

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the log prior (any number outside the support), and who is inside support and box.

        NaN is inside nothing; who is outside a support that lies within the box may count as outside the
        box too. Each of the three has shape (batch,).
        """
        allowed = (theta.clamp(self._low, self._high) == theta).all(1)
        inside = allowed
        if self._box_cuts:
            inside = (theta.clamp(self._box_low, self._box_high) == theta).all(1)
        white = torch.addcmul(self._offset, theta, self._weight)
        value = torch.add(self._constant, white.square().sum(1), alpha=-0.5)
        for column, prior in self._other.items():
            value = value + prior.log_prob(theta[:, column])
        for columns, mean, whitening in self._joint:
            residual = (theta[:, columns] - mean) @ whitening
            value = torch.sub(value, residual.square().sum(1), alpha=0.5)
        if self._other or self._joint:
            allowed = allowed & torch.isfinite(value)
        return value, allowed, inside


def _limits(pairs: Sequence[tuple[float, float]]) -> torch.Tensor:  # shape: (2, n)
    """Return lower and upper limits; infinite ones become the largest numbers, so that infinity lies outside."""
    largest = torch.finfo(torch.float64).max
    return torch.tensor(pairs, dtype=torch.float64).clamp(-largest, largest).T
