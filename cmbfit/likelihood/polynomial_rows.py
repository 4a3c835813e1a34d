"""matrix @ h(theta) for the emulator's polynomial features h, fast: few passes, no allocation, own gradient.

A feature is a product of Legendre polynomials, one a parameter. With the parameters in two halves,
every feature is the product of one entry of each half's short table, h_t = A_a(t) B_b(t), so that the
features cost two gathers and one multiplication, and the pull-back of a gradient two sums over groups:

    dL/dA_a = sum_{t: a(t) = a} (matrix^T g)_t B_b(t).

Blocks of rows may use different features (low-l EE has polynomials of its own): the features are put into
an order in which those of a block stand together, so that the zeros between are never multiplied.

The work space belongs to the thread and is used again: asking the system for fresh pages costs more
than the arithmetic.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from cmbfit.device import OnDevice, take

_SCRATCH = threading.local()


def _scratch(name: str, shape: tuple[int, ...], device: torch.device) -> torch.Tensor | None:
    """Return this thread's buffer of a shape; None where autograd records, which forbids `out=`."""
    if torch.is_grad_enabled():
        return None
    store: dict[tuple[str, torch.device], torch.Tensor] = _SCRATCH.__dict__.setdefault("store", {})
    key = (name, device)
    kept = store.get(key)
    if kept is None or kept.shape != shape:
        # a view of the largest buffer so far; the shape seldom changes from call to call
        base = kept._base if kept is not None else None
        size = int(np.prod(shape))
        if base is None or base.numel() < size:
            base = torch.empty(size, dtype=torch.float64, device=device)
        kept = store[key] = base[:size].view(shape)
    return kept


def _norms(max_degree: int) -> list[float]:
    """k_0 = k_1 = 1, (d + 1) k_{d+1} = -d k_{d-1}: Bonnet's recursion of P_d / k_d adds P_{d-1} / k_{d-1} as it is."""
    k = [1.0, 1.0]
    for d in range(1, max_degree):
        k.append(-d / (d + 1) * k[d - 1])
    return k


def _slopes(max_degree: int, norms: list[float]) -> torch.Tensor:  # shape: (max_degree + 1, max_degree + 1)
    """d(P_d / norm_d)/dx in terms of the P_d / norm_d: P'_{d+1} = P'_{d-1} + (2d + 1) P_d."""
    out = torch.zeros(max_degree + 1, max_degree + 1, dtype=torch.float64)
    for d in range(max_degree):
        if d:
            out[d + 1] = out[d - 1] * norms[d - 1] / norms[d + 1]
        out[d + 1, d] = (2 * d + 1) * norms[d] / norms[d + 1]
    return out


