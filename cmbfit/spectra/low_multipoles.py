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

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from cmbfit.sky.harmonic import Alm, alm_size, lmax_of, map2alm
from cmbfit.sky.maps import Array
from cmbfit.sky.pixelisation import Pixelisation
from cmbfit.spectra.binning import dl_factor
from cmbfit.spectra.coincidences import coincidences
from cmbfit.spectra.correlations import FieldCorrelations
from cmbfit.spectra.filters import FilteredModes, FilterResponse
from cmbfit.spectra.grid import Grid
from cmbfit.spectra.master import Spectra, seen, spectrum_of
from cmbfit.spectra.multi import Entry

_REACH = 20
"""Beyond the last exact multipole: the width of kernels."""

_LEAST, _MOST = 10, 16
_DEGREES = 450.0
"""l times the radius of the cap of equal area, in degrees, up to which closed forms are not trusted."""

_LEAKED, _LEAKED_MOST = 0.4, 30
"""Share of E in the masked B above which closed forms of EB and TB are off by more than a tenth, and up to which l."""

_TAKEN = 0.1
"""Share of the power of T, or of E and B, taken by a fit of templates above which closed forms are not trusted."""

_PAIRS = 4
"""Pairs of fields with masks or beams of their own for which the most is done: the cost is that of low^4 pairs."""


def exact_lmax(corr: FieldCorrelations) -> int:
    """Return up to which l the linear algebra is worth its cost.

    The smaller the sky, the wider its kernels. Where much of the masked B is leaked E, the closed form of EB is a
    difference of nearly equal numbers, and where a fit of templates takes large scales away the modes left are few: exact up to l = 30, less where many fields make that expensive.
    """
    masks = {id(m): m for f in corr.fields.values() for m in (f.mask, f.mask_of("e"))}
    sky = min(m.fsky_modes for m in masks.values())
    radius = np.degrees(np.arccos(1 - 2 * sky))
    low = int(np.clip(round(_DEGREES / radius), _LEAST, _MOST))
    pairs = len({alike(corr, name) for name in corr.fields}) ** 2
    affordable = [k for k in range(low, _LEAKED_MOST + 1) if _work(k) * pairs <= _work(_LEAKED_MOST) * _PAIRS]
    wanted = max(leaked_lmax(corr), filtered_lmax(corr))
    return min(corr.lmax, max([low, *(k for k in affordable if k <= wanted)]))


def filtered_lmax(corr: FieldCorrelations) -> int:
    """Return the highest l, up to 30, at which a fit of templates takes a tenth of the power of T, or of E and B; 0 for none."""
    top = min(corr.lmax, 2 * _LEAKED_MOST)
    found = 0
    for name in {alike(corr, name) for name in corr.fields}:
        field = corr.fields[name]
        for x, kind in (("t", "x00"), ("e", "xpp")):
            if field.filters is None or not len(field.filters.of(x)[0]):
                continue
            c = corr.coupling_of(name, x)
            flat = np.divide(
                1.0, dl_factor(corr.lmax), out=np.zeros(corr.lmax + 1), where=np.arange(corr.lmax + 1) > 1
            )
            modes = np.asarray((2 * np.arange(corr.lmax + 1) + 1) * flat, dtype=np.float64)
            plain = c.times(kind, modes)
            share = 0.5 * FilterResponse(field, field, top).share(x + x, plain[: top + 1])  # of both sides
            found = max([found, *np.flatnonzero(share[: _LEAKED_MOST + 1] > _TAKEN).tolist()])
    return found


def _work(low: int) -> int:
    return ((low + 1) * (low + _REACH + 1)) ** 2


def leaked_lmax(corr: FieldCorrelations) -> int:
    """Return the highest l, up to 30, at which 40 % of the masked B of a field are leaked E; 0 for none."""
    top = min(corr.lmax, _LEAKED_MOST)
    shares = [corr.leaked_share(name)[: top + 1] for name in corr.fields]
    return int(max(np.flatnonzero(np.max(shares, axis=0) > _LEAKED), default=0))


def leakage_note(corr: FieldCorrelations, low: int) -> list[str]:
    """Return what is to be said where closed forms stand although much of the masked B is leaked E."""
    top = leaked_lmax(corr)
    if top <= low:
        return []
    note = f"errors of EB, TB and BB at l {low + 1}-{top} may be off by up to a third: much of the masked B is leaked E there; "
    return [note + "take fewer fields at once, pure B, or simulations"]


