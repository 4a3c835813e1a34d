"""ln (L prior) and its gradient of a few points on a CPU, in numpy: the arrays of the folded posterior, without torch's calls.

Minimisers, Metropolis chains and Cobaya ask for one point at a time, walkers for some tens. What torch does with them is
0.4 ms of launches around 20 microseconds of arithmetic; here it is some forty numpy calls and, for the gradient, the chain rule by
hand. The plan is the folded ln L's own (its matrices are shared), so that there is one posterior and not two; of what it
cannot do (imprints of primordial models, multi-frequency sets, distances that are tables, priors of other shapes) :func:`few_points` returns None, and torch
computes as ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch

from cmbfit.likelihood.evaluation import EvaluationCounts
from cmbfit.likelihood.few_log_likelihood import FewLogLikelihood
from cmbfit.likelihood.few_prior import FewPrior

if TYPE_CHECKING:
    from cmbfit.likelihood.posterior import Posterior

MOST = 256
"""Points from which torch is as fast or faster; measured in benchmarks/latency.py."""


class FewPoints:
    """ln (L prior) of a posterior.

    Parameters
    ----------
    prior : FewPrior
    log_like : FewLogLikelihood
    """

    def __init__(self, prior: FewPrior, log_like: FewLogLikelihood) -> None:
        self.prior, self.log_likelihood = prior, log_like

    def __call__(
        self,
        theta: np.ndarray,  # shape: (batch, n_parameters)
        *,
        slope: bool = False,
    ) -> tuple[np.ndarray, np.ndarray | None, EvaluationCounts]:  # shapes: (batch,), (batch, n_parameters)
        """Return ln (L prior), -inf where it is zero, its gradient, zero there, and the reasons of zeros."""
        batch = len(theta)
        counts = EvaluationCounts(batch)
        with np.errstate(all="ignore"):
            if batch == 1:
                return self._one(theta[0], slope, counts)
            return self._several(np.ascontiguousarray(theta.T), slope, counts)

    def values(self, theta: torch.Tensor) -> tuple[torch.Tensor, EvaluationCounts]:
        """Return ln (L prior) of rows, and the reasons of zeros."""
        value, _, counts = self((theta.detach() if theta.requires_grad else theta).numpy())
        return torch.from_numpy(value), counts

    def slopes(self, theta: torch.Tensor) -> tuple[tuple[torch.Tensor, ...], EvaluationCounts]:
        """Return ln (L prior) of rows and its gradient, and the reasons of zeros."""
        value, gradient, counts = self(theta.detach().numpy(), slope=True)
        return (torch.from_numpy(value), torch.from_numpy(gradient)), counts

    def several(
        self,
        theta: np.ndarray,  # shape: (n_parameters, batch)
    ) -> tuple[np.ndarray, np.ndarray]:  # shapes: (batch,), (batch, n_parameters)
        """Return ln (L prior) and its gradient of points in columns, zero where it is -inf."""
        with np.errstate(all="ignore"):
            value, gradient, _ = self._several(theta, True, EvaluationCounts())
        return value, np.asarray(gradient)

    def log_like(
        self,
        theta: np.ndarray,  # shape: (n_parameters,)
    ) -> float:
        """Return ln L alone, which may be NaN."""
        with np.errstate(all="ignore"):
            try:
                return float(self.log_likelihood(theta, slope=False)[0])
            except (ZeroDivisionError, OverflowError):
                return float(self.log_likelihood(theta[:, None], slope=False)[0][0])

    def _one(
        self, theta: np.ndarray, slope: bool, counts: EvaluationCounts
    ) -> tuple[np.ndarray, np.ndarray | None, EvaluationCounts]:
        prior, of_prior, allowed, inside = self.prior(theta, slope=slope)
        value, gradient = -math.inf, None
        if not inside:
            counts.outside_prior, counts.outside_box = int(not allowed), int(allowed)
        else:
            try:
                found, gradient = self.log_likelihood(theta, slope=slope)
                value = float(found + prior)
            except (ZeroDivisionError, OverflowError):  # Python's numbers raise where numpy's are infinite
                return self._several(theta[:, None], slope, counts)
            if not value < math.inf:  # NaN, and +inf, which comes from overflow as NaN does
                counts.not_a_number, value = 1, -math.inf
        if slope:
            if value == -math.inf or gradient is None:
                gradient = np.zeros_like(theta)
            else:
                gradient += of_prior
            gradient = gradient[None]
        return np.array([value]), gradient, counts

    def _several(
        self, theta: np.ndarray, slope: bool, counts: EvaluationCounts
    ) -> tuple[np.ndarray, np.ndarray | None, EvaluationCounts]:
        prior, of_prior, allowed, inside = self.prior(theta, slope=slope)
        if inside.all():
            value, gradient = self.log_likelihood(theta, slope=slope)
            value += prior
        else:
            n_allowed, n_inside = int(np.count_nonzero(allowed)), int(np.count_nonzero(inside))
            counts.outside_prior, counts.outside_box = theta.shape[1] - n_allowed, n_allowed - n_inside
            value, gradient = np.full(theta.shape[1], -np.inf), np.zeros_like(theta) if slope else None
            if n_inside:
                found, change = self.log_likelihood(np.ascontiguousarray(theta[:, inside]), slope=slope)
                value[inside] = found + prior[inside]
                if gradient is not None:
                    gradient[:, inside] = change
        if not value.sum() < math.inf:
            bad = ~(value < math.inf)
            counts.not_a_number = int(bad.sum())
            value[bad] = -math.inf
        if gradient is None or of_prior is None:
            return value, None, counts
        gradient += of_prior
        gradient[:, value == -math.inf] = 0.0
        return value, gradient.T, counts


def few_points(posterior: Posterior) -> FewPoints | None:
    """Return what computes a few points of a posterior in numpy; None if its parts do not allow it."""
    table = posterior.prior_table
    whole = posterior.whole.theory
    if posterior.device.type != "cpu" or table._other or hasattr(whole, "allowed"):
        return None
    make = getattr(posterior.log_like, "few_points", None)
    log_like = None if make is None else make()
    return None if log_like is None else FewPoints(FewPrior(table), log_like)


def log_like_of_one(posterior: Posterior) -> Callable[[np.ndarray], float]:
    """Return ln L without priors of a single point, shape (n_parameters,), for callers who have priors of their own.

    It is -inf outside the theory's box, and where ln L is no number.
    """
    theory = posterior.theory
    limits = [theory.box.get(p, (-math.inf, math.inf)) for p in posterior.parameters]
    low, high = np.array(limits).T
    few = few_points(posterior)

    def log_like(theta: np.ndarray) -> float:
        if not ((theta >= low) & (theta <= high)).all():
            return -math.inf
        if few is None:
            value, prior = (f(theta[None]).item() for f in (posterior.log_prob, posterior.log_prior))
            value -= prior if math.isfinite(prior) else 0.0
        else:
            value = few.log_like(theta)
        return value if value < math.inf else -math.inf

    return log_like


def few_for(posterior: Posterior, theta: torch.Tensor) -> FewPoints | None:
    """Return what computes these points without torch; None where torch is needed or faster."""
    few = posterior.few
    if few is None or not 0 < theta.shape[0] <= MOST or not theta.is_cpu:
        return None
    if theta.requires_grad and torch.is_grad_enabled():
        return None
    if few == ():
        _ = posterior.prior_mass  # which changes the prior's constant
        few = posterior.few = few_points(posterior)
    return few