def _halves(degrees: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Split the parameters so that the two tables of distinct products are shortest."""
    n = degrees.shape[1]
    best: tuple[int, tuple[int, ...], tuple[int, ...]] | None = None
    for size in range(1, n // 2 + 1):
        for one in itertools.combinations(range(n), size):
            two = tuple(i for i in range(n) if i not in one)
            length = sum(len(np.unique(degrees[:, part], axis=0)) for part in (one, two))
            if best is None or length < best[0]:
                best = length, one, two
    return ((0,), ()) if best is None else best[1:]


def _gray_rank(used: np.ndarray) -> np.ndarray:
    """Return the place of each column's pattern of blocks in the Gray code: (1, 0), (1, 1), (0, 1) for two blocks.

    Neighbours differ in one block, so that each of two blocks is one run of columns; of more, nearly so.
    """
    bits = np.bitwise_xor.accumulate(used[::-1].astype(np.int64), axis=0)
    rank: np.ndarray = (bits * 2 ** np.arange(len(bits))[::-1, None]).sum(0)
    return rank


class PolynomialRows(OnDevice):
    """Rows of numbers that are linear in Legendre features.

    Parameters
    ----------
    box : mapping of str to (low, high)
        Range of each parameter that is scaled to [-1, 1], in the order of theta's columns.
    degrees : numpy.ndarray of int, shape (n_terms, n_parameters)
        Degree of each parameter in each feature.
    blocks : mapping of str to torch.Tensor, shapes (n, n_terms)
        Coefficients of each block of rows by name; what is zero in a whole column of a block costs nothing.

    Attributes
    ----------
    n_rows, n_terms : int
    """

    def __init__(
        self,
        box: Mapping[str, tuple[float, float]],
        degrees: np.ndarray,
        blocks: Mapping[str, torch.Tensor],
    ) -> None:
        stacked = torch.cat(list(blocks.values()))
        device = stacked.device
        used = np.stack([(block != 0).any(0).cpu().numpy() for block in blocks.values()])
        order = np.argsort(_gray_rank(used), kind="stable")
        order = order[np.logical_or.reduce(used)[order]]
        degrees, used = degrees[order], used[:, order]
        low, high = torch.tensor(list(box.values()), dtype=torch.float64, device=device).T
        self._slope, self._offset = 2 / (high - low), -(high + low) / (high - low)
        self._max_degree = max(1, int(degrees.max()))
        self._norms = _norms(self._max_degree)
        per_term = np.array(self._norms)[degrees].prod(axis=1)
        # features below lack these norms
        matrix = stacked[:, torch.from_numpy(order).to(device)] * torch.from_numpy(per_term).to(device)
        self.n_rows, self.n_terms = matrix.shape
        self._blocks: dict[str, slice] = {}
        for name, block in blocks.items():
            start = sum(len(blocks[before]) for before in self._blocks)
            self._blocks[name] = slice(start, start + len(block))
        self._tile(matrix, used)
        self._halves = _halves(degrees)
        tables = [np.unique(degrees[:, part], axis=0, return_inverse=True) for part in self._halves]
        self._lengths = [len(rows) for rows, _ in tables]
        n_parameters, n_factors = degrees.shape[1], max(len(part) for part in self._halves)
        # row of the Legendre table (degree * n_parameters + parameter) of each factor; row 0 is P_0 = 1
        factors = np.zeros((n_factors, sum(self._lengths)), dtype=np.int64)
        start = 0
        for part, (rows, _) in zip(self._halves, tables, strict=True):
            for k, parameter in enumerate(part):
                factors[k, start : start + len(rows)] = rows[:, k] * n_parameters + parameter
            start += len(rows)
        self._factors = torch.from_numpy(factors).to(device)
        inverse = [np.asarray(index).ravel() for _, index in tables]
        self._first = torch.from_numpy(inverse[0]).to(device)
        self._second = torch.from_numpy(inverse[1] + self._lengths[0]).to(device)
        # both halves' sums over the terms of each product as one matrix of zeros and ones
        ones = torch.zeros(2, sum(self._lengths), len(degrees), dtype=torch.float64)
        for half, index in zip(ones, (self._first, self._second), strict=True):
            half[index.cpu(), torch.arange(len(degrees))] = 1
        self._sums = ones.to(device)
        self._one = torch.ones(1, 1, dtype=torch.float64, device=device)
        self._slopes = _slopes(self._max_degree, self._norms).to(device)

    def _tile(self, matrix: torch.Tensor, used: np.ndarray) -> None:
        """Cut the matrix into what each block of rows needs, and what each run of features needs."""
        rows, runs = list(self._blocks.values()), []
        for mine in used:
            where = np.flatnonzero(mine)
            runs.append(slice(int(where[0]), int(where[-1]) + 1) if len(where) else slice(0, 0))
        self._of_rows = [(r, t, matrix[r, t].contiguous()) for r, t in zip(rows, runs, strict=True)]
        edges = sorted({edge for run in runs for edge in (run.start, run.stop)})
        self._of_terms = []
        for start, stop in itertools.pairwise(edges):
            over = [r for r, t in zip(rows, runs, strict=True) if t.start <= start and stop <= t.stop]
            part = slice(over[0].start, over[-1].stop)
            self._of_terms.append((slice(start, stop), part, matrix[part, start:stop].T.contiguous()))

    def __call__(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> dict[str, torch.Tensor]:  # name -> shape (n, batch)
        """Return matrix @ h(theta) of each block, float64; differentiable twice and more."""
        if torch.is_grad_enabled() and theta.requires_grad:
            rows = _WithGradient.apply(theta, self)
        else:
            with torch.no_grad():
                rows = self._value(theta)
        return {name: rows[where] for name, where in self._blocks.items()}

    def _legendre(self, theta: torch.Tensor) -> torch.Tensor:  # shape: ((max_degree + 1) n_parameters, batch)
        """P_d(x) / norm_d, row d n_parameters + parameter.

        Bonnet's (d+1) P_{d+1} = (2d+1) x P_d - d P_{d-1} in that scale is one fused operation a degree.
        """
        x = torch.addcmul(self._offset, theta, self._slope).T
        # a view needs no launch, but a CPU copies it slowly
        one = torch.ones_like(x) if x.device.type == "cpu" else self._one.expand_as(x)
        ladder, k = [one, x], self._norms
        for d in range(1, self._max_degree):
            weight = (2 * d + 1) * k[d] / ((d + 1) * k[d + 1])
            ladder.append(torch.addcmul(ladder[d - 1], x, ladder[d], value=weight))
        return torch.cat(ladder)

    def _legendre_slopes(self, table: torch.Tensor) -> torch.Tensor:
        """d(P_d / norm_d)/dx for every row of the table."""
        return (self._slopes @ table.view(self._max_degree + 1, -1)).view_as(table)

    def _products(self, table: torch.Tensor) -> torch.Tensor:  # shape: (n_products, batch)
        """Both halves' distinct products, one below the other."""
        shape, device = (self._factors.shape[1], table.shape[1]), table.device
        out = torch.index_select(table, 0, self._factors[0], out=_scratch("products", shape, device))
        for rows in self._factors[1:]:
            factor = torch.index_select(table, 0, rows, out=_scratch("factor", shape, device))
            out = torch.mul(out, factor, out=_scratch("products", shape, device))
        return out

    def _value(self, theta: torch.Tensor, table: torch.Tensor | None = None) -> torch.Tensor:
        products = self._products(self._legendre(theta) if table is None else table)
        shape = (len(self._first), len(theta))
        first = torch.index_select(products, 0, self._first, out=_scratch("first", shape, theta.device))
        second = torch.index_select(products, 0, self._second, out=_scratch("second", shape, theta.device))
        features = first.mul_(second)
        out = torch.empty(self.n_rows, len(theta), dtype=theta.dtype, device=theta.device)
        for rows, terms, matrix in self._of_rows:
            torch.mm(matrix, features[terms], out=out[rows])
        return out

    def _back(self, gradient: torch.Tensor) -> torch.Tensor:  # shape: (n_terms, batch)
        """Return matrix^T @ gradient."""
        out = _scratch("first", (self.n_terms, gradient.shape[1]), gradient.device)
        if out is None:
            return torch.cat([matrix @ gradient[rows] for _, rows, matrix in self._of_terms])
        for terms, rows, matrix in self._of_terms:
            torch.mm(matrix, gradient[rows], out=out[terms])
        return out

    def pull_back(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
        gradient: torch.Tensor,  # shape: (n_rows, batch)
        table: torch.Tensor | None = None,  # shape: ((max_degree + 1) n_parameters, batch)
    ) -> torch.Tensor:  # shape: (batch, n_parameters)
        """Return d(sum gradient . rows)/d theta; `table`, if given, is that of the Legendre polynomials at theta."""
        table = self._legendre(theta) if table is None else table
        slopes = self._legendre_slopes(table)
        products = self._products(table)
        shape = (len(self._first), len(theta))
        of_terms = self._back(gradient)
        of_products = torch.zeros_like(products)
        halves = (self._first, self._second), (self._second, self._first)
        for (mine, other), sums in zip(halves, self._sums, strict=True):
            partner = torch.index_select(products, 0, other, out=_scratch("second", shape, theta.device))
            weighted = torch.mul(of_terms, partner, out=_scratch("second", shape, theta.device))
            if theta.device.type == "cpu":
                of_products = of_products.index_add(0, mine, weighted)
            else:
                # a GPU's index_add sums in another order each time: the same seed would not give the same chain
                of_products = torch.addmm(of_products, sums, weighted)
        columns: dict[int, torch.Tensor] = {}
        for k, rows in enumerate(self._factors):
            change = of_products * take(slopes, 0, rows)
            for other in (r for j, r in enumerate(self._factors) if j != k):
                change = change * take(table, 0, other)
            for part, piece in zip(self._halves, change.split(self._lengths), strict=True):
                if k < len(part):
                    columns[part[k]] = piece.sum(0)
        return torch.stack([columns[i] for i in range(len(columns))], dim=1) * self._slope


class _WithGradient(torch.autograd.Function):
    """Forward without a graph; backward by the pull-back, itself differentiable for Hessians."""

    @staticmethod
    def forward(ctx: Any, theta: torch.Tensor, rows: PolynomialRows) -> torch.Tensor:
        table = rows._legendre(theta)
        ctx.save_for_backward(theta, table)
        ctx.rows = rows
        return rows._value(theta, table)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        theta, table = ctx.saved_tensors
        # a gradient of this gradient must see how the table follows from theta
        return ctx.rows.pull_back(theta, grads[0], None if torch.is_grad_enabled() else table), None