def alike(corr: FieldCorrelations, name: str) -> str:
    """Return the first field with these masks, beams and filters: maps of one instrument are done once."""
    f = corr.fields[name]
    labels = [corr.mask_label(f.mask_of(x)) for x in "te"]
    for other, g in corr.fields.items():
        same = [corr.mask_label(g.mask_of(x)) for x in "te"] == labels and g.iterations == f.iterations
        if same and g.filters is f.filters and g.transfer.equals(f.transfer):
            return other
    return name


def degrees_of(lmax: int) -> NDArray[np.int64]:
    """Return the l of each real coefficient."""
    return np.repeat(np.arange(lmax + 1), 2 * np.arange(lmax + 1) + 1)


@lru_cache(maxsize=16)
def real_basis(lmax: int, alm_lmax: int) -> tuple[NDArray[np.int64], Array]:
    """Return, in the order of l, the place of each real coefficient of norm one among the parts of the a_lm, and its scale.

    These are a_l0, sqrt 2 Re a_lm and sqrt 2 Im a_lm: (2 l + 1) numbers for each l. The a_lm reach `alm_lmax`.
    """
    rows = [
        (2 * (m * (2 * alm_lmax + 1 - m) // 2 + deg) + part, 1.0 if m == 0 else 2**0.5)
        for deg in range(lmax + 1)
        for m in range(deg + 1)
        for part in ((0,) if m == 0 else (0, 1))
    ]
    return np.array([r[0] for r in rows]), np.array([r[1] for r in rows])


def real_coefficients(alm: Alm, lmax: int) -> Array:
    """Return the real coefficients up to lmax of a_lm that reach at least as far, shape (..., (lmax + 1)^2)."""
    place, scale = real_basis(lmax, lmax_of(alm))
    out: Array = np.ascontiguousarray(alm).view(np.float64)[..., place]
    out *= scale
    return out


def complex_coefficients(values: Array, lmax: int) -> Alm:
    """Return the a_lm of real coefficients, the inverse of :func:`real_coefficients`."""
    place, scale = real_basis(lmax, lmax)
    out = np.zeros((*values.shape[:-1], alm_size(lmax)), dtype=np.complex128)
    out.view(np.float64)[..., place] = values / scale
    return out


class Kernels:
    """K of one weight between multipoles up to l1 and up to l2, in real coefficients.

    Attributes
    ----------
    k0 : ndarray, shape ((l1 + 1)^2, (l2 + 1)^2)
        Of T.
    plus, minus : ndarray
        Of E to E and B to B; of E's response to B, minus that of B to E.
    """

    def __init__(self, weights: Array, pixels: Pixelisation, l1: int, l2: int, nthreads: int = 1) -> None:
        grid = Grid(map2alm(weights[None], l1 + l2, 0, 0, nthreads, pixels)[0], l1, l2, nthreads)
        rows = complex_coefficients(np.eye((l1 + 1) ** 2), l1)
        made = [
            grid.apply(np.stack([row, np.zeros_like(row)]), 2, l2) for row in rows[4:]
        ]  # no E, B at l = 0, 1
        self.k0 = real_coefficients(np.array([grid.apply(row[None], 0, l2)[0] for row in rows]), l2)
        self.plus, self.minus = np.zeros_like(self.k0), np.zeros_like(self.k0)
        self.plus[4:], self.minus[4:] = np.moveaxis(real_coefficients(np.array(made), l2), 1, 0)

    def of(self, out: str, source: str) -> Array | None:
        """Return K of "t", "e" or "b" from "t", "e" or "b"; None where T meets polarisation."""
        if "t" in (out, source):
            return self.k0 if out == source else None
        return self.plus if out == source else self.minus if out == "e" else -self.minus


class LowMultipoles:
    """Exact covariances of pseudo-spectra up to lmax with those up to `reach`.

    The lowest multipoles are correlated with those above, which a bandpower subtracts: closed forms between the two
    would give correlations above one.

    Parameters
    ----------
    corr : FieldCorrelations
        Fields with noise, signal, masks.
    lmax : int
        At most that of `corr`.

    Attributes
    ----------
    reach : int
    """

    def __init__(self, corr: FieldCorrelations, lmax: int, nthreads: int = 1) -> None:
        self._corr = corr
        self.lmax = lmax
        self.reach = min(lmax + _REACH, corr.lmax)
        self._top = min(self.reach + 20, corr.lmax)
        self._nthreads = nthreads
        self._kernels: dict[object, Kernels] = {}
        self._grids: dict[int, Grid] = {}
        self._modes: dict[tuple[str, str], FilteredModes] = {}
        self._sources: dict[tuple[str, str], dict[str, Array]] = {}
        self._sky: dict[tuple[str, ...], dict[str, Array]] = {}
        self._noise: dict[tuple[str, str, int], dict[str, Array]] = {}

    def holds(self, entry: Entry) -> bool:
        """Return whether a pseudo-spectrum has no pure B: that is not a masked field."""
        fields = self._corr.fields
        sides = zip(entry.spectrum, (entry.a, entry.b), strict=True)
        return not any(x == "b" and fields[n].purify_b for x, n in sides)

    def _kernel(self, weights: Array, key: object, top: int) -> Kernels:
        if key not in self._kernels:
            self._kernels[key] = Kernels(weights, self._corr.grid, self.lmax, top, self._nthreads)
        return self._kernels[key]

    def _filtered(self, name: str, x: str) -> FilteredModes | None:
        f = self._corr.fields[name]
        if f.filters is None or not len(f.filters.of(x)[0]):
            return None
        key = name, "t" if x == "t" else "eb"
        if key not in self._modes:
            self._modes[key] = FilteredModes(f, x, self._top, self._nthreads)
        return self._modes[key]

    def _rows(self, name: str, x: str) -> dict[str, Array]:
        """Return K of a field, what its filters take included, for each source."""
        if (name, x) not in self._sources:
            mask = self._corr.fields[name].mask_of(x)
            kernel = self._kernel(mask.weights, self._corr.mask_label(mask), self._top)
            out = {y: k for y in "teb" if (k := kernel.of(x, y)) is not None}
            if (modes := self._filtered(name, x)) is not None:
                g = real_coefficients(modes.g[:, modes.letters.index(x)], self.lmax)
                for n, y in enumerate(modes.letters):
                    out[y] = out[y] - g.T @ real_coefficients(modes.u[:, n], self._top)
            self._sources[name, x] = out
        return self._sources[name, x]

    def _seen(self, sky: dict[str, Array], name: str, x: str) -> dict[str, Array]:
        """Return the masked field "t", or "e" and "b", of skies given as real coefficients of T, E, B, up to `reach`.

        Parameters
        ----------
        sky : mapping letter -> ndarray, shape (skies, (top + 1)^2)
        """
        mask, letters = self._corr.fields[name].mask_of(x), "t" if x == "t" else "eb"
        label = self._corr.mask_label(mask)
        if label not in self._grids:
            alm = map2alm(
                mask.weights[None],
                min(self._top + self.reach, 2 * self._corr.lmax),
                0,
                0,
                self._nthreads,
                mask.grid,
            )[0]
            self._grids[label] = Grid(alm, self._top, self.reach, self._nthreads)
        found = np.array([
            self._grids[label].apply(alm, 0 if x == "t" else 2, self.reach)
            for alm in complex_coefficients(np.stack([sky[y] for y in letters], axis=1), self._top)
        ])  # fmt: skip
        out = {y: real_coefficients(found[:, n], self.reach) for n, y in enumerate(letters)}
        if (modes := self._filtered(name, x)) is not None:
            fitted = sum(
                sky[y] @ real_coefficients(modes.u[:, n], self._top).T for n, y in enumerate(modes.letters)
            )
            for n, y in enumerate(modes.letters):
                out[y] = out[y] - fitted @ real_coefficients(modes.g[:, n], self.reach)
        return out

    def _correlate(self, p: str, i: str, group: str, k: str, cl: Spectra) -> dict[str, Array]:
        """Return <p~_i q~_k^T> for each q of a group "t" or "e", for the C_l of two maps before their masks.

        What is white above the sum (the sky beyond lmax counts as none) is kept whole by a fit of templates.
        """
        rows = self._rows(i, p)
        letters = "t" if group == "t" else "eb"
        same = (p == "t") == (group == "t")  # else what lies above the sum averages out
        beyond = same and self._top < self._corr.lmax
        white = (
            float(np.mean([cl[y + y][self._top] for y in letters if y + y in cl] or [0.0])) if beyond else 0.0
        )
        degrees = degrees_of(self._top)
        sky = {
            u: sum(
                (left * (cl.get(y + u, np.zeros(self._top + 1))[degrees] - white * (y == u)) for y, left in rows.items()),
                start=np.zeros(next(iter(rows.values())).shape),
            )
            for u in letters
        }  # fmt: skip
        out = self._seen(sky, k, group)
        if white:
            f, g = self._corr.fields[i].mask_of(p), self._corr.fields[k].mask_of(group)
            key = "product", *sorted((self._corr.mask_label(f), self._corr.mask_label(g)))
            both = self._kernel(f.weights * g.weights, key, self.reach)
            for q in letters:
                if (more := both.of(p, q)) is not None:
                    out[q] = out[q] + white * more
        return out

    def sky(self, p: str, i: str, q: str, k: str) -> Array:
        """Return <p~_i q~_k^T> of the sky, shape ((lmax + 1)^2, (reach + 1)^2)."""
        group = "t" if q == "t" else "e"
        key = p, alike(self._corr, i), group, alike(self._corr, k)
        if key not in self._sky:
            one, two = self._corr.fields[i], self._corr.fields[k]
            size = self._corr.lmax + 1
            beams = one.transfer.cut(size - 1), two.transfer.cut(size - 1)
            cl: dict[str, Array] = {}
            for y in "t" if p == "t" else "eb":
                for u in "t" if q == "t" else "eb":
                    for source, gain in seen(y + u, *beams):
                        values = spectrum_of(self._corr.signal, source)
                        if values is not None:
                            cl[y + u] = cl.get(y + u, 0.0) + gain * values[:size]
            self._sky[key] = self._correlate(p, i, group, k, cl)
        return self._sky[key][q]

    def noise(self, p: str, q: str, i: str, index: int | None) -> Array | None:
        """Return the same of the noise of one split of a field; None for none, or T with polarisation.

        N_l is that of masked maps, so it is a factor, and exact where it is white; filters count as taking none of it.
        """
        if index is None or (p == "t") != (q == "t"):
            return None
        key = p, alike(self._corr, i), id(self._corr.fields[i].noise_of(index))
        if key not in self._noise:
            noise, mask = self._corr.fields[i].noise_of(index), self._corr.fields[i].mask_of(p)
            level = noise.of(p)[: self._corr.lmax + 1]
            label = self._corr.mask_label(mask)
            depth, of = (
                (1.0, ("product", label, label))
                if noise.depth is None
                else (noise.depth, ("depth", label, id(noise.depth)))
            )
            kernel = self._kernel(mask.weights**2 * depth, of, self.reach)
            one, two = level[degrees_of(self.lmax)], level[degrees_of(self.reach)]
            self._noise[key] = {
                x: 0.5 * np.add.outer(one, two) * k
                for x in ("t" if p == "t" else "eb")
                if (k := kernel.of(p, x)) is not None
            }
        return self._noise[key][q]

    def covariance(self, first: Entry, second: Entry) -> Array:
        """Return the covariance of two split-averaged pseudo-spectra, shape (lmax + 1, reach + 1)."""
        x, y = (first.spectrum[0], first.a), (first.spectrum[1], first.b)
        z, w = (second.spectrum[0], second.a), (second.spectrum[1], second.b)
        products: list[tuple[float, Array, Array]] = []
        direct, crossed = coincidences(self._corr, first, second)
        for (one, two), counts in ((((x, z), (y, w)), direct), (((x, w), (y, z)), crossed)):
            s1, s2 = (self.sky(*p, *q) for p, q in (one, two))
            products.append((1.0, s1, s2))
            for (n1, n2), share in counts.items():
                t1, t2 = (self.noise(p[0], q[0], p[1], n) for (p, q), n in ((one, n1), (two, n2)))
                both = ((t1, s2), (s1, t2), (t1, t2))
                products += [(share, u, v) for u, v in both if u is not None and v is not None]
        rows, columns = np.arange(self.lmax + 1), np.arange(self.reach + 1)
        summed = np.zeros((rows.size, columns.size**2))
        for deg in rows:  # in pieces that stay in the cache
            part = slice(deg**2, (deg + 1) ** 2)
            for factor, u, v in products:
                summed[deg] += factor * np.einsum("ij,ij->j", u[part], v[part])
        summed = np.add.reduceat(summed, columns**2, axis=1)
        return np.asarray(summed / np.outer(2 * rows + 1, 2 * columns + 1))

    def put_into(self, block: Array, first: Entry, second: Entry) -> Array:
        """Return a covariance of two pseudo-spectra, which :meth:`holds`, with the exact one where it is known.

        Parameters
        ----------
        block : ndarray, shape (at least reach + 1, at least reach + 1)
        """
        out = block.copy()
        out[: self.lmax + 1, : self.reach + 1] = self.covariance(first, second)
        out[: self.reach + 1, : self.lmax + 1] = self.covariance(second, first).T
        return out
