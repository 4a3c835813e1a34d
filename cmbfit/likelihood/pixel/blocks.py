"""Blocks of C_l by multipole: which spectra the theory gives and which stay at a fiducial model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from cmbfit.device import OnDevice
from cmbfit.errors import LikelihoodError
from cmbfit.sky.maps import Array
from cmbfit.theory.spectra import Spectra

PARITY_ODD = ("tb", "eb")


def pair_of(a: str, b: str) -> str:
    """Return the name of the spectrum of two fields, in the order t, e, b."""
    return "".join(sorted(a + b, key="teb".index))


def pairs_of(fields: str) -> tuple[str, ...]:
    """Return the spectra that fields have among themselves."""
    return tuple(pair_of(a, b) for i, a in enumerate(fields) for b in fields[i:])


def dl_to_cl(ell: np.ndarray) -> Array:
    """Return 2 pi / (l (l + 1)), zero at l = 0."""
    ell = np.asarray(ell, dtype=np.float64)
    return np.divide(2 * np.pi, ell * (ell + 1), out=np.zeros_like(ell), where=ell > 0)


class SpectrumBlocks(OnDevice):
    """C_l of all pairs of some fields at lmin-lmax, from a theory where it is asked for.

    Parameters
    ----------
    name : str
        For messages.
    fields : str
        "t", "eb" or "teb".
    lmin, lmax : int
    ranges : mapping of str to (int, int)
        Pair to the multipoles, both included, that the theory gives.
    fiducial : mapping of str to ndarray, optional
        Pair to D_l in uK^2 from l = 0 for the multipoles that the theory does not give. tb and eb are
        zero where nothing is said.

    Raises
    ------
    LikelihoodError
        For pairs that the fields do not have, ranges outside lmin-lmax, or a fiducial that is missing.
    """

    def __init__(
        self,
        name: str,
        fields: str,
        lmin: int,
        lmax: int,
        ranges: Mapping[str, tuple[int, int]],
        fiducial: Mapping[str, Array] | None = None,
    ) -> None:
        fiducial = fiducial or {}
        self.fields = fields
        self.ell = np.arange(lmin, lmax + 1)
        if not ranges:
            raise LikelihoodError(f"{name}: no spectrum is varied; give ranges such as {{'tt': (2, 29)}}")
        self.pairs = tuple(ranges)
        self.lmax = max(high for _, high in ranges.values())
        self._ranges = dict(ranges)
        self._fixed: dict[str, torch.Tensor] = {}
        to_cl = dl_to_cl(self.ell)
        self._to_cl = torch.from_numpy(to_cl)
        for pair, (low, high) in ranges.items():
            if pair not in pairs_of(fields):
                raise LikelihoodError(
                    f"{name}: the maps have the spectra {', '.join(pairs_of(fields))}, not {pair}"
                )
            if not max(lmin, 1) <= low <= high <= lmax:
                raise LikelihoodError(
                    f"{name}: {pair} at l = {low}-{high}, but the maps' modes are l = {lmin}-{lmax}"
                )
        for pair in pairs_of(fields):
            low, high = ranges.get(pair, (0, -1))
            outside = (self.ell < low) | (self.ell > high)
            values = np.zeros(len(self.ell))
            if outside.any() and pair not in (*fiducial, *PARITY_ODD):
                raise LikelihoodError(
                    f"{name}: {pair} is needed at l = {self.ell[outside][0]}-{self.ell[outside][-1]}: vary it there "
                    "or give a fiducial"
                )
            if outside.any() and pair in fiducial:
                given = np.asarray(fiducial[pair], dtype=np.float64)
                if len(given) <= self.ell[outside][-1]:
                    raise LikelihoodError(f"{name}: fiducial {pair} stops at l = {len(given) - 1}")
                values = np.where(outside, given[np.minimum(self.ell, len(given) - 1)] * to_cl, 0.0)
            self._fixed[pair] = torch.from_numpy(values)

    def __call__(self, spectra: Spectra) -> dict[str, torch.Tensor]:
        """Return pair to C_l in uK^2, each of shape (batch, n_l)."""
        spectra.require(self.pairs, self.lmax)
        out = {}
        for pair, fixed in self._fixed.items():
            low, high = self._ranges.get(pair, (0, -1))
            block = fixed.expand(spectra.batch, -1)
            if high >= low:
                start = low - int(self.ell[0])
                given = spectra.dl[pair][:, low : high + 1] * self._to_cl[start : start + high - low + 1]
                block = torch.cat([block[:, :start], given, block[:, start + high - low + 1 :]], dim=1)
            out[pair] = block
        return out


def block_roots(
    c: Mapping[str, torch.Tensor], fields: str, floor: torch.Tensor
) -> tuple[dict[tuple[int, int], torch.Tensor], torch.Tensor]:
    """Return lower triangular R with R R^T = C + floor for every l, and which models are possible.

    The floor (far below the noise) keeps the root, and the gradient through it, finite at zero power.

    Parameters
    ----------
    c : mapping of str to torch.Tensor
        Pair to C_l, shape (batch, n_l).
    fields : str
    floor : torch.Tensor, shape (n_fields,)
        Added to the auto spectra, uK^2.

    Returns
    -------
    roots : dict
        (row, column) to entries of shape (batch, n_l).
    possible : torch.Tensor, shape (batch,)
        False where some block of C is not a covariance (negative power, TE^2 > TT EE, NaN).
    """
    roots: dict[tuple[int, int], torch.Tensor] = {}
    first = next(iter(c.values()))
    possible = torch.ones(len(first), dtype=torch.bool, device=first.device)
    for i, a in enumerate(fields):
        for j, b in enumerate(fields[: i + 1]):
            value = c[pair_of(a, b)]
            for k in range(j):
                value = value - roots[i, k] * roots[j, k]
            if i == j:
                value = value + floor[i]
                good = value > 0  # False for NaN
                possible = possible & good.all(1)
                roots[i, j] = torch.where(good, value, 1.0).sqrt()
            else:
                roots[i, j] = value / roots[j, j]
    return roots, possible
