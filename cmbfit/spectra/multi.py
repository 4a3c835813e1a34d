"""The general estimator: any list of fields, masks and splits to one data vector of bandpowers.

The spectrum of two fields is the plain mean over all pairs of splits with independent noise, so its
mean holds no noise. Pseudo-spectra are bilinear: the mean over pairs of different fields is the
spectrum of the two mean maps, and for one field with n splits (or two whose equal splits do not meet)

    mean_{s != t} C~^{st} = (n^2 C~[mean, mean] - sum_s C~^{ss}) / (n (n - 1)).
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.sky.pixelisation import Pixelisation
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.fields import (
    AUTO,
    Field,
    Noise,
    check_fields,
    equal_splits_meet,
    require_common_sky,
    spectra_of,
    split_pairs,
)
from cmbfit.spectra.filters import filter_response
from cmbfit.spectra.gradients import mask_derivatives
from cmbfit.spectra.mask_couplings import MaskCouplings
from cmbfit.spectra.master import Master, Spectra, prepare
from cmbfit.spectra.noise import bin_means, interpolate
from cmbfit.spectra.purify import pure_alms
from cmbfit.spectra.transforms import SPECTRA, FieldAlms, masked_alms, pseudo_spectra

Pair = tuple[str, str]


@dataclass(frozen=True, order=True)
class Entry:
    """One spectrum of the data vector: first letter of field a, second of field b."""

    spectrum: str
    a: str
    b: str

    def __str__(self) -> str:
        return f"{self.spectrum} {self.a}x{self.b}"


@dataclass(frozen=True, eq=False)
class Plan:
    """Everything about a set of fields that does not depend on the pixel values of the maps.

    Attributes
    ----------
    masters : mapping (a, b) -> Master
        For each pair of fields, in the order of the data vector.
    couplings : MaskCouplings
        Of all masks, for reuse by the covariance.
    apart : frozenset of (str, str)
        Pairs of different fields whose splits of equal index are not crossed.
    spectra : mapping (a, b) -> tuple of str
        What each pair has; all where omitted.
    """

    bins: Bins
    lmax: int
    masters: Mapping[Pair, Master]
    couplings: MaskCouplings
    apart: frozenset[Pair] = frozenset()
    spectra: Mapping[Pair, tuple[str, ...]] = field(default_factory=dict)

    def of_pair(self, a: str, b: str) -> tuple[str, ...]:
        """Return the spectra of a pair of fields."""
        return self.spectra.get((a, b), AUTO if a == b else SPECTRA)

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Data vector: pairs of fields, then spectra; each entry has bins.n values."""
        return tuple(Entry(s, a, b) for a, b in self.masters for s in self.of_pair(a, b))

    def theory(self, dl: Spectra) -> Array:
        """Return the expected data vector of theory D_l (uK^2, from l = 0), shape (entries, bins)."""
        binned = {pair: m.bin_theory(dl) for pair, m in self.masters.items()}
        return np.array([binned[e.a, e.b][e.spectrum] for e in self.entries])


def coupling_lmax(grid: Pixelisation, bins: Bins, lmax: int | None = None) -> int:
    """Return the lmax of the mode coupling, when omitted that of the grid (3 nside - 1); raise where bins or pixels do not reach it."""
    top = grid.lmax
    lmax = grid.coupling_lmax(bins.lmax) if lmax is None else lmax
    if not bins.lmax <= lmax <= top:
        raise SpectrumError(f"lmax {lmax}: expected from {bins.lmax} (bins) to {top} ({grid.lmax_in_words})")
    return lmax


def make_plan(
    fields: Sequence[Field],
    bins: Bins,
    lmax: int | None = None,
    pairs: Sequence[Pair] | None = None,
    *,
    couplings: MaskCouplings | None = None,
    nthreads: int = 1,
) -> Plan:
    """Compute couplings, operators and windows of all pairs of fields.

    Parameters
    ----------
    lmax : int, optional
        Of the mode coupling; 3 nside - 1 when omitted.
    pairs : sequence of (str, str), optional
        Pairs of fields to use; when omitted all of them, a field with itself if it has splits.
    couplings : MaskCouplings, optional
        Of another plan with these masks and this lmax.
    """
    check_fields(fields)
    by_name = {f.name: f for f in fields}
    lmax = coupling_lmax(fields[0].mask.grid, bins, lmax)
    if pairs is None:
        every = itertools.combinations_with_replacement(fields, 2)
        pairs = [(f.name, g.name) for f, g in every if f is not g or f.n_splits > 1]
    if unknown := {n for pair in pairs for n in pair} - set(by_name):
        raise SpectrumError(f"pairs name {sorted(unknown)}, fields are {sorted(by_name)}")
    if not pairs or len({frozenset(p) for p in pairs}) != len(pairs):
        raise SpectrumError(f"pairs {list(pairs)}: expected at least one, and none twice")
    for a, b in pairs:
        split_pairs(by_name[a], by_name[b])  # refuses a spectrum with noise bias
        require_common_sky(by_name[a], by_name[b])
    couplings = MaskCouplings(lmax, nthreads) if couplings is None else couplings
    if couplings.lmax != lmax:
        raise SpectrumError(f"couplings of masks up to l = {couplings.lmax}, this plan has lmax {lmax}")
    couplings.find_pairs((by_name[a], by_name[b]) for a, b in pairs)
    masters: dict[Pair, Master] = {}
    shared: dict[Any, Any] = {}
    for a, b in pairs:
        one, two = by_name[a], by_name[b]
        masters[a, b] = prepare_pair(one, two, bins, lmax, couplings, nthreads, shared)
    apart = frozenset((a, b) for a, b in masters if a != b and not equal_splits_meet(by_name[a], by_name[b]))
    spectra = {(a, b): spectra_of(by_name[a], by_name[b]) for a, b in masters}
    return Plan(bins, lmax, masters, couplings, apart, spectra)


