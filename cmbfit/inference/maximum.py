"""The best fit, by gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import minimize

from cmbfit.errors import SamplerError
from cmbfit.likelihood.posterior import Posterior


@dataclass(frozen=True)
class BestFit:
    """The maximum of a posterior.

    Attributes
    ----------
    point : dict of str to float
    log_prob : float
    chi2 : dict of str to float
        -2 ln L of each data set there.
    evaluations : int
    """

    point: dict[str, float]
    log_prob: float
    chi2: dict[str, float]
    evaluations: int


def find_maximum(posterior: Posterior, start: Mapping[str, float], scale: Mapping[str, float]) -> BestFit:
    """Maximise ln (L prior) by L-BFGS-B with autograd gradients, in units of `scale`.

    Parameters
    ----------
    posterior : Posterior
    start, scale : mapping of str to float
        A point of non-zero probability and the rough width of each parameter.

    Raises
    ------
    SamplerError
        If the start has zero probability or the optimiser ends below it.
    """
    names = posterior.parameters
    origin = np.array([start[p] for p in names])
    width = np.array([scale[p] for p in names])
    bounds = []
    for i, p in enumerate(names):
        low, high = posterior.priors[p].support
        box_low, box_high = posterior.theory.box.get(p, (-np.inf, np.inf))
        bounds.append(
            ((max(low, box_low) - origin[i]) / width[i], (min(high, box_high) - origin[i]) / width[i])
        )

    def minus_log_prob(x: np.ndarray) -> tuple[float, np.ndarray]:
        theta = torch.from_numpy(origin + width * x).to(posterior.device)[None].requires_grad_(True)
        value = posterior.log_prob(theta)[0]
        if not torch.isfinite(value):
            return np.inf, np.zeros_like(x)
        (gradient,) = torch.autograd.grad(value, theta)
        return -value.item(), -gradient[0].cpu().numpy() * width

    first, _ = minus_log_prob(np.zeros_like(origin))
    if not np.isfinite(first):
        raise SamplerError(f"the starting point has zero probability: {dict(start)}")
    # maxls: the SimAll table is piecewise linear, so line searches near the maximum meet kinks
    result = minimize(
        minus_log_prob,
        np.zeros_like(origin),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 500, "maxls": 60, "ftol": 1e-13, "gtol": 1e-6},
    )
    if not result.fun <= first:
        raise SamplerError(f"the optimiser found nothing better than its start: {result.message}")
    point = origin + width * result.x
    with torch.no_grad():
        terms = posterior.log_likelihoods(torch.from_numpy(point).to(posterior.device)[None])
    return BestFit(
        dict(zip(names, point.tolist(), strict=True)),
        -float(result.fun),
        {name: -2 * value.item() for name, value in terms.items()},
        int(result.nfev),
    )
