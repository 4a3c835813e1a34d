"""Fewer wavenumbers: a quadrature for primordial spectra whose wiggles have a shortest period.

CAMB's transfer functions oscillate with k far faster than any primordial spectrum that the CMB can
see, so their integrals need many q (20,000). P(k) itself is recovered between a few thousand nodes
by local polynomials, P(q) = sum_j A_qj P(k_j), and W A takes the place of W.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from cmbfit.errors import ConfigError

ORDER = 8
"""Points of the local Lagrange polynomials."""

_PER_PERIOD = (
    10.0  # nodes in the shortest period: eight-point interpolation then errs by 3e-5 of the amplitude
)
_EDGE = 1.03  # the nodes reach 3% beyond CAMB's q: a moved cosmology asks there


@dataclass(frozen=True)
class NodeSettings:
    """The fastest oscillations that the nodes carry.

    Parameters
    ----------
    log_frequency : float
        Largest w of cos(w ln k).
    linear_frequency : float
        Largest w of cos(w k / k*), k* = 0.05/Mpc.
    floor : float
        Smallest spacing [1/Mpc]; below it the CMB's own low-l kernels are smooth.
    reach : float
        Wavenumber [1/Mpc] beyond which linear oscillations are given up: nothing but the lensing potential,
        which averages them, asks there.
    """

    log_frequency: float = 130.0
    linear_frequency: float = 130.0
    floor: float = 1e-6
    reach: float = math.inf

    def __post_init__(self) -> None:
        if min(self.log_frequency, self.linear_frequency, self.floor, self.reach) <= 0:
            raise ConfigError(f"nodes: frequencies, floor and reach are positive, found {self}")


def node_grid(q: np.ndarray, settings: NodeSettings) -> np.ndarray:
    """Return the nodes for integrals over CAMB's wavenumbers `q`.

    Parameters
    ----------
    q : numpy.ndarray, shape (n_q,)
        Ascending [1/Mpc].
    settings : NodeSettings

    Returns
    -------
    numpy.ndarray, shape (n_nodes,)
        Ascending [1/Mpc], never denser than `q`.
    """
    log_step = 2 * np.pi / settings.log_frequency / _PER_PERIOD
    linear_step = 2 * np.pi * 0.05 / settings.linear_frequency / _PER_PERIOD
    fading = np.exp(-np.maximum(q - settings.reach, 0) / 0.03)
    wanted = 1 / (1 / (log_step * q + settings.floor) + fading / linear_step)
    # CAMB's spacing jumps: the largest so far keeps the nodes' spacing from jumping back
    step = np.maximum(wanted, np.maximum.accumulate(np.gradient(q)))
    count = np.concatenate([[0.0], np.cumsum(np.diff(q) * 0.5 * (1 / step[1:] + 1 / step[:-1]))])
    nodes = np.interp(np.linspace(0, count[-1], int(np.ceil(count[-1])) + 1), count, q)
    below = nodes[0] * _EDGE ** -np.arange(ORDER // 2, 0, -1.0)
    last = nodes[-1] - nodes[-2]
    above = nodes[-1] + last * np.arange(1, int(np.ceil((_EDGE - 1) * nodes[-1] / last)) + ORDER // 2)
    return np.concatenate([below, nodes, above])


def lagrange(
    nodes: torch.Tensor,  # shape: (n_nodes,)
    k: torch.Tensor,  # shape: (..., n)
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return indices and weights of local Lagrange interpolation from `nodes` to `k`.

    Returns
    -------
    index : torch.Tensor, shape (..., n, ORDER)
    weight : torch.Tensor, shape (..., n, ORDER)
        f(k) = sum of weight * f(nodes[index]) over the last axis.
    """
    first = torch.searchsorted(nodes, k.contiguous()) - ORDER // 2
    index = first.clamp(0, len(nodes) - ORDER)[..., None] + torch.arange(ORDER, device=nodes.device)
    x = nodes[index]  # shape: (..., n, ORDER)
    same = torch.eye(ORDER, dtype=torch.bool, device=nodes.device)
    # weight_i = prod over j != i of (k - x_j) / (x_i - x_j)
    above = torch.where(same, 1.0, (k[..., None] - x)[..., None, :])
    below = torch.where(same, 1.0, x[..., :, None] - x[..., None, :])
    return index, (above / below).prod(-1)


def interpolate(
    nodes: torch.Tensor,  # shape: (n_nodes,)
    values: torch.Tensor,  # shape: (batch, n_nodes)
    k: torch.Tensor,  # shape: (batch, n)
) -> torch.Tensor:
    """Interpolate each row of `values` to its own wavenumbers; returns shape (batch, n)."""
    index, weight = lagrange(nodes, k)
    gathered = torch.gather(values, 1, index.flatten(1)).view(index.shape)
    return (gathered * weight).sum(-1)
