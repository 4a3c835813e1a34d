"""Bessel functions of real argument with derivatives, and j_1 without cancellation.

Values are scipy's (Cephes): `torch.special.bessel_*` is off by up to 8e-7 for 4 < x < 8 in torch 2.13
and has no derivatives. Tensors on other devices make a round trip through host memory.
"""

from __future__ import annotations

from typing import Any

import torch
from scipy import special


class _Bessel(torch.autograd.Function):
    """J_0, J_1, Y_0, Y_1; derivatives F_0' = -F_1 and F_1' = F_0 - F_1/x (DLMF 10.6)."""

    @staticmethod
    def forward(x: torch.Tensor, name: str) -> torch.Tensor:
        return torch.as_tensor(
            getattr(special, name)(x.detach().cpu().numpy()), dtype=x.dtype, device=x.device
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:  # noqa: ARG004
        ctx.save_for_backward(inputs[0])
        ctx.name = inputs[1]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (x,) = ctx.saved_tensors
        kind, order = ctx.name
        if order == "0":
            slope = -_Bessel.apply(x, f"{kind}1")
        else:
            slope = _Bessel.apply(x, f"{kind}0") - _Bessel.apply(x, f"{kind}1") / x
        return gradients[0] * slope, None

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, None], x: torch.Tensor, name: str) -> tuple[torch.Tensor, int]:  # noqa: ARG004
        return _Bessel.apply(x, name), in_dims[0]  # elementwise


def bessel_j(order: int, x: torch.Tensor) -> torch.Tensor:
    """Return J_0 or J_1 of x > 0, elementwise."""
    return _Bessel.apply(x, f"j{order}")


def bessel_y(order: int, x: torch.Tensor) -> torch.Tensor:
    """Return Y_0 or Y_1 of x > 0, elementwise."""
    return _Bessel.apply(x, f"y{order}")


def j1_over_x(x: torch.Tensor) -> torch.Tensor:
    """Return the spherical Bessel function j_1(x)/x = (sin x/x - cos x)/x^2, by its series below x = 1."""
    small = x < 1
    square = torch.where(small, x, 1.0).square()
    # sum_n (-x^2/2)^n / (n! (2n+3)!!), n <= 8: the next term is below 1e-18 at x = 1
    series, term = torch.zeros_like(x), torch.ones_like(x) / 3
    for n in range(1, 10):
        series = series + term
        term = -term * square / (2 * n * (2 * n + 3))
    safe = torch.where(small, 1.0, x)
    return torch.where(small, series, (torch.sin(safe) / safe - torch.cos(safe)) / safe.square())