def prepare_pair(
    one: Field,
    two: Field,
    bins: Bins,
    lmax: int,
    couplings: MaskCouplings | None = None,
    nthreads: int = 1,
    shared: dict[Any, Any] | None = None,
) -> Master:
    """Return operators and windows of two fields: masks, beams, pure B and filters as they say.

    Parameters
    ----------
    couplings, shared : optional
        What pairs of the same masks, and of the same filters, share.
    """
    couplings = MaskCouplings(lmax, nthreads) if couplings is None else couplings
    response = filter_response(one, two, lmax, nthreads, shared)
    return prepare(
        one.mask, bins, one.transfer, two.transfer, lmax,
        pure=(one.purify_b, two.purify_b), mask_coupling=couplings.pair(one, two),
        filtering=None if response is None else response.rows, nthreads=nthreads,
    )  # fmt: skip


def mean_alms(alms: Sequence[FieldAlms]) -> FieldAlms:
    """Return the mean of coefficients of several splits."""
    t, e, b = (sum(getattr(x, k) for x in alms) / len(alms) for k in "teb")
    return FieldAlms(t, e, b, alms[0].lmax, alms[0].polarised)


def mean_pseudo(
    a: Sequence[FieldAlms], b: Sequence[FieldAlms] | None = None, *, equal: bool = True
) -> dict[str, Array]:
    """Return pseudo-C_l averaged over pairs of splits.

    Parameters
    ----------
    b : sequence of FieldAlms, optional
        Of the second field; when omitted different splits of `a` are crossed.
    equal : bool
        Whether splits of equal index of two fields are crossed.
    """
    other = a if b is None else b
    mean = pseudo_spectra(mean_alms(a), mean_alms(other))
    if b is not None and equal:
        return dict(mean)
    n, same = len(a) * len(other), min(len(a), len(other))
    total = {s: n * cl for s, cl in mean.items()}
    for one, two in zip(a, other, strict=False):
        for s, cl in pseudo_spectra(one, two).items():
            total[s] = total[s] - cl
    return {s: cl / (n - same) for s, cl in total.items()}


def field_alms(field: Field, lmax: int, *, nthreads: int = 1) -> list[FieldAlms]:
    """Return the coefficients of every split of a field, B pure where the field says so."""
    if not field.purify_b:
        return [
            masked_alms(x, field.mask, lmax, field.iterations, nthreads, mask_p=field.mask_p)
            for x in field.maps
        ]
    derivatives = mask_derivatives(field.mask_of("b"))
    return [
        pure_alms(x, field.mask, lmax, derivatives, nthreads, field.mask_p, field.iterations)
        for x in field.maps
    ]


def estimate_bandpowers(plan: Plan, alms: Mapping[str, Sequence[FieldAlms]]) -> Array:
    """Return the data vector in uK^2, shape (entries, bins).

    Parameters
    ----------
    alms : mapping name -> coefficients of each split
        See :func:`field_alms`.
    """
    rows = []
    for (a, b), master in plan.masters.items():
        found = master.decouple(
            mean_pseudo(alms[a], None if a == b else alms[b], equal=(a, b) not in plan.apart)
        )
        rows += [found[s] for s in plan.of_pair(a, b)]
    return np.array(rows)


def noise_from_splits(field: Field, bins: Bins, lmax: int, depth: Array | None = None) -> Noise:
    """Measure the noise of a field from its splits: mean auto- minus mean cross-spectrum.

    The same sky is in both, so no theory is needed. One level for all splits, E and B alike.

    Parameters
    ----------
    depth : ndarray, shape (npix,), optional
        Relative variance of the pixels, see :class:`~cmbfit.spectra.fields.Noise`.
    """
    split_pairs(field, field)
    # the noise of Q and U does not depend on the estimator
    return split_noise(field, field_alms(replace(field, purify_b=False), lmax), bins, depth)


def split_noise(field: Field, alms: Sequence[FieldAlms], bins: Bins, depth: Array | None) -> Noise:
    """Return the noise of :func:`noise_from_splits` of coefficients that are at hand.

    The mean auto- minus the mean cross-spectrum of splits is their sample variance, so it is never negative.
    """
    cross = mean_pseudo(alms)
    autos = [pseudo_spectra(x, x) for x in alms]
    padded = bins.padded(alms[0].lmax)
    level = {}
    for s in ("tt", "ee", "bb"):
        weights = field.mask_of(s[0]).weights ** 2
        norm = field.mask.grid.mean(weights if depth is None else weights * depth)
        found = bin_means(np.mean([a[s] for a in autos], axis=0) - cross[s], padded) / norm
        level[s] = interpolate(found, padded, alms[0].lmax)
    return Noise(level["tt"], 0.5 * (level["ee"] + level["bb"]), depth)
