"""Gaussian covariance of any two cross-spectra: Cov(ab, cd) with masks, splits and hit counts of each.

For Gaussian fields Cov(XY, ZW) = <XZ><YW> + <XW><YZ> (Efstathiou 2004, astro-ph/0307515; Garcia-Garcia,
Alonso & Bellini 2019, arXiv:1906.11765). Each two-point function is a sum of kernels times amplitudes,
:mod:`cmbfit.spectra.correlations`; two kernels sum over m to a coupling matrix X00, X02, X++ or X-- of
the cross-spectrum of their weights. Hence Cov(EE, BB) = +1/2 S S' X-- and Cov(EB, EB) = C_EE C_BB' X++
- 1/4 S S' X-- with S = C_EE + C_BB, power that leaked from E counted apart.

Two leaked powers share a direction, <cos^4> = 3/8 against <cos^2>^2 = 1/4: a factor 3/2.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.spectra.coincidences import coincidences
from cmbfit.spectra.correlations import FieldCorrelations, Term
from cmbfit.spectra.coupling import coupling_name
from cmbfit.spectra.fields import Field
from cmbfit.spectra.low_multipoles import LowMultipoles, exact_lmax
from cmbfit.spectra.master import Spectra
from cmbfit.spectra.multi import Entry, Plan

_LEAKED_PAIR = 1.5  # <cos^4> / <cos^2>^2


class _Sum:
    """A sum of a(l, l') X_ll' over few different X, with a(l, l') kept as products of two vectors."""

    def __init__(self, corr: FieldCorrelations) -> None:
        self._corr = corr
        self._found: dict[int, tuple[Array, list[Array], list[Array]]] = {}

    def add(self, factor: float, one: Term, two: Term) -> None:
        """Add the product of two two-point functions."""
        name = coupling_name(one.kind, two.kind)
        if name is None:
            return
        x = self._corr.kernel(one.weight, two.weight).compute(name).found[name]
        if one.weight[0] == two.weight[0] == "g":
            factor *= _LEAKED_PAIR
        _, left, right = self._found.setdefault(id(x), (x, [], []))
        size = x.shape[0]
        left.append(factor * (one.left[:, None] * two.left).reshape(-1, size))
        right.append((one.right[:, None] * two.right).reshape(-1, size))

    def matrix(self) -> Array:
        """Return the sum, shape (lmax + 1, lmax + 1)."""
        total = np.zeros((self._corr.lmax + 1,) * 2)
        for x, left, right in self._found.values():
            total += (np.concatenate(left).T @ np.concatenate(right)) * x
        return total


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


def pseudo_covariance(corr: FieldCorrelations, first: Entry, second: Entry) -> Array:
    """Return the covariance of two split-averaged pseudo-spectra.

    Returns
    -------
    ndarray, shape (lmax + 1, lmax + 1)
        In uK^4.
    """
    total = _Sum(corr)
    for factor, one, two in pseudo_products(corr, first, second):
        total.add(factor, one, two)
    return total.matrix()


def multi_covariance(
    plan: Plan, fields: Sequence[Field], signal: Spectra, *, low: int | None = None, nthreads: int = 1
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
        (:mod:`cmbfit.spectra.low_multipoles`); 10 to 24, the more the smaller the sky, when omitted; 0 for none.

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
        for (to, source), operator in plan.masters[entry.a, entry.b].operators.items():
            if to == entry.spectrum:
                uses.setdefault(Entry(source, entry.a, entry.b), []).append((i, operator))
    low = exact_lmax(list(fields), plan.lmax) if low is None else low
    lowest = np.flatnonzero(
        [(min(b - 1, low) + 1 - a) * 2 >= b - a for a, b in itertools.pairwise(plan.bins.edges)]
    )
    exact = LowMultipoles(corr, low, nthreads) if lowest.size else None
    out = np.zeros((len(entries), n, len(entries), n))
    sources = list(uses)
    every = [(one, two) for k, one in enumerate(sources) for two in sources[: k + 1]]
    corr.compute((a, b) for pair in every for _, a, b in pseudo_products(corr, *pair))
    for k, one in enumerate(sources):
        for two in sources[: k + 1]:
            block = pseudo_covariance(corr, one, two)
            better = None if exact is None else exact.put_into(block, one, two)
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
