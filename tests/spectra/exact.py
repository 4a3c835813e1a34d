"""Exact covariances of pseudo-spectra by linear algebra at low resolution: Wick's theorem, no approximation, no scatter.

A masked sky is a linear map of the real coefficients of T, E and B; its two-point function is G = K C K^T, and
Cov(C~_l^XY, C~_l'^ZW) = sum_mm' (G^XZ G^YW + G^XW G^YZ) / ((2 l + 1)(2 l' + 1)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from cmbfit.sky import Mask, StokesMap
from cmbfit.sky.harmonic import alm2stokes, alm_size
from cmbfit.spectra.transforms import FieldAlms, masked_alms

Analysis = Callable[[StokesMap, Mask, int], FieldAlms]


def real_basis(lmax: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for the (lmax + 1)^2 real coefficients in the order of l: l, the index of a_lm, and u with Re(u* a_lm).

    u is 1 for m = 0, and sqrt 2 and i sqrt 2 for the real and imaginary parts of m > 0.
    """
    rows = [
        (deg, m * (2 * lmax + 1 - m) // 2 + deg, unit)
        for m in range(lmax + 1)
        for deg in range(m, lmax + 1)
        for unit in ((1.0,) if m == 0 else (2**0.5, 1j * 2**0.5))
    ]
    rows.sort(key=lambda row: row[0])
    ell, index, unit = zip(*rows, strict=True)
    return np.array(ell), np.array(index), np.array(unit)


@dataclass
class Exact:
    """Kernels of one mask and one way of taking coefficients.

    Attributes
    ----------
    kernel : ndarray, shape (3 n, 3 n)
        From the real T, E, B coefficients of the sky to those of the masked sky.
    pixels : ndarray, shape (3 n, 3, number of pixels seen), optional
        From pixels of I, Q, U inside the mask, for noise.
    seen : ndarray of bool, shape (npix,), optional
        Which pixels these are.
    """

    lmax: int
    kernel: np.ndarray = field(repr=False)
    pixels: np.ndarray | None = field(default=None, repr=False)
    seen: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls, mask: Mask, lmax: int, analyse: Analysis = masked_alms, *, sky: str = "teb", noise: bool = False
    ) -> Exact:
        """Return the kernels for a sky of the fields in `sky`, all others zero."""
        ell, index, unit = real_basis(lmax)
        n, npix = ell.size, mask.weights.size

        def column(iqu: np.ndarray) -> np.ndarray:
            a = analyse(StokesMap(*iqu, coord=mask.coord), mask, lmax)
            return (np.stack([a.t, a.e, a.b])[:, index] * unit.conj()).real.ravel()

        kernel = np.zeros((3 * n, 3 * n))
        for x in ("teb".index(letter) for letter in sky):
            for k in range(n):
                teb = np.zeros((3, alm_size(lmax)), dtype=complex)
                teb[x, index[k]] = unit[k] / np.abs(unit[k]) ** 2
                kernel[:, x * n + k] = column(alm2stokes(teb, mask.nside))
        pixels = None
        if noise:
            seen = np.flatnonzero(mask.support)
            pixels = np.zeros((3 * n, 3, seen.size))
            for x in range(3):
                for k, p in enumerate(seen):
                    iqu = np.zeros((3, npix))
                    iqu[x, p] = 1
                    pixels[:, x, k] = column(iqu)
        return cls(lmax, kernel, pixels, mask.support)

    def correlation(
        self, other: Exact, cl: Mapping[str, np.ndarray], variance: np.ndarray | None = None
    ) -> np.ndarray:
        """Return G, shape (3, n, 3, n), of C_l (beams included), plus pixel noise of a variance (3, npix)."""
        ell = real_basis(self.lmax)[0]
        n = ell.size
        signal = np.zeros((3 * n, other.kernel.shape[0]))
        for x, p in enumerate("teb"):
            for y, q in enumerate("teb"):
                values = cl.get(p + q, cl.get(q + p))
                if values is not None:
                    signal[x * n : (x + 1) * n] += (
                        values[ell][:, None] * other.kernel[:, y * n : (y + 1) * n].T
                    )
        total = self.kernel @ signal
        if variance is not None:
            total += (self.pixels * variance[:, self.seen]).reshape(3 * n, -1) @ other.pixels.reshape(
                3 * n, -1
            ).T
        return total.reshape(3, n, 3, n)


def pseudo_covariance(
    lmax: int, first: str, second: str, g: Mapping[tuple[str, str], np.ndarray]
) -> np.ndarray:
    """Return Cov(C~_l^first, C~_l'^second), shape (lmax + 1, lmax + 1).

    Parameters
    ----------
    first, second : str
        Spectra with maps, such as "e a b c": E of map a times B of map c.
    g : mapping (map, map) -> ndarray
        Of :meth:`Exact.correlation`.
    """
    (x, i, y, j), (z, k, w, m) = first.split(), second.split()
    index = "teb".index

    def part(p: str, a: str, q: str, b: str) -> np.ndarray:
        return g[a, b][index(p), :, index(q)] if (a, b) in g else g[b, a][index(q), :, index(p)].T

    product = part(x, i, z, k) * part(y, j, w, m) + part(x, i, w, m) * part(y, j, z, k)
    ell = np.arange(lmax + 1)
    start = ell**2
    summed = np.add.reduceat(np.add.reduceat(product, start, axis=0), start, axis=1)
    return summed / np.outer(2 * ell + 1, 2 * ell + 1)
