"""Bins in multipole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array


def dl_factor(lmax: int) -> Array:
    """Return l (l + 1) / (2 pi) for l = 0 ... lmax."""
    ell = np.arange(lmax + 1)
    return ell * (ell + 1) / (2 * np.pi)


@dataclass(frozen=True)
class Bins:
    """Half-open bins [edges[b], edges[b + 1]) with equal weight to each D_l inside.

    Parameters
    ----------
    edges : sequence of int
        Increasing, from at least 2: monopole and dipole carry no bandpower.

    Examples
    --------
    >>> Bins((2, 5, 9)).centres.tolist()
    [3.0, 6.5]
    """

    edges: tuple[int, ...]

    def __init__(self, edges: Sequence[int]) -> None:
        values = tuple(int(e) for e in edges)
        if len(values) < 2 or values[0] < 2 or any(a >= b for a, b in itertools.pairwise(values)):
            raise SpectrumError(f"bin edges {list(edges)}: expected increasing integers from 2")
        object.__setattr__(self, "edges", values)

    @property
    def n(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    @property
    def lmax(self) -> int:
        """Highest multipole inside the bins."""
        return self.edges[-1] - 1

    @cached_property
    def centres(self) -> Array:
        """Mean multipole of each bin, shape (n,)."""
        return np.array([(a + b - 1) / 2 for a, b in itertools.pairwise(self.edges)])

    def indicator(self, lmax: int) -> Array:
        """Return 1 where l belongs to the bin, shape (n, lmax + 1)."""
        if lmax < self.lmax:
            raise SpectrumError(f"bins reach l = {self.lmax}, spectra only {lmax}")
        ell = np.arange(lmax + 1)
        edges = np.array(self.edges)
        return ((ell >= edges[:-1, None]) & (ell < edges[1:, None])).astype(np.float64)

    def binning(self, lmax: int) -> Array:
        """Return the matrix C_l -> D_b, shape (n, lmax + 1)."""
        inside = self.indicator(lmax)
        return inside * dl_factor(lmax) / inside.sum(axis=1, keepdims=True)

    def unbinning(self, lmax: int) -> Array:
        """Return the matrix D_b -> C_l of a D_l that is flat in each bin, shape (lmax + 1, n)."""
        factor = dl_factor(lmax)
        return self.indicator(lmax).T / np.where(factor > 0, factor, np.inf)[:, None]

    def mean(self, dl: Array) -> Array:
        """Return the plain mean of D_l in each bin; dl has shape (..., >= lmax + 1)."""
        inside = self.indicator(dl.shape[-1] - 1)
        return dl @ (inside / inside.sum(axis=1, keepdims=True)).T

    def padded(self, lmax: int) -> Bins:
        """Return the bins extended to `lmax` by bins of about the last width.

        The MASTER inversion needs them: without bins beyond the last published one, its bandpowers
        would take the blame for all power above it. They are dropped from the product.
        """
        if lmax < self.lmax:
            raise SpectrumError(f"bins reach l = {self.lmax}, beyond lmax = {lmax}")
        rest = lmax + 1 - self.edges[-1]
        count = max(1, round(rest / (self.edges[-1] - self.edges[-2]))) if rest else 0
        extra = [self.edges[-1] + round(rest * (k + 1) / count) for k in range(count)]
        return Bins((*self.edges, *extra))
