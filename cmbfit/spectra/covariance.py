"""Gaussian covariance of any two cross-spectra: Cov(ab, cd) with masks, splits and hit counts of each.

For Gaussian fields Cov(XY, ZW) = <XZ><YW> + <XW><YZ> (Efstathiou 2004, astro-ph/0307515; Garcia-Garcia,
Alonso & Bellini 2019, arXiv:1906.11765). Each two-point function is a sum of kernels times amplitudes,
:mod:`cmbfit.spectra.correlations`; two kernels sum over m to a coupling matrix X00, X02, X++ or X-- of
the cross-spectrum of their weights. Hence Cov(EE, BB) = +1/2 S S' X-- and Cov(EB, EB) = C_EE C_BB' X++
- 1/4 S S' X-- with S = C_EE + C_BB, power that leaked from E counted apart.

Two leaked powers share a direction, <cos^4> = 3/8 against <cos^2>^2 = 1/4: a factor 3/2.

A fit of templates takes modes away: sum_mm' <XZ><YW> over a projected sky counts those that are left, as the mean
pseudo-spectrum does, so both fall by the same factor (:attr:`~cmbfit.spectra.master.Master.kept`).
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.coincidences import coincidences
from cmbfit.spectra.correlations import FieldCorrelations, Term
from cmbfit.spectra.coupling import Coupling, coupling_name
from cmbfit.spectra.fields import Field
from cmbfit.spectra.low_multipoles import LowMultipoles, exact_lmax, leakage_note
from cmbfit.spectra.master import Spectra
from cmbfit.spectra.multi import Entry, Plan

_LEAKED_PAIR = 1.5  # <cos^4> / <cos^2>^2


Product = tuple[float, Term, Term]


def pseudo_products(corr: FieldCorrelations, first: Entry, second: Entry) -> list[Product]:
    """Return the products of two-point functions, with their factors, that sum to the covariance of two pseudo-spectra."""
    x, y = (first.spectrum[0], first.a), (first.spectrum[1], first.b)
    z, w = (second.spectrum[0], second.a), (second.spectrum[1], second.b)
    out: list[Product] = []
    direct, crossed = coincidences(corr, first, second)
    for (one, two), counts in ((((x, z), (y, w)), direct), (((x, w), (y, z)), crossed)):
        s1 = corr.signal_terms(*one[0], *one[1])
        s2 = corr.signal_terms(*two[0], *two[1])
        products = [(1.0, s1, s2)]
        for (n1, n2), share in counts.items():
            t1 = [] if n1 is None else corr.noise_terms(one[0][0], one[1][0], one[0][1], n1)
            t2 = [] if n2 is None else corr.noise_terms(two[0][0], two[1][0], two[0][1], n2)
            products += [(share, t1, s2), (share, s1, t2), (share, t1, t2)]
        # (X Z)(Y W): l stands in X and Y, l' in Z and W, in either pairing
        out += [(share, a, b) for share, terms1, terms2 in products for a in terms1 for b in terms2]
    return out


def pseudo_covariance(corr: FieldCorrelations, first: Entry, second: Entry, lmax: int | None = None) -> Array:
    """Return the covariance of two split-averaged pseudo-spectra.

    Parameters
    ----------
    lmax : int, optional
        Of both; that of `corr` when omitted.

    Returns
    -------
    ndarray, shape (lmax + 1, lmax + 1)
        In uK^4.
    """
    size = (corr.lmax if lmax is None else lmax) + 1
    out = np.zeros((size, size))
    for factor, one, two in pseudo_products(corr, first, second):
        name = coupling_name(one.kind, two.kind)
        if name is None:
            continue
        (f1, g1), (f2, g2) = ((t.left[:, :size], t.right[:, :size]) for t in (one, two))
        amplitude = (f1.T @ g1) * (f2.T @ g2)
        kernel = corr.kernel(one.weight, two.weight)
        x = kernel.matrix(name) if lmax is None else kernel.corner(name, lmax)
        out += factor * _pair_factor(one, two) * amplitude * x
    return out


def _pair_factor(one: Term, two: Term) -> float:
    return _LEAKED_PAIR if one.weight[0] == two.weight[0] == "g" else 1.0


Label = tuple[int, int]
"""Of a product of two known vectors."""


class BinnedCovariance:
    """Covariances of binned pseudo-spectra, B C B^T, without a matrix of lmax^2 elements.

    C is a sum of f(l) X_ll' g(l'), where X and f or g are few and come back in many spectra. The thin
    product X g B^T of the one that comes back more often is kept, and its rows are summed over bins with the other.

    Parameters
    ----------
    bins : Bins
        Up to lmax.
    pairs : iterable of (Entry, Entry)
        All that will be asked for.
    """

    def __init__(self, corr: FieldCorrelations, bins: Bins, pairs: Iterable[tuple[Entry, Entry]]) -> None:
        self._corr, self._bins = corr, bins
        self._weights = bins.binning(corr.lmax).sum(axis=0)  # bins do not overlap
        self._vectors: list[Array] = []
        self._known: dict[bytes, int] = {}
        self._rows: dict[int, list[tuple[float, int, int]]] = {}
        self._thin: dict[tuple[int, str, Label], Array] = {}
        self._uses: Counter[tuple[int, str, Label]] = Counter()
        for first, second in pairs:
            for _, coupling, name, f, g in self._separable(first, second):
                self._uses.update([(id(coupling), name, f), (id(coupling), name, g)])

    def _label(self, vector: Array) -> tuple[float, int]:
        """Return the size of a vector and the number of its shape, the same for all of that shape."""
        size = float(np.abs(vector).max())
        shape = vector / (size or 1.0)
        number = self._known.setdefault(shape.tobytes(), len(self._vectors))
        if number == len(self._vectors):
            self._vectors.append(shape)
        return size, number

    def _numbered(self, term: Term) -> list[tuple[float, int, int]]:
        """Return factor, f and g of each product f(l) g(l') in a term; terms live as long as the correlations."""
        if id(term) not in self._rows:
            both = [(self._label(f), self._label(g)) for f, g in zip(term.left, term.right, strict=True)]
            self._rows[id(term)] = [(size * other, f, g) for (size, f), (other, g) in both]
        return self._rows[id(term)]

    def _separable(self, first: Entry, second: Entry) -> Iterator[tuple[float, Coupling, str, Label, Label]]:
        """Yield each factor f(l) X g(l') of the covariance of two pseudo-spectra: factor, X, f and g."""
        for factor, one, two in pseudo_products(self._corr, first, second):
            name = coupling_name(one.kind, two.kind)
            if name is None:
                continue
            coupling = self._corr.kernel(one.weight, two.weight)
            for size1, f1, g1 in self._numbered(one):
                for size2, f2, g2 in self._numbered(two):
                    product = factor * _pair_factor(one, two) * size1 * size2
                    yield product, coupling, name, _sorted(f1, f2), _sorted(g1, g2)

    def _vector(self, label: Label) -> Array:
        return self._vectors[label[0]] * self._vectors[label[1]] * self._weights

    def block(self, first: Entry, second: Entry) -> Array:
        """Return the covariance of two split-averaged binned pseudo-spectra, shape (bins.n, bins.n), in uK^4."""
        sums: dict[tuple[int, str, Label, bool], Array] = {}
        for factor, coupling, name, f, g in self._separable(first, second):
            # X is symmetric: either side can be the one that is kept
            turned = (self._uses[id(coupling), name, f], f) > (self._uses[id(coupling), name, g], g)
            kept, other = (f, g) if turned else (g, f)
            key = id(coupling), name, kept
            if key not in self._thin:
                self._thin[key] = coupling.product(name, self._vector(kept), self._bins.edges)
            part = factor * self._vector(other)
            sums[(*key, turned)] = sums[(*key, turned)] + part if (*key, turned) in sums else part
        out = np.zeros((self._bins.n,) * 2)
        start, stop = list(self._bins.edges[:-1]), self._bins.edges[-1]
        for (coupled, name, kept, turned), total in sums.items():
            thin = self._thin[coupled, name, kept]
            part = np.add.reduceat((thin * total)[:, :stop], start, axis=1)
            out += part if turned else part.T
        return out


def _sorted(a: int, b: int) -> Label:
    return (a, b) if a <= b else (b, a)


def multi_covariance(
    plan: Plan,
    fields: Sequence[Field],
    signal: Spectra,
    *,
    low: int | None = None,
    nthreads: int = 1,
    notes: list[str] | None = None,
) -> Array:
    """Return the covariance of the data vector of :func:`~cmbfit.spectra.multi.estimate_bandpowers`.

    Parameters
    ----------
    fields : sequence of Field
        With noise models.
    signal : mapping of C_l in uK^2
        Fiducial theory from l = 0 to plan.lmax, see :func:`~cmbfit.spectra.estimate.cl_from_dl`.
    low : int, optional
        Multipole up to which pseudo-spectra without pure B are done by linear algebra
        (:mod:`cmbfit.spectra.low_multipoles`); when omitted 10 to 16, the more the smaller the sky, and up to 30 where
        40 % of the masked B are leaked E; 0 for none.
    notes : list of str, optional
        What is to be said of the result is added to it.

    Returns
    -------
    ndarray, shape (entries * bins, entries * bins)
        In uK^4, ordered by entry, then bin.

    Raises
    ------
    SpectrumError
        When the result is not positive definite.
    """
    corr = FieldCorrelations(fields, signal, plan.lmax, nthreads, plan.couplings)
    entries, n = plan.entries, plan.bins.n
    # which bandpowers each pseudo-spectrum enters: its covariances are computed once
    uses: dict[Entry, list[tuple[int, Array]]] = {}
    for i, entry in enumerate(entries):
        for (to, source), inverse in plan.masters[entry.a, entry.b].inverses.items():
            if to == entry.spectrum:
                uses.setdefault(Entry(source, entry.a, entry.b), []).append((i, inverse))
    low = exact_lmax(corr) if low is None else low
    if notes is not None:
        notes += leakage_note(corr, low)
    lowest = np.flatnonzero(
        [(min(b - 1, low) + 1 - a) * 2 >= b - a for a, b in itertools.pairwise(plan.bins.edges)]
    )
    exact = LowMultipoles(corr, low, nthreads) if lowest.size else None
    out = np.zeros((len(entries), n, len(entries), n))
    sources = list(uses)
    pairs = [(one, two) for k, one in enumerate(sources) for two in sources[: k + 1]]
    padded = plan.bins.padded(plan.lmax)
    binned, binning = BinnedCovariance(corr, padded, pairs), padded.binning(plan.lmax)
    indicator = padded.indicator(plan.lmax)
    for one, two in pairs:
        left_over = [
            np.sqrt(plan.masters[x.a, x.b].kept.get(x.spectrum, np.ones(padded.n))) for x in (one, two)
        ]
        block = binned.block(one, two) * np.outer(*left_over)
        better = None
        if exact is not None and exact.holds(one) and exact.holds(two):
            row = binning[:, : exact.reach + 1]
            of_ell = [(1 + (x - 1) @ indicator)[: exact.reach + 1] for x in left_over]
            closed = pseudo_covariance(corr, one, two, exact.reach) * np.outer(*of_ell)
            better = block + row @ (exact.put_into(closed, one, two) - closed) @ row.T
        for i, left in uses[one]:
            half = left @ block
            for j, right in uses[two]:
                part = half @ right.T
                if better is not None:
                    # bins above keep one form throughout: what leaked from below cancels in it
                    part[lowest] = left[lowest] @ better @ right.T
                    part[:, lowest] = left @ better @ right[lowest].T
                out[i, :, j] += part
                if one != two:
                    out[j, :, i] += part.T
    matrix = out.reshape(len(entries) * n, -1)
    names = [f"{e} l {a}-{b - 1}" for e in entries for a, b in itertools.pairwise(plan.bins.edges)]
    return require_positive(0.5 * (matrix + matrix.T), f"the covariance of {len(entries)} spectra", names)


def smallest_eigenvalue(matrix: Array) -> float:
    """Return the smallest eigenvalue of the correlation matrix of a covariance; -inf when a variance is not > 0."""
    variance = np.diag(matrix)
    if not (np.isfinite(matrix).all() and (variance > 0).all()):
        return -np.inf
    scale = 1 / np.sqrt(variance)
    return float(np.linalg.eigvalsh(matrix * np.outer(scale, scale))[0])


def require_positive(matrix: Array, what: str, names: Sequence[str] = ()) -> Array:
    """Return a covariance as it is, or raise :class:`SpectrumError` when it is not positive definite.

    It is never repaired: a repaired matrix hides that the approximation failed.

    Parameters
    ----------
    names : sequence of str, optional
        Of its rows: the message says which fail.
    """
    smallest = smallest_eigenvalue(matrix)
    if not smallest > 0:
        raise SpectrumError(
            f"{what} is not positive definite (smallest eigenvalue of its correlation matrix {smallest:.3g}"
            f"{_culprits(matrix, names)}): the narrow-kernel approximation fails there; apodise the masks, widen these "
            "bins, leave these spectra out, or use simulations (cmbfit.spectra.SimulatedCovariance)"
        )
    return matrix


def _culprits(matrix: Array, names: Sequence[str]) -> str:
    """Return the rows that a matrix fails in: variances that are not positive, or the most of the worst eigenvector."""
    if len(names) != len(matrix):
        return ""
    variance = np.diag(matrix)
    if not np.isfinite(matrix).all():
        return "; not finite: " + ", ".join(names[k] for k in np.flatnonzero(~np.isfinite(variance))[:5])
    if not (variance > 0).all():
        return "; variance not above zero: " + ", ".join(
            names[k] for k in np.flatnonzero(~(variance > 0))[:5]
        )
    scale = 1 / np.sqrt(variance)
    weight = np.linalg.eigh(matrix * np.outer(scale, scale))[1][:, 0] ** 2
    worst = np.argsort(weight)[::-1][:3]
    return "; in " + ", ".join(f"{names[k]} ({weight[k]:.0%})" for k in worst)
