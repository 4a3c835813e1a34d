"""MASTER: from pseudo-spectra of two masked maps to bandpowers and their exact windows.

Pseudo-spectra obey <C~_l> = sum_l' M_ll' b_l' C_l' (Hivon et al. 2002, astro-ph/0105302, eq. 14;
spin 2: Kogut et al. 2003). With B the binning and F the unbinning of :class:`Bins`,

    K = B M b F,   D_b = (K^-1 B) C~,   <D_b> = sum_l W_bl D_l,   W = K^-1 B M b 2 pi / (l (l + 1)).

The windows W are exact for any theory, not only for a D_l that is flat in each bin, and hold the
leakage of E into B and back. b is the product of both beams and pixel windows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, Mask
from cmbfit.spectra.binning import Bins, dl_factor
from cmbfit.spectra.coupling import Coupling, PairCoupling, coupling, responses
from cmbfit.spectra.transforms import SPECTRA, mask_cross_spectrum

GROUPS: tuple[tuple[str, ...], ...] = (
    ("tt",), ("te",), ("et",), ("tb",), ("bt",), ("ee", "bb"), ("eb", "be"),
)  # fmt: skip
"""Spectra that mix with each other under a mask: parity keeps EE and BB apart from EB and BE."""

_DARK = 1e-14
"""Response of a bin, relative to the largest, below which nothing of its power is in the maps."""

Spectra = Mapping[str, Array]

Filtering = Callable[[str, Array, Array], Mapping[str, Array]]
"""What filters add to B M of a pseudo-spectrum: :meth:`cmbfit.spectra.filters.FilterResponse.rows`."""


@dataclass(frozen=True, eq=False)
class Transfer:
    """Beam times pixel window of one map, from l = 0.

    Attributes
    ----------
    t, p : ndarray
        Of T; of E and B.
    t_to_e, t_to_b : ndarray, optional
        B_l^{T->E}: what the map's E holds of the sky's T, E' = p E + t_to_e T, and likewise B. It is not
        divided out but part of the windows: te responds to tt, ee to te and tt, tb to tt by `t_to_b`.
    """

    t: Array
    p: Array
    t_to_e: Array | None = None
    t_to_b: Array | None = None

    def of(self, letter: str) -> Array:
        """Return the transfer function of the field "t", "e" or "b"."""
        return self.t if letter == "t" else self.p

    def seen(self, letter: str) -> list[tuple[str, Array]]:
        """Return the sky's fields in the map's field "t", "e" or "b", each with its transfer function."""
        own = [(letter, self.of(letter))]
        leak = {"e": self.t_to_e, "b": self.t_to_b}.get(letter)
        return own if leak is None else [*own, ("t", leak)]

    def equals(self, other: Transfer) -> bool:
        """Return whether all functions are the same."""
        mine, theirs = ((x.t, x.p, x.t_to_e, x.t_to_b) for x in (self, other))
        return self is other or all(
            a is b or (a is not None and b is not None and np.array_equal(a, b))
            for a, b in zip(mine, theirs, strict=True)
        )

    def cut(self, lmax: int) -> Transfer:
        """Return the functions up to lmax; raise :class:`SpectrumError` where one is shorter."""
        parts = [None if x is None else x[: lmax + 1] for x in (self.t, self.p, self.t_to_e, self.t_to_b)]
        short = min(x.size for x in parts if x is not None) - 1
        if short < lmax:
            raise SpectrumError(f"beams and pixel windows up to l = {short}, {lmax} is needed")
        t, p, *leaks = parts
        return Transfer(np.asarray(t), np.asarray(p), *leaks)


def seen(source: str, a: Transfer, b: Transfer) -> list[tuple[str, Array]]:
    """Return the spectra of the sky that are in a spectrum of two maps before masking, each with its gain."""
    return [(x + y, f * g) for x, f in a.seen(source[0]) for y, g in b.seen(source[1])]


@dataclass(frozen=True, eq=False)
class Master:
    """The linear map from pseudo-spectra to bandpowers for one mask, one pair of maps, one binning.

    Build it with :func:`prepare`.

    Attributes
    ----------
    bins : Bins
        The published bins.
    lmax : int
        Multipole up to which coupling is computed and windows reach.
    coupling : Coupling or PairCoupling
        Of the masks.
    inverses : mapping (spectrum, spectrum) -> ndarray, shape (bins.n, padded.n)
        K^-1: how each binned pseudo-spectrum enters each bandpower.
    windows : mapping (spectrum, spectrum) -> ndarray, shape (bins.n, lmax + 1)
        W: response of the first spectrum's D_b to the second's D_l. Zero at l = 0, 1.
    pure : (bool, bool)
        Whether B of map a, and of map b, is pure (:mod:`cmbfit.spectra.purify`).
    """

    bins: Bins
    lmax: int
    transfer_a: Transfer
    transfer_b: Transfer
    coupling: Coupling | PairCoupling
    inverses: Mapping[tuple[str, str], Array] = field(repr=False)
    windows: Mapping[tuple[str, str], Array] = field(repr=False)
    pure: tuple[bool, bool] = (False, False)
    kept: Mapping[str, Array] = field(default_factory=dict, repr=False)
    """Share of a binned pseudo-spectrum of a flat D_l that the fit of templates left, shape (padded.n,); of those it took from."""

    @cached_property
    def padded(self) -> Bins:
        """Bins up to lmax, the published ones first."""
        return self.bins.padded(self.lmax)

    def operator(self, to: str, source: str) -> Array:
        """Return K^-1 B of a bandpower and a pseudo-spectrum that enters it, shape (bins.n, lmax + 1)."""
        return self.inverses[to, source] @ self.padded.binning(self.lmax)

    def decouple(self, pseudo: Spectra) -> dict[str, Array]:
        """Return the bandpowers D_b in uK^2 of pseudo-C_l given from l = 0 to lmax."""
        for name in SPECTRA:
            if name not in pseudo or pseudo[name].shape != (self.lmax + 1,):
                raise SpectrumError(f"pseudo-spectrum {name}: expected shape ({self.lmax + 1},)")
        out = {name: np.zeros(self.bins.n) for name in SPECTRA}
        binning = self.padded.binning(self.lmax)
        for (to, source), inverse in self.inverses.items():
            out[to] = out[to] + inverse @ (binning @ pseudo[source])
        return out

    def bin_theory(self, dl: Spectra) -> dict[str, Array]:
        """Return the expected bandpowers of theory D_l (uK^2, from l = 0).

        Missing spectra count as zero; "et", "be", "bt" default to "te", "eb", "tb".
        """
        out = {name: np.zeros(self.bins.n) for name in SPECTRA}
        for (to, source), window in self.windows.items():
            theory = spectrum_of(dl, source)
            if theory is None:
                continue
            if theory.size <= self.lmax:
                raise SpectrumError(f"theory {source} up to l = {theory.size - 1}, windows reach {self.lmax}")
            out[to] = out[to] + window @ theory[: self.lmax + 1]
        return out

    def couple(self, cl: Spectra) -> dict[str, Array]:
        """Return the expected pseudo-C_l of theory C_l of maps a x b; see :func:`couple`."""
        return couple(cl, self.coupling, self.transfer_a, self.transfer_b, self.pure)


def couple(
    cl: Spectra,
    c: Coupling | PairCoupling,
    transfer_a: Transfer,
    transfer_b: Transfer,
    pure: tuple[bool, bool] = (False, False),
) -> dict[str, Array]:
    """Return the expected pseudo-C_l of theory C_l (uK^2, from l = 0), beams and pixel windows included."""
    out = {}
    for name in SPECTRA:
        size = c.of_spectrum(name).shape[0]
        a, b = transfer_a.cut(size - 1), transfer_b.cut(size - 1)
        total = np.zeros(size)
        for r in responses(name, c, pure):
            for source, gain in seen(r.source, a, b):
                theory = spectrum_of(cl, source)
                if theory is not None:
                    total += r.apply(gain * theory[:size])
        out[name] = total
    return out


def spectrum_of(spectra: Spectra, name: str) -> Array | None:
    """Return a spectrum by name; et, be, bt fall back on te, eb, tb; None when absent."""
    if name in spectra:
        return spectra[name]
    return spectra.get(name[::-1])


def prepare(
    mask: Mask,
    bins: Bins,
    transfer_a: Transfer,
    transfer_b: Transfer,
    lmax: int,
    mask_b: Mask | None = None,
    *,
    pure: tuple[bool, bool] = (False, False),
    mask_coupling: Coupling | PairCoupling | None = None,
    filtering: Filtering | None = None,
    nthreads: int = 1,
) -> Master:
    """Compute coupling matrices, bandpower operators and windows.

    Parameters
    ----------
    mask, mask_b : Mask
        Of map a and of map b; one mask for both when `mask_b` is omitted. Masks of Q and U apart come in by
        `mask_coupling`.
    transfer_a, transfer_b : Transfer
        From l = 0 to at least `lmax`.
    lmax : int
        3 nside - 1 for HEALPix maps; bins beyond the last published one are added up to here.
    pure : (bool, bool)
        Whether B of map a, and of map b, is pure.
    mask_coupling : Coupling or PairCoupling, optional
        Of the masks, when it is at hand already (:meth:`cmbfit.spectra.mask_couplings.MaskCouplings.pair`).
    filtering : callable, optional
        Where templates were taken off the maps: :meth:`cmbfit.spectra.filters.FilterResponse.rows`.

    Raises
    ------
    SpectrumError
        When beams are too short, or the binned coupling cannot be inverted.
    """
    a, b = transfer_a.cut(lmax), transfer_b.cut(lmax)
    if mask_coupling is None:
        mask_coupling = coupling(
            mask_cross_spectrum(mask, mask_b, 2 * lmax, nthreads), lmax, nthreads=nthreads
        )
    padded = bins.padded(lmax)
    binning, unbinning = padded.binning(lmax), padded.unbinning(lmax)
    factor = dl_factor(lmax)
    factor[:2] = np.inf  # monopole and dipole are not part of any theory
    inverses, windows, kept = {}, {}, {}
    for group in GROUPS:
        # B M b of each spectrum on each source, never the whole of M
        binned: dict[tuple[str, str], Array] = {}
        for name in group:
            found = responses(name, mask_coupling, pure)
            parts = [(r.source, r.binned(padded)) for r in found]
            if filtering is not None:
                plain = next(r for r in found if r.source == name).apply(1 / factor)
                taken = filtering(name, binning, plain)
                parts += taken.items()
                if name in taken:
                    kept[name] = np.clip(1 + (taken[name] @ (1 / factor)) / (binning @ plain), 0, 1)
            for source, thin in parts:
                for sky, gain in seen(source, a, b):
                    binned[name, sky] = binned.get((name, sky), 0.0) + thin * gain
        zero = np.zeros((padded.n, padded.n))
        k = np.block([[binned[i, j] @ unbinning if (i, j) in binned else zero for j in group] for i in group])
        inverse = _inverse(k, group, bins.n).reshape(len(group), padded.n, len(group), padded.n)[:, : bins.n]
        for i, to in enumerate(group):
            for j, pseudo in enumerate(group):
                if inverse[i, :, j].any():
                    inverses[to, pseudo] = inverse[i, :, j]
            for source in dict.fromkeys(source for _, source in binned):
                window = sum(
                    inverse[i, :, m] @ binned[n, source] for m, n in enumerate(group) if (n, source) in binned
                )
                if np.any(window):
                    windows[to, source] = window / factor
    return Master(bins, lmax, a, b, mask_coupling, inverses, windows, pure, kept)


def _inverse(k: Array, group: tuple[str, ...], published: int) -> Array:
    """Return the inverse of a binned coupling matrix; rows of unpublished bins that no beam reaches are zero.

    Beams make columns of any size. That is no loss of information, so columns count relative to their own size;
    where a beam ends long before the last multipole there is nothing to solve for.
    """
    size = np.linalg.norm(k, axis=0)
    seen = size > _DARK * size.max()
    bin_of = np.arange(size.size) % (size.size // len(group))
    dark = sorted(set(bin_of[~seen & (bin_of < published)].tolist()))
    if dark:
        raise SpectrumError(
            f"{group}: the beams leave less than {_DARK:g} of the power in {len(dark)} bins from bin {dark[0]} on: leave "
            "these bins out"
        )
    kept = np.flatnonzero(seen)
    scaled = k[np.ix_(kept, kept)] / size[kept]
    if not np.linalg.cond(scaled) < 1e10:
        raise SpectrumError(
            f"the binned coupling matrix of {group} is singular: use wider bins or a larger sky"
        )
    out = np.zeros_like(k)
    out[np.ix_(kept, kept)] = np.linalg.inv(scaled) / size[kept, None]
    return out
