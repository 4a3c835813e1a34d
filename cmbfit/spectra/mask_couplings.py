"""Couplings of masks: each pair of masks is transformed once, whatever fields and spectra it serves."""

from __future__ import annotations

from collections.abc import Iterable

from cmbfit.sky.harmonic import alm2cl, map2alm
from cmbfit.sky.maps import Mask
from cmbfit.spectra.coupling import Coupling, PairCoupling
from cmbfit.spectra.fields import Field, same_mask
from cmbfit.spectra.transforms import require_same_grid


class MaskCouplings:
    """The coupling matrices of all pairs of masks that fields need.

    Parameters
    ----------
    lmax : int
    nthreads : int
        For transforms and couplings.
    """

    def __init__(self, lmax: int, nthreads: int = 1) -> None:
        self.lmax, self.nthreads = lmax, nthreads
        self.masks: list[Mask] = []
        self._found: dict[tuple[int, int], Coupling] = {}

    def label(self, mask: Mask) -> int:
        """Return the index in `masks` of the first mask with these weights."""
        for k, known in enumerate(self.masks):
            if same_mask(known, mask):
                return k
        self.masks.append(mask)
        return len(self.masks) - 1

    def find(self, pairs: Iterable[tuple[Mask, Mask]]) -> None:
        """Compute the cross-spectra of pairs of masks that are not there yet: each mask is transformed once."""
        keys = dict.fromkeys(self._key(one, two) for one, two in pairs)
        wanted = [key for key in keys if key not in self._found]
        for first, second in wanted:
            require_same_grid(self.masks[first], self.masks[second])
        # coefficients are large and not kept
        alms = {
            k: map2alm(self.masks[k].weights[None], 2 * self.lmax, 0, 0, self.nthreads, self.masks[k].grid)[0]
            for k in sorted({k for key in wanted for k in key})
        }
        for first, second in wanted:
            spectrum = alm2cl(alms[first], alms[second])
            self._found[first, second] = Coupling(spectrum, self.lmax, nthreads=self.nthreads)

    def _key(self, one: Mask, two: Mask) -> tuple[int, int]:
        first, second = sorted((self.label(one), self.label(two)))
        return first, second

    def of(self, one: Mask, two: Mask) -> Coupling:
        """Return the coupling of the cross-spectrum of two masks."""
        self.find([(one, two)])
        return self._found[self._key(one, two)]

    def find_pairs(self, pairs: Iterable[tuple[Field, Field]]) -> None:
        """Compute what :meth:`pair` will give for pairs of fields."""
        self.find((a.mask_of(x), b.mask_of(y)) for a, b in pairs for x in "te" for y in "te")

    def pair(self, one: Field, two: Field) -> Coupling | PairCoupling:
        """Return the couplings of the masks of two fields."""
        if all(self.label(f.mask) == self.label(f.mask_of("e")) for f in (one, two)):
            return self.of(one.mask, two.mask)
        return PairCoupling(*(self.of(one.mask_of(x), two.mask_of(y)) for x in "te" for y in "te"))
