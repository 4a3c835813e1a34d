"""Two-point functions of the lowest multipoles of masked fields by linear algebra, where closed forms fail.

:mod:`cmbfit.spectra.correlations` takes kernels as narrow beside the multipole. At the lowest ones they are as wide, and
with E a hundred times B the closed form's remainder is larger than the variance of B, which can come out negative.
Up to some l no approximation is needed: a masked field is a linear map of the sky's coefficients,

    <p~ q~^T> = sum_yu K_i^py C^yu K_k^qu^T,   Cov(C~_l^XY, C~_l'^ZW) = sum_mm' (G^XZ G^YW + G^XW G^YZ) / ((2 l + 1)(2 l' + 1)),

a covariance of quadratic forms of Gaussian numbers, so positive for any spectrum. K is computed on a grid as coarse as
these multipoles (:class:`~cmbfit.spectra.grid.Grid`) and holds what a fit of templates takes away. The sky above the
sum's last multipole S counts as white, half E and half B, for which the sum over all multipoles is that of w_i w_k.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cmbfit.sky.harmonic import Alm, alm_size, map2alm
from cmbfit.sky.maps import Array, Mask
from cmbfit.spectra.coincidences import coincidences
from cmbfit.spectra.correlations import FieldCorrelations
from cmbfit.spectra.fields import Field
from cmbfit.spectra.filters import FilteredModes
from cmbfit.spectra.grid import Grid
from cmbfit.spectra.master import seen, spectrum_of
from cmbfit.spectra.multi import Entry

_LEAST, _MOST = 10, 24
_DEGREES = 640.0
"""l times the radius of the cap of equal area, in degrees, up to which closed forms are not trusted."""


def exact_lmax(fields: list[Field], lmax: int) -> int:
    """Return up to which l the linear algebra is worth its cost: the smaller the sky, the wider its kernels."""
    sky = min(f.mask_of(x).fsky_modes for f in fields for x in "te")
    radius = np.degrees(np.arccos(1 - 2 * sky))
    return min(lmax, int(np.clip(round(_DEGREES / radius), _LEAST, _MOST)))


def real_basis(lmax: int) -> tuple[NDArray[np.int64], NDArray[np.complex128]]:
    """Return, in the order of l, the index of a_lm and u with the real coefficients Re(u* a_lm) of norm one.

    u is 1 for m = 0, and sqrt 2 and i sqrt 2 for m > 0: (2 l + 1) numbers for each l.
    """
    root = 2**0.5
    rows = [
        (deg, m * (2 * lmax + 1 - m) // 2 + deg, unit)
        for deg in range(lmax + 1)
        for m in range(deg + 1)
        for unit in ((1.0,) if m == 0 else (root, 1j * root))
    ]
    return np.array([r[1] for r in rows]), np.array([r[2] for r in rows], dtype=np.complex128)


def real_coefficients(alm: Alm, lmax: int, top: int) -> Array:
    """Return the real coefficients up to `top` of a_lm given up to `lmax`, shape (..., (top + 1)^2)."""
    index, unit = real_basis(lmax)
    keep = (top + 1) ** 2
    return np.ascontiguousarray((alm[..., index[:keep]] * unit[:keep].conj()).real)


class Kernels:
    """K of one weight between multipoles up to l1 and up to l2, in real coefficients.

    Attributes
    ----------
    k0 : ndarray, shape ((l1 + 1)^2, (l2 + 1)^2)
        Of T.
    plus, minus : ndarray
        Of E to E and B to B; of E's response to B, minus that of B to E.
    """

    def __init__(self, weights: Array, l1: int, l2: int, *, spins: str = "te", nthreads: int = 1) -> None:
        grid = Grid(map2alm(weights[None], l1 + l2, 0, 0, nthreads)[0], l1, l2, nthreads)
        index, unit = real_basis(l1)
        shape = (l1 + 1) ** 2, (l2 + 1) ** 2
        self.k0, self.plus, self.minus = (np.zeros(shape) for _ in range(3))
        for n, (k, u) in enumerate(zip(index, unit, strict=True)):
            alm = np.zeros((2, alm_size(l1)), dtype=np.complex128)
            alm[0, k] = u / abs(u) ** 2
            if "t" in spins:
                self.k0[n] = real_coefficients(grid.apply(alm[:1], 0, l2)[0], l2, l2)
            if "e" in spins and n >= 4:  # no E or B at l = 0 and 1
                e, b = real_coefficients(grid.apply(alm, 2, l2), l2, l2)
                self.plus[n], self.minus[n] = e, b

    def of(self, out: str, source: str) -> Array | None:
        """Return K of "t", "e" or "b" from "t", "e" or "b"; None where T meets polarisation."""
        if "t" in (out, source):
            return self.k0 if out == source else None
        return self.plus if out == source else self.minus if out == "e" else -self.minus


class LowMultipoles:
    """Exact covariances of pseudo-spectra up to lmax.

    Parameters
    ----------
    corr : FieldCorrelations
        Fields with noise, signal, masks.
    lmax : int
        At most that of `corr`.
    """

    def __init__(self, corr: FieldCorrelations, lmax: int, nthreads: int = 1) -> None:
        self._corr = corr
        self.lmax = lmax
        self._top = min(2 * lmax + 20, corr.lmax)
        self._nthreads = nthreads
        self._kernels: dict[object, Kernels] = {}
        self._sources: dict[tuple[str, str], dict[str, Array]] = {}
        self._known: dict[tuple[object, ...], Array] = {}

    def holds(self, entry: Entry) -> bool:
        """Return whether a pseudo-spectrum has no pure B: that is not a masked field."""
        fields = self._corr.fields
        sides = zip(entry.spectrum, (entry.a, entry.b), strict=True)
        return not any(x == "b" and fields[n].purify_b for x, n in sides)

    def _kernel(self, mask: Mask) -> Kernels:
        label = self._corr.mask_label(mask)
        if label not in self._kernels:
            self._kernels[label] = Kernels(mask.weights, self.lmax, self._top, nthreads=self._nthreads)
        return self._kernels[label]

    def _product(self, weights: Array, key: object) -> Kernels:
        if key not in self._kernels:
            self._kernels[key] = Kernels(weights, self.lmax, self.lmax, nthreads=self._nthreads)
        return self._kernels[key]

    def _rows(self, name: str, x: str) -> dict[str, Array]:
        """Return K of a field, what its filters take included, for each source."""
        if (name, x) not in self._sources:
            f = self._corr.fields[name]
            kernel = self._kernel(f.mask_of(x))
            out = {y: k for y in "teb" if (k := kernel.of(x, y)) is not None}
            if f.filters is not None and len(f.filters.of(x)[0]):
                modes = FilteredModes(f, x, self._top, self._nthreads)
                g = real_coefficients(modes.g[:, modes.letters.index(x)], self._top, self.lmax)
                for n, y in enumerate(modes.letters):
                    out[y] = out[y] - g.T @ real_coefficients(modes.u[:, n], self._top, self._top)
            self._sources[name, x] = out
        return self._sources[name, x]

    def _sky(self, p: str, i: str, q: str, k: str) -> Array:
        """Return <p~_i q~_k^T> of the sky."""
        one, two = self._corr.fields[i], self._corr.fields[k]
        size = self._corr.lmax + 1
        beams = one.transfer.cut(size - 1), two.transfer.cut(size - 1)
        cl: dict[str, Array] = {}
        for y in self._rows(i, p):
            for u in self._rows(k, q):
                for source, gain in seen(y + u, *beams):
                    values = spectrum_of(self._corr.signal, source)
                    if values is not None:
                        cl[y + u] = cl.get(y + u, 0.0) + gain * values[:size]
        return self._sum(p, i, q, k, cl)

    def _sum(self, p: str, i: str, q: str, k: str, cl: dict[str, Array]) -> Array:
        one, two = self._rows(i, p), self._rows(k, q)
        degrees = np.repeat(np.arange(self._top + 1), 2 * np.arange(self._top + 1) + 1)
        size = (self.lmax + 1) ** 2
        total = np.zeros((size, size))
        if ("t" in (p, q)) != (p == q == "t"):  # T with polarisation: what lies above averages out
            white = 0.0
        else:
            white = float(np.mean([cl[y + y][self._top] if y + y in cl else 0.0 for y in one]))
        for y, left in one.items():
            for u, right in two.items():
                values = cl.get(y + u, np.zeros(self._top + 1))[degrees] - white * (y == u)
                if values.any():
                    total += (left * values) @ right.T
        if white:
            f, g = self._corr.fields[i].mask_of(p), self._corr.fields[k].mask_of(q)
            labels = sorted((self._corr.mask_label(f), self._corr.mask_label(g)))
            found = self._product(f.weights * g.weights, ("product", *labels)).of(p, q)
            if found is not None:
                total += white * found
        return total

    def _noise(self, p: str, q: str, i: str, index: int) -> Array | None:
        """Return <p~ q~^T> of the noise of one split; None for T with polarisation."""
        f = self._corr.fields[i]
        noise, mask = f.noise_of(index), f.mask_of(p)
        if ("t" in (p, q)) and p != q:
            return None
        level = noise.of(p)[: self._corr.lmax + 1]
        if noise.depth is None:
            return self._sum(p, i, q, i, {x + x: level for x in ("t" if p == "t" else "eb")})
        key = "depth", self._corr.mask_label(mask), id(noise.depth)
        kernel = self._product(mask.weights**2 * noise.depth, key).of(p, q)
        degrees = np.repeat(np.arange(self.lmax + 1), 2 * np.arange(self.lmax + 1) + 1)
        return None if kernel is None else kernel * 0.5 * np.add.outer(level[degrees], level[degrees])

    def sky(self, one: tuple[str, str], two: tuple[str, str]) -> Array:
        """Return <p~_i q~_k^T> of the sky for (p, i) and (q, k)."""
        if two < one:
            return self.sky(two, one).T
        key = "sky", *one, *two
        if key not in self._known:
            self._known[key] = self._sky(*one, *two)
        return self._known[key]

    def noise(self, one: tuple[str, str], two: tuple[str, str], index: int | None) -> Array | None:
        """Return the same of the noise of one split of a field; None for none."""
        if index is None:
            return None
        key = "noise", one[0], two[0], one[1], index
        if key not in self._known:
            made = self._noise(one[0], two[0], one[1], index)
            self._known[key] = np.zeros(0) if made is None else made
        return self._known[key] if self._known[key].size else None

    def covariance(self, first: Entry, second: Entry) -> Array:
        """Return the covariance of two split-averaged pseudo-spectra, shape (lmax + 1, lmax + 1)."""
        x, y = (first.spectrum[0], first.a), (first.spectrum[1], first.b)
        z, w = (second.spectrum[0], second.a), (second.spectrum[1], second.b)
        total = 0.0
        direct, crossed = coincidences(self._corr, first, second)
        for (one, two), counts in ((((x, z), (y, w)), direct), (((x, w), (y, z)), crossed)):
            s1, s2 = self.sky(*one), self.sky(*two)
            total = total + s1 * s2
            for (n1, n2), share in counts.items():
                t1, t2 = self.noise(*one, n1), self.noise(*two, n2)
                if t1 is not None:
                    total = total + share * t1 * s2
                if t2 is not None:
                    total = total + share * s1 * t2
                if t1 is not None and t2 is not None:
                    total = total + share * t1 * t2
        degrees = np.arange(self.lmax + 1)
        summed = np.add.reduceat(np.add.reduceat(total, degrees**2, axis=0), degrees**2, axis=1)
        return np.asarray(summed / np.outer(2 * degrees + 1, 2 * degrees + 1))
