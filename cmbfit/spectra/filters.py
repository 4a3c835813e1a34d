"""What a fit of templates takes from the sky, as part of the mode coupling and of the windows.

A least-squares fit with weights v and its subtraction under a mask w are one linear map of the sky,

    m~ = w m - sum_i g_i c_i,   g_i = w f_i,   c_i = u_i . m,   u_i = sum_j G_ij v f_j,   (G^-1)_ij = f_i . v f_j,

so mean pseudo-spectra stay linear in the theory. With K the kernel of a mask, M C gets beside it

    - <(g_i c_i) (K_b s_b)*>  - <(K_a s_a) (g_j c_j)*>  + <(g_i c_i) (g_j c_j)*>.

Elsner, Leistedt & Peiris 2017 (arXiv:1609.03577) and NaMaster (Alonso, Sanchez & Slosar 2019, arXiv:1809.09603)
subtract this as a bias of an assumed spectrum: :func:`deprojection_bias`. Here its response to every multipole
enters the inversion and the windows (:class:`FilterResponse`): nothing is assumed, and where the fit takes most of
the power away bandpowers are still those of the sky. sum_m g*_lm (K s)_lm over a bin is the scalar product of s
with A[w S[g_bin]] (S synthesis, A analysis): a pair of transforms for each bin and template gives all multipoles.

Unlike couplings of masks these terms are not averaged over orientations: where mask and templates have no mirror
symmetry TE answers to TB, and such windows are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.harmonic import Alm, alm2cl, alm2map, alm_size, change_lmax, map2alm, pixel_sum, scale_alm
from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import dl_factor
from cmbfit.spectra.fields import Field
from cmbfit.spectra.gradients import eth_norm
from cmbfit.spectra.grid import Grid
from cmbfit.spectra.master import Spectra, seen, spectrum_of
from cmbfit.spectra.templates import CleanedModes
from cmbfit.spectra.transforms import SPECTRA

_EXACT = 3e-3
"""Share of a multipole's power taken by the fit above which its response is kept multipole by multipole."""

_LARGE = 64
"""Templates lie at large scales: their sky does below about this multipole."""

_NEGLIGIBLE = 3e-4
"""Share below which it is left out; between the two the total for a flat D_l is kept."""


def _group(letter: str) -> str:
    return "t" if letter == "t" else "eb"


class FilteredModes:
    """Templates of T, or of E and B, of one field in harmonic space.

    Attributes
    ----------
    g : ndarray, shape (templates, 1 or 2, coefficients)
        Of the templates under the mask of the field.
    u : ndarray, shape (templates, 1 or 2, coefficients)
        Whose scalar product with the sky's coefficients is that of the fit.
    """

    def __init__(self, field: Field, letter: str, lmax: int, nthreads: int = 1) -> None:
        self.letters = _group(letter)
        mask, templates, spin = field.mask_of(letter), field.filters, 0 if letter == "t" else 2
        if templates is None or not len(templates.of(letter)[0]):
            raise SpectrumError(f"field {field.name!r}: no templates of {letter!r}")
        weights = templates.weights(letter)
        g, u = [], []
        for f in templates.rows(letter):
            # g is transformed as the maps are; u is a scalar product with the sky, which plain sums over pixels are exact for
            g.append(map2alm(mask.weights * f, lmax, spin, field.iterations, nthreads, mask.grid))
            u.append(pixel_sum(weights * f, mask.grid, lmax, spin, nthreads))
        self.g = np.array(g)
        self.u = np.einsum("ij,jkl->ikl", templates.normal(letter), np.array(u))

    @classmethod
    def given(cls, modes: CleanedModes, lmax: int) -> FilteredModes:
        """Return modes of E and B that are at hand, up to lmax."""
        out = cls.__new__(cls)
        out.letters = "eb"
        out.g, out.u = change_lmax(modes.g, lmax), change_lmax(modes.u, lmax)
        return out

    def power(self, what: str, x: str, other: FilteredModes, y: str) -> Array:
        """Return C_l of g or u of every pair of templates, shape (templates, templates, lmax + 1)."""
        i, j = self.letters.index(x), other.letters.index(y)
        one, two = getattr(self, what), getattr(other, what)
        return np.array([[alm2cl(a[i], b[j]) for b in two] for a in one])


