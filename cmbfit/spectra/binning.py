"""Bins in multipole."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.units import dl_over_cl


def dl_factor(lmax: int) -> Array:
    """Return l (l + 1) / (2 pi) for l = 0 ... lmax."""
    return dl_over_cl(np.arange(lmax + 1))


WEIGHTINGS = ("dl", "cl", "uniform")


@dataclass(frozen=True)
class Bins:
    """Half-open bins [edges[b], edges[b + 1]).

    Parameters
    ----------
    edges : sequence of int
        Increasing, from at least 2: monopole and dipole carry no bandpower.
    weighting : {"dl", "cl", "uniform"}
        "dl": equal weight to each D_l inside, which is Planck's w_l ~ l (l + 1) on C_l. "cl": each
        C_l counts as its 2 l + 1 modes do. Bandpowers of both are D_b in uK^2, normalised so
        that a flat D_l comes back as itself. "uniform": equal weight to each C_l, and a flat C_l comes back as itself
        (NaMaster's own bins); bandpowers are D_b = `scale` times the mean C_l.

    Examples
    --------
    >>> Bins((2, 5, 9)).centres.tolist()
    [3.0, 6.5]
    """

    edges: tuple[int, ...]
    weighting: str

    def __init__(self, edges: Sequence[int], weighting: str = "dl") -> None:
        values = tuple(int(e) for e in edges)
        if len(values) < 2 or values[0] < 2 or any(a >= b for a, b in itertools.pairwise(values)):
            raise SpectrumError(f"bin edges {list(edges)}: expected increasing integers from 2")
        if weighting not in WEIGHTINGS:
            raise SpectrumError(f"bin weighting {weighting!r}: expected one of {WEIGHTINGS}")
        object.__setattr__(self, "edges", values)
        object.__setattr__(self, "weighting", weighting)

    @classmethod
    def linear(cls, lmin: int, lmax: int, width: int, weighting: str = "dl") -> Bins:
        """Return bins of equal width from `lmin`; multipoles above the last full bin are left out.

        Examples
        --------
        >>> Bins.linear(2, 20, 6).edges
        (2, 8, 14, 20)
        """
        if width < 1 or lmin + width > lmax + 1:
            raise SpectrumError(f"bins of width {width} from l = {lmin} to {lmax}: there is no full bin")
        return cls(range(lmin, lmax + 2, width), weighting)

    @classmethod
    def planck(cls, lmax: int = 2508, *, low: bool = True) -> Bins:
        """Return the bins of Planck 2018 plik-lite that end at or below `lmax`.

        Widths 5, 9, 17 and 33 from l = 30, 100, 1504 and 2014 (Planck 2018 V, arXiv:1907.12875,
        section 3.6), in its D_l weighting; with `low`, 2-15 and 16-29 before them.
        """
        edges = [2, 16] if low else []
        edges += [*range(30, 100, 5), *range(100, 1504, 9), *range(1504, 2014, 17), *range(2014, 2510, 33)]
        kept = [e for e in edges if e <= lmax + 1]
        if len(kept) < 2:
            raise SpectrumError(f"Planck's bins up to l = {lmax}: there is no full bin")
        return cls(kept)

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

    @property
    def scale(self) -> Array:
        """D_b over C_b of uniform bins: l (l + 1) / 2 pi at the bins' mean multipoles, shape (n,)."""
        return dl_over_cl(self.centres)

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
        if self.weighting == "dl":
            return inside * dl_factor(lmax) / inside.sum(axis=1, keepdims=True)
        if self.weighting == "uniform":
            return inside / inside.sum(axis=1, keepdims=True) * self.scale[:, None]
        modes = inside * (2 * np.arange(lmax + 1) + 1)
        return modes / (modes[:, 2:] / dl_factor(lmax)[2:]).sum(axis=1, keepdims=True)

    def unbinning(self, lmax: int) -> Array:
        """Return the matrix D_b -> C_l of a D_l (a C_l, where bins are uniform) that is flat in each bin, shape (lmax + 1, n)."""
        if self.weighting == "uniform":
            return self.indicator(lmax).T / self.scale
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
        return Bins((*self.edges, *extra), self.weighting)
