"""Vacua of modes with a time-dependent mass, v'' + (k^2 + S) v = 0.

Adiabatic vacua (Parker 1969; Luders & Roberts 1990): v = 1/sqrt(2W), v' = (-iW - W'/2W) v with, from W = sqrt(k^2 + S) at order zero,

    W^2 <- k^2 + S - W''/(2W) + (3/4) (W'/W)^2

once (order two) or twice (order four). Where W^2 is negative there is no such vacuum: below about k_B at the bounce of the dressed
metric. The kinetic vacuum is exact where a^2 ~ eta, S = 1/(4 y^2): Hankel's function of k y, y = 1/(2 a |H|), for every k.

S is given as a Taylor series in eta around the time of the vacuum, so that its derivatives are exact.
"""

from __future__ import annotations

import math

import torch

from cmbfit.errors import InflationError
from cmbfit.theory.primordial.bessel import bessel_j, bessel_y

ORDERS = (0, 2, 4)

Series = list[torch.Tensor]
"""Coefficients of eta^n."""


def _times(a: Series, b: Series) -> Series:
    n = min(len(a), len(b))
    return [sum((a[j] * b[i - j] for j in range(i + 1)), torch.zeros_like(a[0] * b[0])) for i in range(n)]


def _over(a: Series, b: Series) -> Series:
    out: Series = []
    for i in range(min(len(a), len(b))):
        known = sum((out[j] * b[i - j] for j in range(i)), torch.zeros_like(a[0] * b[0]))
        out.append((a[i] - known) / b[0])
    return out


def _root(a: Series) -> Series:
    out = [torch.sqrt(a[0])]
    for i in range(1, len(a)):
        known = sum((out[j] * out[i - j] for j in range(1, i)), torch.zeros_like(a[0]))
        out.append((a[i] - known) / (2 * out[0]))
    return out


def _slope(a: Series) -> Series:
    return [i * x for i, x in enumerate(a)][1:]


def adiabatic(
    k: torch.Tensor,  # shape: (batch, n_k)
    mass: torch.Tensor,  # shape: (batch, 6)
    order: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return v and dv/d eta of the adiabatic vacuum; each of k's shape, complex128.

    Parameters
    ----------
    k : torch.Tensor, shape (batch, n_k)
        In the units of 1/eta.
    mass : torch.Tensor, shape (batch, 6)
        Taylor coefficients of S.
    order : {0, 2, 4}

    Raises
    ------
    InflationError
        If W^2 is not positive for one of the modes.
    """
    series = [mass[:, i : i + 1].expand_as(k) for i in range(mass.shape[1])]
    series[0] = k.square() + series[0]
    square = series
    for i in range(order // 2 + 1):
        if i > 0:
            w = _root(square)
            first, second = _slope(w), _slope(_slope(w))
            rate = _over(first, w)
            bend = _over(second, w)
            square = [s - b / 2 + 0.75 * r for s, b, r in zip(series, bend, _times(rate, rate), strict=False)]
        if not bool((square[0] > 0).all()):
            wrong = ~(square[0] > 0)
            raise InflationError(
                f"adiabatic vacuum of order {order}: expected W^2 > 0, which no mode of k up to {k[wrong].max().item():.4g} k_B has "
                f"at that time; start with larger k, at another time, or in the kinetic vacuum"
            )
    w = _root(square)
    v = 1 / torch.sqrt(2 * w[0])
    return v.to(torch.complex128), v * torch.complex(-w[1] / (2 * w[0]), -w[0])


def kinetic(
    k: torch.Tensor,  # shape: (batch, n_k)
    y: torch.Tensor,  # shape: (batch, 1)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return v and dv/d eta of the vacuum of the contracting kinetic era, y = 1/(2 a |H|) before its end."""
    z = k * y
    h0, h1 = (torch.complex(bessel_j(n, z), bessel_y(n, z)) for n in (0, 1))  # positive frequency in -y
    root = torch.sqrt(math.pi * y / 4)
    return root * h0, -root * (h0 / (2 * y) - k * h1)
