"""The one expensive function of the pixel likelihood, with its derivative in closed form."""

from __future__ import annotations

from typing import Any

import torch


class _GaussianDensity(torch.autograd.Function):
    """(s u^T A^-1 u - ln|A|) / 2; d/dA = -(A^-1 + s w w^T) / 2 and d/du = s w with w = A^-1 u.

    Torch's own derivative of a Cholesky factor solves for n right-hand sides several times over; this one costs
    another factor and an inverse. It can be differentiated once more (Hessians).
    """

    @staticmethod
    def forward(ctx: Any, a: torch.Tensor, u: torch.Tensor, sign: float) -> torch.Tensor:
        low, _ = torch.linalg.cholesky_ex(a)
        white = torch.linalg.solve_triangular(low, u[..., None], upper=False)[..., 0]
        ctx.save_for_backward(a, u)
        ctx.sign = sign
        return 0.5 * sign * white.square().sum(-1) - low.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        a, u = ctx.saved_tensors
        inverse = torch.cholesky_inverse(torch.linalg.cholesky_ex(a)[0])
        w = (inverse @ u[..., None])[..., 0]
        scale = grads[0][..., None]
        slope = -0.5 * (inverse + ctx.sign * w[..., :, None] * w[..., None, :])
        return scale[..., None] * slope, ctx.sign * scale * w, None


def gaussian_density(
    a: torch.Tensor,  # shape: (batch, n, n)
    u: torch.Tensor,  # shape: (batch, n)
    sign: float,
) -> torch.Tensor:  # shape: (batch,)
    """Return (sign u^T A^-1 u - ln |A|) / 2 for positive definite A.

    sign -1: the density of data u with covariance A; +1: what Woodbury's identity adds for a score u.
    """
    out: torch.Tensor = _GaussianDensity.apply(a, u, sign)
    return out
