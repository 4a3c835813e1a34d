"""What the general estimator takes: fields, their splits and the noise of each split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import healpy
import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask, StokesMap, check_together
from cmbfit.spectra.master import Transfer

AUTO = ("tt", "te", "ee", "eb", "bb", "tb")
"""Spectra of a field with itself: te and et are the same there."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of one split: spectrum N_l, and how its variance goes over the sky.

    Around a pixel p the noise spectrum is depth(p) N_l.

    Attributes
    ----------
    t, p : ndarray, shape (> lmax,)
        N_l of T, and of E and B alike, in uK^2 from l = 0, as in the map (no beam divided out).
    depth : ndarray, shape (12 nside^2,), optional
        Relative variance of each pixel; uniform when omitted.
    """

    t: Array
    p: Array
    depth: Array | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        for name, values in (("t", self.t), ("p", self.p), ("depth", self.depth)):
            if values is not None and not (np.isfinite(values).all() and (values >= 0).all()):
                raise SpectrumError(f"noise {name}: expected finite numbers from zero")

    def of(self, letter: str) -> Array:
        """Return N_l of the field "t", "e" or "b"."""
        return self.t if letter == "t" else self.p


def noise_from_hits(
    hits: Array, sigma0_t: float, sigma0_p: float, lmax: int, mask: Mask | None = None
) -> Noise:
    """Return white noise of variance sigma0^2 / hits in each pixel: N_l = (4 pi / npix) sigma^2.

    Parameters
    ----------
    hits : ndarray, shape (12 nside^2,)
        Number of observations, RING.
    sigma0_t, sigma0_p : float
        Noise of one observation in I, and in Q and U, in uK.
    mask : Mask, optional
        Pixels outside need no hits.

    Raises
    ------
    SpectrumError
        When a pixel in use has no hits.
    """
    used = np.ones(hits.shape, dtype=bool) if mask is None else mask.support
    if used.shape != hits.shape or not (hits[used] > 0).all():
        raise SpectrumError("hits: expected one positive number for each pixel inside the mask")
    inverse = np.where(used, 1 / np.where(used, hits, 1.0), 0.0)
    mean = float(inverse[used].mean())
    level = np.full(lmax + 1, mean * 4 * np.pi / hits.size)
    return Noise(sigma0_t**2 * level, sigma0_p**2 * level, inverse / mean)


def require_apodised(mask: Mask, highest: float = 0.3) -> None:
    """Raise :class:`SpectrumError` when a mask does not go smoothly to zero: pure B takes its second derivative.

    Pixels next to a hole of an apodised mask have small weights; `highest` is what C1 and C2 leave there
    when they taper over four pixels.
    """
    holes = np.flatnonzero(~mask.support)
    if holes.size == 0:
        return
    neighbours = healpy.get_all_neighbours(mask.nside, holes)
    worst = float(mask.weights[neighbours[neighbours >= 0]].max())
    if worst > highest:
        raise SpectrumError(
            f"pure B under mask {mask.name!r}: its weight falls from {worst:.2f} to zero within a pixel; expected "
            f"an apodised mask (below {highest:g} at its edges): use C1 or C2 over several pixels"
        )


@dataclass(frozen=True, eq=False)
class Field:
    """One channel of the analysis: splits that see the same sky through one beam and one mask.

    Attributes
    ----------
    name : str
        Unique, for example "V".
    splits : sequence of StokesMap
        With independent noise: years, half missions, detectors. Equal weight is given to each.
    mask : Mask
    transfer : Transfer
        Beam times pixel window from l = 0.
    noise : sequence of Noise, or one for all splits, optional
        Needed for a covariance only; see :func:`noise_from_hits` and
        :func:`cmbfit.spectra.multi.noise_from_splits`.
    purify_b : bool
        Take pure B modes (:mod:`cmbfit.spectra.purify`); the mask must be apodised.
    """

    name: str
    splits: Sequence[StokesMap]
    mask: Mask
    transfer: Transfer
    noise: Noise | Sequence[Noise] | None = None
    purify_b: bool = False

    def __post_init__(self) -> None:
        if not self.name or not self.splits:
            raise SpectrumError(f"field {self.name!r}: expected a name and at least one map")
        for split in self.splits:
            check_together(split, self.mask)
        if self.purify_b:
            require_apodised(self.mask)
        if isinstance(self.noise, Sequence) and len(self.noise) != len(self.splits):
            raise SpectrumError(
                f"field {self.name!r}: {len(self.noise)} noise models for {len(self.splits)} splits"
            )

    @property
    def n_splits(self) -> int:
        """Number of splits."""
        return len(self.splits)

    def noise_of(self, split: int) -> Noise:
        """Return the noise model of a split."""
        if self.noise is None:
            raise SpectrumError(f"field {self.name!r} has no noise model, which a covariance needs")
        return self.noise[split] if isinstance(self.noise, Sequence) else self.noise


def split_pairs(one: Field, two: Field) -> list[tuple[int, int]]:
    """Return the pairs of splits whose noise is independent: all of them, but none with itself.

    Raises
    ------
    SpectrumError
        For a single map with itself, whose spectrum would hold its noise.
    """
    pairs = [
        (s, t) for s in range(one.n_splits) for t in range(two.n_splits) if one.name != two.name or s != t
    ]
    if not pairs:
        raise SpectrumError(
            f"field {one.name!r} has one split: its spectrum with itself is biased by noise; "
            "give splits or leave this pair out"
        )
    return pairs


def same_mask(one: Mask, two: Mask) -> bool:
    """Return whether two masks have the same weights."""
    return one is two or np.array_equal(one.weights, two.weights)


def check_fields(fields: Sequence[Field]) -> None:
    """Raise :class:`SpectrumError` unless names are unique and all masks share one grid."""
    names = [f.name for f in fields]
    if not fields or len(set(names)) != len(names):
        raise SpectrumError(f"fields {names}: expected at least one, with different names")
    grids = {(f.mask.nside, f.mask.coord) for f in fields}
    if len(grids) != 1:
        raise SpectrumError(f"fields of different nside or coordinates: {sorted(grids)}")
