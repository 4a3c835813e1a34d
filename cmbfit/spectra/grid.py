"""A Gauss-Legendre grid on which the product of a weight and two band-limited fields is integrated exactly."""

from __future__ import annotations

import ducc0
import numpy as np

from cmbfit.sky.harmonic import Alm, change_lmax, lmax_of


class Grid:
    """Multiplication by a weight between fields up to l1 and up to l2.

    Only multipoles of the weight up to l1 + l2 join such fields, so the grid needs no pixel of the map: large
    scales cost the same whatever nside is.

    Parameters
    ----------
    weight : ndarray, shape (coefficients,)
        Of the weight, from pixel sums as mask spectra are; multipoles beyond the given ones count as zero.
    l1, l2 : int
    """

    def __init__(self, weight: Alm, l1: int, l2: int, nthreads: int = 1) -> None:
        top = l1 + l2
        self._shape = {"ntheta": top + 1, "nphi": ducc0.fft.good_size(2 * top + 1, True)}
        self._nthreads = nthreads
        self.weight = self._synthesis(change_lmax(weight, top)[None], 0)

    def _synthesis(self, alm: Alm, spin: int) -> np.ndarray:
        return ducc0.sht.synthesis_2d(
            alm=np.ascontiguousarray(alm), spin=spin, lmax=lmax_of(alm), geometry="GL", nthreads=self._nthreads,
            **self._shape,
        )  # fmt: skip

    def apply(self, alm: Alm, spin: int, lmax: int) -> Alm:
        """Return the coefficients up to lmax of the weight times a field.

        Parameters
        ----------
        alm : ndarray, shape (1 or 2, coefficients)
            Of T, or of E and B.
        """
        if lmax_of(alm) < spin:
            alm = change_lmax(alm, spin)
        return ducc0.sht.analysis_2d(
            map=self.weight * self._synthesis(alm, spin), spin=spin, lmax=max(lmax, spin), geometry="GL",
            nthreads=self._nthreads,
        )  # fmt: skip
