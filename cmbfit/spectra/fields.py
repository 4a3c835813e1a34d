"""What the general estimator takes: fields, their splits and the noise of each split."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask, StokesMap, check_together
from cmbfit.spectra.master import Transfer
from cmbfit.spectra.templates import CleanedModes, Templates, filtered_steps
from cmbfit.spectra.transforms import SPECTRA

AUTO = ("tt", "te", "ee", "eb", "bb", "tb")
"""Spectra of a field with itself: te and et are the same there."""


_COMMON = 0.01
"""Least <w w'> / sqrt(<w^2> <w'^2>) of two masks for a cross-spectrum."""


@dataclass(frozen=True, eq=False)
class Noise:
    """Noise of one split: spectrum N_l, and how its variance goes over the sky.

    Around a pixel p the noise spectrum is depth(p) N_l.

    Attributes
    ----------
    t, p : ndarray, shape (> lmax,)
        N_l of T, and of E and B alike, in uK^2 from l = 0, as in the map (no beam divided out).
    depth : ndarray, shape (npix,), optional
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
    """Return white noise of variance sigma0^2 / hits in each pixel: N_l = (4 pi / npix) sigma^2, or the pixel's area times it.

    Parameters
    ----------
    hits : ndarray, shape (npix,)
        Number of observations, RING.
    sigma0_t, sigma0_p : float
        Noise of one observation in I, and in Q and U, in uK.
    mask : Mask, optional
        Pixels outside need no hits. Its grid is that of the hits; HEALPix when omitted.

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
    if mask is not None and not isinstance(area := mask.grid.pixel_area, float):
        inverse *= (
            area  # white noise in pixels of unequal areas is white per area where variance goes as 1 / area
        )
        mean = float(inverse[used].mean())
        level = np.full(lmax + 1, mean)
    else:
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
    neighbours = mask.grid.neighbours(holes)
    worst = float(mask.weights[neighbours[neighbours >= 0]].max())
    if worst > highest:
        raise SpectrumError(
            f"pure B under mask {mask.name!r}: its weight falls from {worst:.2f} to zero within a pixel; expected "
            f"an apodised mask (below {highest:g} at its edges): use C1 or C2 over several pixels"
        )


@dataclass(frozen=True, eq=False)
class Field:
    """One channel of the analysis: splits that see the same sky through one beam and one mask, or one of T and one of Q, U.

    Attributes
    ----------
    name : str
        Unique, for example "V".
    splits : sequence of StokesMap, or int
        With independent noise: years, half missions, detectors. Equal weight is given to each. Their number
        where only coefficients are at hand.
    mask : Mask
        Of T, and of Q and U unless `mask_p` is given.
    transfer : Transfer
        Beam times pixel window from l = 0.
    noise : sequence of Noise, or one for all splits, optional
        Needed for a covariance only; see :func:`noise_from_hits` and
        :func:`cmbfit.spectra.multi.noise_from_splits`.
    purify_b : bool
        Take pure B modes (:mod:`cmbfit.spectra.purify`); the mask must be apodised.
    mask_p : Mask, optional
        Of Q and U.
    survey : str
        Fields of one survey are not crossed in splits of equal index, which may share systematic errors
        (half mission 1 of 100 GHz and of 143 GHz); empty: every split of one field meets every split of another.
    polarised : bool
        Whether there are Q and U, where only coefficients are at hand; maps say it themselves.
    iterations : int
        Of the transforms of maps. Plain sums over pixels (0) are what the coupling of a mask's own pixel sum is exact
        for; each iteration takes off what the pixels' quadrature is wrong by, which helps where much of the sky is seen.
    filters : Templates, optional
        What was fitted to every split and taken off, :func:`~cmbfit.spectra.templates.monopole_dipole` for one: windows
        hold the sky that went with it.
    cleaned : CleanedModes, optional
        The same of templates of Q and U that were fitted to other maps of this sky.
    """

    name: str
    splits: Sequence[StokesMap] | int
    mask: Mask
    transfer: Transfer
    noise: Noise | Sequence[Noise] | None = None
    purify_b: bool = False
    mask_p: Mask | None = None
    survey: str = ""
    polarised: bool = True
    iterations: int = 0
    filters: Templates | None = None
    cleaned: CleanedModes | None = None

    def __post_init__(self) -> None:
        if not self.name or not self.splits:
            raise SpectrumError(f"field {self.name!r}: expected a name and at least one map")
        if not isinstance(self.splits, int):
            for split in self.splits:
                for mask in (self.mask, self.mask_of("e")):
                    check_together(split, mask)
                if self.filters is None and (steps := filtered_steps(split)):
                    raise SpectrumError(
                        f"field {self.name!r}: map {split.name!r} went through {sorted(steps)}, which took modes of the sky "
                        "away, and windows would not know: give the field its filters, monopole_dipole(mask) with the mask of "
                        "the fit, or the map as it was"
                    )
            if len({split.polarised for split in self.splits}) > 1:
                raise SpectrumError(f"field {self.name!r}: some splits have Q and U and some do not")
            object.__setattr__(self, "polarised", self.splits[0].polarised)
        if self.purify_b and not self.polarised:
            raise SpectrumError(f"field {self.name!r}: pure B of a map without Q and U")
        if self.purify_b:
            require_apodised(self.mask_of("b"))
        if isinstance(self.noise, Sequence) and len(self.noise) != self.n_splits:
            raise SpectrumError(
                f"field {self.name!r}: {len(self.noise)} noise models for {self.n_splits} splits"
            )

    def mask_of(self, letter: str) -> Mask:
        """Return the mask of the field "t", "e" or "b"."""
        return self.mask if letter == "t" or self.mask_p is None else self.mask_p

    @property
    def n_splits(self) -> int:
        """Number of splits."""
        return self.splits if isinstance(self.splits, int) else len(self.splits)

    @property
    def maps(self) -> Sequence[StokesMap]:
        """Maps of the splits."""
        if isinstance(self.splits, int):
            raise SpectrumError(
                f"field {self.name!r}: expected the maps of its splits, found their number ({self.splits})"
            )
        return self.splits

    def noise_of(self, split: int) -> Noise:
        """Return the noise model of a split."""
        if self.noise is None:
            raise SpectrumError(f"field {self.name!r} has no noise model, which a covariance needs")
        return self.noise[split] if isinstance(self.noise, Sequence) else self.noise


def spectra_of(one: Field, two: Field) -> tuple[str, ...]:
    """Return the spectra of two fields: six of a field with itself, nine of two, those with T alone of a map of I alone."""
    known = AUTO if one.name == two.name else SPECTRA
    letters = ["teb" if f.polarised else "t" for f in (one, two)]
    return tuple(s for s in known if s[0] in letters[0] and s[1] in letters[1])


def equal_splits_meet(one: Field, two: Field) -> bool:
    """Return whether splits of equal index are crossed: never those of a field with itself, nor of one survey."""
    return one.name != two.name and not (one.survey and one.survey == two.survey)


def split_pairs(one: Field, two: Field) -> list[tuple[int, int]]:
    """Return the pairs of splits that are crossed.

    Raises
    ------
    SpectrumError
        When none is left: a single map with itself would hold its noise.
    """
    every = itertools.product(range(one.n_splits), range(two.n_splits))
    pairs = [(s, t) for s, t in every if s != t or equal_splits_meet(one, two)]
    if not pairs:
        raise SpectrumError(
            f"{one.name} x {two.name}: the one split would meet itself, and the spectrum be biased by noise or by "
            "systematic errors that it shares: give splits or leave this pair out"
        )
    return pairs


def require_common_sky(one: Field, two: Field) -> None:
    """Raise :class:`SpectrumError` where the masks of two fields share no sky.

    Pseudo-spectra of two separate patches do not vanish, and their couplings can be inverted, but what comes out is
    the correlation of distant places and not the power at a multipole.
    """
    for first, second in itertools.product((one.mask, one.mask_of("e")), (two.mask, two.mask_of("e"))):
        if first is not second and first.grid == second.grid:
            both = first.grid.mean(first.weights * second.weights)
            share = both / np.sqrt(first.moment(2) * second.moment(2))
            if share < _COMMON:
                raise SpectrumError(
                    f"{one.name} x {two.name}: masks {first.name!r} and {second.name!r} have {share:.2g} of their sky in "
                    f"common, expected at least {_COMMON:g}: give masks that overlap, or leave this pair out"
                )


def same_mask(one: Mask, two: Mask) -> bool:
    """Return whether two masks have the same weights."""
    return one is two or (one.grid == two.grid and np.array_equal(one.weights, two.weights))


def check_fields(fields: Sequence[Field]) -> None:
    """Raise :class:`SpectrumError` unless names are unique and all masks share one grid."""
    names = [f.name for f in fields]
    if not fields or len(set(names)) != len(names):
        raise SpectrumError(f"fields {names}: expected at least one, with different names")
    grids = {(m.grid.name, m.grid, m.coord) for f in fields for m in (f.mask, f.mask_of("e"))}
    if len(grids) != 1:
        raise SpectrumError(
            f"fields of different nside or coordinates: {sorted((name, coord) for name, _, coord in grids)}"
        )