class FilterResponse:
    """How the pseudo-spectra of two fields answer to the sky because templates were taken off one or both.

    Parameters
    ----------
    one, two : Field
        At least one with `filters`.
    lmax : int
        Of the mode coupling.
    shared : dict, optional
        Results that pairs of the same fields share.
    """

    def __init__(
        self, one: Field, two: Field, lmax: int, nthreads: int = 1, shared: dict[Any, Any] | None = None
    ) -> None:
        self.fields = one, two
        self.lmax = lmax
        self._nthreads = nthreads
        self._shared: dict[Any, Any] = {} if shared is None else shared
        for f in (one, two):
            of_p = f.filters is not None and len(f.filters.p) > 0
            if f.purify_b and (of_p or f.cleaned is not None):
                raise SpectrumError(
                    f"field {f.name!r}: pure B of maps without templates of Q and U is not implemented; take the "
                    "templates off without pure B, or keep them in the maps"
                )
            if of_p and f.cleaned is not None:
                raise SpectrumError(f"field {f.name!r}: Q and U cleaned by two fits is not implemented")

    def modes(self, side: int, letter: str) -> FilteredModes | None:
        """Return the templates of one side, None where that field kept everything."""
        f = self.fields[side]
        key = "modes", *self._key(side, letter)
        if letter != "t" and f.cleaned is not None and key not in self._shared:
            self._shared[key] = FilteredModes.given(f.cleaned, self.lmax)
        elif key not in self._shared:
            if f.filters is None or not len(f.filters.of(letter)[0]):
                return None
            self._shared[key] = FilteredModes(f, letter, self.lmax, self._nthreads)
        found: FilteredModes = self._shared[key]
        return found

    def _key(self, side: int, letter: str) -> tuple[Any, ...]:
        f = self.fields[side]
        return id(f.filters), id(f.cleaned), id(f.mask_of(letter)), _group(letter), f.iterations

    def _operator(self, side: int, letter: str) -> tuple[int, Array, Array]:
        """Return spin, and the factors before and after the mask, of the masked field of one side."""
        one = np.ones(self.lmax + 1)
        if letter == "b" and self.fields[side].purify_b:  # N K0 / N, zero at l = 0 and 1
            up = eth_norm(self.lmax)
            return 0, up, np.divide(1.0, up, out=np.zeros_like(up), where=up > 0)
        return (0 if letter == "t" else 2), one, one

    def _kernel(self, side: int, letter: str, source: str, alm: Alm) -> Alm:
        """Return the coefficients of `letter` of the masked field that the sky's `source` makes."""
        spin, up, down = self._operator(side, letter)
        mask, n_iter = self.fields[side].mask_of(letter), self.fields[side].iterations
        weights, grid = mask.weights, mask.grid
        if spin == 0:
            if source != letter:
                return np.zeros_like(alm)
            made = alm2map(scale_alm(alm, up)[None], grid, 0, self._nthreads)
            return scale_alm(map2alm(weights * made, self.lmax, 0, n_iter, self._nthreads, grid)[0], down)
        teb = np.zeros((2, alm.size), dtype=np.complex128)
        teb["eb".index(source)] = alm
        made = alm2map(teb, grid, 2, self._nthreads)
        return map2alm(weights * made, self.lmax, 2, n_iter, self._nthreads, grid)["eb".index(letter)]

    def bias(self, name: str, cl: Spectra) -> Array:
        """Return what the fits add to the mean pseudo-spectrum `name` for C_l of the maps (beams included)."""
        first, both = self._one_sided(name, cl), np.zeros(self.lmax + 1)
        a, b = self.modes(0, name[0]), self.modes(1, name[1])
        if a is not None and b is not None:
            shared = np.zeros((len(a.u), len(b.u)))
            for z in a.letters:
                for y in b.letters:
                    c = spectrum_of(cl, z + y)
                    if c is not None:
                        weight = (2 * np.arange(self.lmax + 1) + 1) * c[: self.lmax + 1]
                        shared += a.power("u", z, b, y) @ weight
            both = np.einsum("ij,ijl->l", shared, a.power("g", name[0], b, name[1]))
        return both - first

    def _one_sided(self, name: str, cl: Spectra) -> Array:
        """Return the sum of <(g c) (K s)*> of both sides, without sign."""
        total = np.zeros(self.lmax + 1)
        for side in (0, 1):
            own, x, y = self.modes(side, name[side]), name[side], name[1 - side]
            if own is None:
                continue
            for k in range(len(own.u)):
                for n, z in enumerate(own.letters):
                    for source in _group(y):
                        c = spectrum_of(cl, z + source if side == 0 else source + z)
                        if c is None or not np.any(c):
                            continue
                        seen_by = self._kernel(1 - side, y, source, scale_alm(own.u[k, n], c))
                        total += alm2cl(own.g[k, own.letters.index(x)], seen_by)
        return total

    @cached_property
    def _flat(self) -> Array:
        factor = dl_factor(self.lmax)
        return np.divide(1.0, factor, out=np.zeros_like(factor), where=np.arange(factor.size) > 1)

    def share(self, letters: str, plain: Array) -> Array:
        """Return the power of the templates' fitted part relative to `plain`, the pseudo-spectrum of a flat D_l."""
        out = np.zeros(self.lmax + 1)
        for side in (0, 1):
            own = self.modes(side, letters[side])
            if own is not None:
                modes = (2 * np.arange(self.lmax + 1) + 1) * self._flat
                for x in own.letters:
                    shared = own.power("u", x, own, x) @ modes
                    out += np.abs(np.einsum("ij,ijl->l", shared, own.power("g", x, own, x)))
        return np.divide(out, plain, out=np.zeros_like(out), where=plain > 0)

    def rows(self, name: str, binning: Array, plain: Array) -> dict[str, Array]:
        """Return what the fits add to B M of a pseudo-spectrum, for each spectrum of the maps that it answers to.

        Parameters
        ----------
        binning : ndarray, shape (bins, lmax + 1)
        plain : ndarray, shape (lmax + 1,)
            Pseudo-spectrum of a flat D_l of this kind without any fit: what is small beside it is kept in total, not
            multipole by multipole.

        Returns
        -------
        mapping source -> ndarray, shape (bins, lmax + 1)
        """
        out: dict[str, Array] = {}
        a, b = self.modes(0, name[0]), self.modes(1, name[1])
        if a is None and b is None:
            return out
        modes = 2 * np.arange(self.lmax + 1) + 1
        if a is not None and b is not None:
            g = np.einsum("bl,ijl->bij", binning, a.power("g", name[0], b, name[1]))
            for z in a.letters:
                for y in b.letters:
                    out[z + y] = np.einsum("bij,ijl->bl", g, modes * a.power("u", z, b, y))
        share = self.share(name, plain)
        worst = np.array([share[row > 0].max(initial=0) for row in binning])
        exact, partly = worst > _EXACT, (worst > _NEGLIGIBLE) & (worst <= _EXACT)
        for side in (0, 1):
            if (own := self.modes(side, name[side])) is None:
                continue
            self._add_exact(out, name, side, own, np.where(exact[:, None], binning, 0.0))
            if partly.any():
                rest = np.where(partly[:, None], binning, 0.0)
                total = rest @ self._flat_total(name, side, own, int(np.flatnonzero(rest.any(axis=0)).max()))
                x = name[side]
                shape = modes * own.power("u", x, own, x).trace()
                out[name] = out.get(name, 0.0) - np.outer(total, shape / (shape @ self._flat))
        largest = max((np.abs(v).max() for v in out.values()), default=0.0)
        return {s: v for s, v in out.items() if np.abs(v).max() > 1e-9 * largest}

    def _flat_total(self, name: str, side: int, own: FilteredModes, top: int) -> Array:
        """Return <(g c) (K s)*> of one side up to `top` for a flat D_l, shape (lmax + 1,)."""
        x, y, other = name[side], name[1 - side], 1 - side
        spin, up, down = self._operator(other, y)
        like = "e" if spin == 2 and own.letters == "t" else y  # T x B answers to TB as T x E to TE
        key = "flat", *self._key(side, x), x, like, spin, id(self.fields[other].mask_of(y)), top
        if key not in self._shared:
            low = min(self.lmax, 2 * _LARGE)
            grid, total = self._grid(other, y, low, top), np.zeros(self.lmax + 1)
            u = change_lmax(own.u[:, own.letters.index(like if like in own.letters else x)], low)
            g = change_lmax(own.g[:, own.letters.index(x)], top)
            for one, two in zip(u, g, strict=True):
                alm = np.zeros((1 if spin == 0 else 2, one.size), dtype=np.complex128)
                n = 0 if spin == 0 else "eb".index(like)
                alm[n] = scale_alm(one, (self._flat * up)[: low + 1])
                total[: top + 1] += alm2cl(two, scale_alm(grid.apply(alm, spin, top)[n], down[: top + 1]))
            self._shared[key] = total
        found: Array = self._shared[key]
        return found

    def _add_exact(
        self, out: dict[str, Array], name: str, side: int, own: FilteredModes, binning: Array
    ) -> None:
        """Subtract <(g c) (K s)*> of one side, multipole by multipole, on a grid as coarse as it can be."""
        used = np.flatnonzero(binning.any(axis=1))
        if used.size == 0:
            return
        x, y, other = name[side], name[1 - side], 1 - side
        top = int(np.flatnonzero(binning[used].any(axis=0)).max())
        reach = min(self.lmax, max(3 * top, _LARGE))
        spin, up, down = self._operator(other, y)
        grid = self._grid(other, y, top, reach)
        sources = _group(y) if spin == 2 else y
        modes = 2 * np.arange(reach + 1) + 1
        u = change_lmax(own.u, reach)
        g = change_lmax(own.g[:, own.letters.index(x)], top)
        for b in used:
            row = binning[b, : top + 1] / (2 * np.arange(top + 1) + 1)
            for k in range(len(g)):
                alm = np.zeros((1 if spin == 0 else 2, alm_size(top)), dtype=np.complex128)
                alm[0 if spin == 0 else "eb".index(y)] = scale_alm(g[k], row * down[: top + 1])
                seen_by = grid.apply(alm, spin, reach)
                for source, values in zip(sources, seen_by, strict=True):
                    found = scale_alm(values, up[: reach + 1])
                    for n, z in enumerate(own.letters):
                        key = z + source if side == 0 else source + z
                        target = out.setdefault(key, np.zeros((len(binning), self.lmax + 1)))
                        target[b, : reach + 1] -= modes * alm2cl(u[k, n], found)

    def _grid(self, side: int, letter: str, l1: int, l2: int) -> Grid:
        mask = self.fields[side].mask_of(letter)
        top = min(l1 + l2, 2 * self.lmax)
        return Grid(
            map2alm(mask.weights[None], top, 0, 0, self._nthreads, mask.grid)[0], l1, l2, self._nthreads
        )


