"""Couplings of masks: each pair of masks is transformed once, whatever fields and spectra it serves."""

from __future__ import annotations

from cmbfit.sky.maps import Mask
from cmbfit.spectra.coupling import Coupling, PairCoupling
from cmbfit.spectra.fields import Field, same_mask
from cmbfit.spectra.transforms import mask_cross_spectrum


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

    def of(self, one: Mask, two: Mask) -> Coupling:
        """Return the coupling of the cross-spectrum of two masks."""
        first, second = sorted((self.label(one), self.label(two)))
        if (first, second) not in self._found:
            spectrum = mask_cross_spectrum(
                self.masks[first], self.masks[second], 2 * self.lmax, self.nthreads
            )
            self._found[first, second] = Coupling(spectrum, self.lmax, nthreads=self.nthreads)
        return self._found[first, second]

    def pair(self, one: Field, two: Field) -> Coupling | PairCoupling:
        """Return the couplings of the masks of two fields."""
        if all(self.label(f.mask) == self.label(f.mask_of("e")) for f in (one, two)):
            return self.of(one.mask, two.mask)
        return PairCoupling(*(self.of(one.mask_of(x), two.mask_of(y)) for x in "te" for y in "te"))
