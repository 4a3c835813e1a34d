"""ln P and its gradient, of a posterior or of anything that has a differentiable `log_prob`."""

from __future__ import annotations

from typing import Any

import torch


def log_prob_and_gradient(
    posterior: Any,
    theta: torch.Tensor,  # shape: (batch, n_parameters)
) -> tuple[torch.Tensor, torch.Tensor]:  # shapes: (batch,), (batch, n_parameters)
    """Return ln P and its gradient, zero if all points have probability zero.

    A :class:`~cmbfit.likelihood.posterior.Posterior` does it in chunks that fit into memory both ways.
    """
    if hasattr(posterior, "log_prob_and_gradient"):
        return posterior.log_prob_and_gradient(theta)
    theta = theta.detach().requires_grad_(True)
    value = posterior.log_prob(theta)
    if not value.requires_grad:
        return value, torch.zeros_like(theta)
    return value.detach(), torch.autograd.grad(value.sum(), theta)[0]