def filter_response(
    one: Field, two: Field, lmax: int, nthreads: int = 1, shared: dict[Any, Any] | None = None
) -> FilterResponse | None:
    """Return how the pseudo-spectra of two fields answer to their filters; None where neither has any."""
    if all(f.filters is None and f.cleaned is None for f in (one, two)):
        return None
    return FilterResponse(one, two, lmax, nthreads, shared)


def deprojection_bias(
    one: Field, two: Field, cl: Spectra, lmax: int, names: Sequence[str] = SPECTRA
) -> dict[str, Array]:
    """Return what the removal of templates adds to mean pseudo-spectra of an assumed sky.

    Parameters
    ----------
    cl : mapping of ndarray, shape (> lmax,)
        C_l in uK^2 from l = 0, before beams.
    names : sequence of str
        Of pseudo-spectra.

    Returns
    -------
    mapping name -> ndarray, shape (lmax + 1,)
    """
    response = filter_response(one, two, lmax)
    beams = one.transfer.cut(lmax), two.transfer.cut(lmax)
    out = {}
    for name in names:
        held: dict[str, Array] = {}
        for x in _group(name[0]):
            for y in _group(name[1]):
                for source, gain in seen(x + y, *beams):
                    values = spectrum_of(cl, source)
                    if values is not None:
                        held[x + y] = held.get(x + y, 0.0) + gain * values[: lmax + 1]
        out[name] = np.zeros(lmax + 1) if response is None else response.bias(name, held)
    return out
