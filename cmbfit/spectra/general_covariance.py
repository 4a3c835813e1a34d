"""Gaussian covariance of any two cross-spectra: Cov(ab, cd) with masks, splits and hit counts of each.

For Gaussian fields Cov(XY, ZW) = <XZ><YW> + <XW><YZ>. With K the kernels of the masks (E~ = K+ E +
i K- B, B~ = -i K- E + K+ B, T~ = K0 T), smooth spectra and the exact sum rules

    K+ K+^dagger + K- K-^dagger = K+(w w'),    K+ K-^dagger + K- K+^dagger = K-(w w'),

the two-point functions of masked fields i, k that enter here are

    <E~ E~> = C_EE K+(w_i w_k) + (C_BB - C_EE) K- K-^dagger,
    <B~ B~> = C_BB K+(w_i w_k) + (C_EE - C_BB) K- K-^dagger,
    <E~ B~> = C_EB K+(w_i w_k) + (i/2) (C_EE + C_BB) K-(w_i w_k),
    <T~ B~> = C_TB K0(w_i w_k) + (i/2) C_TE K-(w_i w_k),
    noise of one split: N_l K(depth w_i^2), with i N_l K-(depth w_i^2) between E and B: exact if white.

Leaked power does not lie where the mask is, but where it falls off: for l above the mask's own
scales K-(l, l') = 2 (l_perp . q / l^2) w(q), q = l - l', so K- K-^dagger is the kernel of
(4 / l^2) (d_perp w)^2, and g = grad w_i . grad w_k up to the average over directions. That is why g
and not w_i w_k weighs it (docs/methods/spectra.md has the derivation and its Monte Carlo). Two
leaked powers share a direction, <cos^4> = 3/8 against <cos^2>^2 = 1/4: a factor 3/2.

Input spectra are those of the improved narrow-kernel approximation (Nicola et al. 2021,
arXiv:2010.09717), coupled by the masks and divided by the mean of the weight, beams included: with
M++ + M-- for K+(w_i w_k), M-- for K- K-^dagger.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.spectra.coupling import Coupling, coupling, master_matrix
from cmbfit.spectra.covariance import smallest_eigenvalue
from cmbfit.spectra.fields import Field, check_fields, split_pairs
from cmbfit.spectra.gradients import gradient, gradient_product
from cmbfit.spectra.master import Master, Spectra, spectrum_of
from cmbfit.spectra.multi import Entry, Plan
from cmbfit.spectra.transforms import Alm, alm2cl, map2alm, mask_cross_spectrum

Weight = tuple[str, str, str]
"""("s" signal | "g" gradient, field, field) or ("n", field, index of the noise model)."""

Term = tuple[str, Weight, Array]
"""Kernel "0", "+" or "-", its weight map, and the amplitude of shape (lmax + 1,)."""

_LEAKED_PAIR = 1.5  # <cos^4> / <cos^2>^2


@dataclass(frozen=True, eq=False)
class _Signal:
    """Spectra of two masked fields, not divided by any mean weight."""

    tt: Array
    te: Array
    et: Array
    ee: Array
    bb: Array
    leak_ee: Array
    leak_bb: Array
    eb: Array
    be: Array
    tb: Array
    bt: Array
    flat_te: Array
    flat_et: Array
    flat_eb: Array  # C_EE + C_BB smoothed by M++ + M--


class FieldCorrelations:
    """Two-point functions of masked fields: what a covariance is made of.

    Parameters
    ----------
    fields : sequence of Field
        With noise models.
    signal : mapping of C_l in uK^2
        Common to all fields, from l = 0 to at least lmax, before beams.
    """

    def __init__(self, fields: Sequence[Field], signal: Spectra, lmax: int) -> None:
        check_fields(fields)
        for name, cl in signal.items():
            if cl.size <= lmax or not np.isfinite(cl).all():
                raise SpectrumError(
                    f"signal {name}: expected finite C_l up to l = {lmax}, found {cl.size - 1}"
                )
        self.fields: Mapping[str, Field] = {f.name: f for f in fields}
        self.lmax = lmax
        self._signal = signal
        self._spectra: dict[tuple[str, str], _Signal] = {}
        self._alms: dict[Weight, Alm] = {}
        self._means: dict[Weight, float] = {}
        self._kernels: dict[tuple[Weight, Weight], Coupling] = {}
        self._gradients: dict[int, Array] = {}

    def _of(self, name: str, size: int) -> Array:
        found = spectrum_of(self._signal, name)
        return np.zeros(size) if found is None else found[:size]

    def _coupled(self, i: str, k: str) -> _Signal:
        if (i, k) in self._spectra:
            return self._spectra[i, k]
        one, two, size = self.fields[i], self.fields[k], self.lmax + 1
        c = coupling(mask_cross_spectrum(one.mask, two.mask, 2 * self.lmax), self.lmax)
        m00, m02, pp, mm = (master_matrix(x) for x in (c.x00, c.x02, c.xpp, c.xmm))

        def cl(name: str) -> Array:
            gain = one.transfer.of(name[0])[:size] * two.transfer.of(name[1])[:size]
            return gain * self._of(name, size)

        ee, bb, te, et, eb, be = (cl(x) for x in ("ee", "bb", "te", "et", "eb", "be"))
        out = _Signal(
            tt=m00 @ cl("tt"), te=m02 @ te, et=m02 @ et, ee=(pp + mm) @ ee, bb=(pp + mm) @ bb,
            leak_ee=mm @ (bb - ee), leak_bb=mm @ (ee - bb),
            eb=pp @ eb - mm @ be, be=pp @ be - mm @ eb, tb=m02 @ cl("tb"), bt=m02 @ cl("bt"),
            flat_te=m02 @ te, flat_et=m02 @ et, flat_eb=(pp + mm) @ (ee + bb),
        )  # fmt: skip
        self._spectra[i, k] = out
        return out

    def _gradient(self, name: str) -> Array:
        weights = self.fields[name].mask.weights
        if id(weights) not in self._gradients:
            self._gradients[id(weights)] = gradient(weights, self.lmax)
        return self._gradients[id(weights)]

    def weight_map(self, key: Weight) -> Array:
        """Return the product of masks, of their gradients, or of mask squared and noise depth."""
        kind, i, k = key
        if kind == "g":
            return gradient_product(self._gradient(i), self._gradient(k))
        if kind == "n":
            depth = self.fields[i].noise_of(int(k)).depth
            squared = self.fields[i].mask.weights ** 2
            return squared if depth is None else squared * depth
        return self.fields[i].mask.weights * self.fields[k].mask.weights

    def _prepare(self, key: Weight) -> None:
        if key not in self._alms:
            values = self.weight_map(key)
            self._means[key] = float(values.mean())
            self._alms[key] = map2alm(values[None], 2 * self.lmax, 0)[0]

    def kernel(self, one: Weight, two: Weight) -> Coupling:
        """Return the coupling matrices of the cross-spectrum of two weights."""
        key = (one, two) if one <= two else (two, one)
        if key not in self._kernels:
            for k in key:
                self._prepare(k)
            spectrum = alm2cl(self._alms[key[0]], self._alms[key[1]], 2 * self.lmax)
            self._kernels[key] = coupling(spectrum, self.lmax)
        return self._kernels[key]

    def _mean(self, key: Weight) -> float:
        self._prepare(key)
        return self._means[key]

    def signal_terms(self, p: str, i: str, q: str, k: str) -> list[Term]:
        """Return the terms of <p~_i q~_k> that all splits share; p and q are "t", "e" or "b"."""
        cl, order = self._coupled(i, k), (min(i, k), max(i, k))
        sky: Weight = ("s", *order)
        area = self._mean(sky)
        if not area > 0:
            return []  # masks without common sky
        kind = "0" if "t" in (p, q) else "+"
        out: list[Term] = [(kind, sky, getattr(cl, p + q) / area)]
        if p == q and p != "t":
            # no falling edge, no leakage: a gradient that is all rounding must not be divided by
            edge: Weight = ("g", *order)
            steep = [self._mean(("g", x, x)) for x in (i, k)]
            if abs(self._mean(edge)) > 1e-3 * np.sqrt(steep[0] * steep[1]) > 1e-12:
                out.append(("+", edge, getattr(cl, "leak_" + p + q) / self._mean(edge)))
        mixed = {"eb": cl.flat_eb, "be": -cl.flat_eb, "tb": cl.flat_te, "bt": -cl.flat_et}
        if p + q in mixed:
            out.append(("-", sky, 0.5 * mixed[p + q] / area))
        return out

    def noise_terms(self, p: str, q: str, i: str, index: int) -> list[Term]:
        """Return the terms of <p~ q~> from the noise of one split of field i."""
        noise, key = self.fields[i].noise_of(index), ("n", i, str(index))
        size = self.lmax + 1
        if p == q:
            level = noise.of(p)
            if level.size < size:
                raise SpectrumError(f"noise of field {i!r} up to l = {level.size - 1}, {self.lmax} is needed")
            return [("0" if p == "t" else "+", key, level[:size])]
        if "t" in (p, q):
            return []
        return [("-", key, noise.p[:size] if p == "e" else -noise.p[:size])]

    @cached_property
    def _noise_index(self) -> dict[tuple[str, int], int]:
        """Return for each split the first split that shares its noise model: equal terms are summed once."""
        out = {}
        for f in self.fields.values():
            seen: dict[int, int] = {}
            for s in range(f.n_splits):
                out[f.name, s] = seen.setdefault(id(f.noise_of(s)), s)
        return out

    def noise_index(self, field: str, split: int) -> int:
        """Return the index of a split's noise model."""
        return self._noise_index[field, split]


Coincidence = Mapping[tuple[int | None, int | None], float]


def _coincidences(corr: FieldCorrelations, first: Entry, second: Entry) -> tuple[Coincidence, Coincidence]:
    """Return how often splits coincide in the two pairings, as fractions of all pairs of pairs of splits.

    Keys are the noise models shared by left and right two-point function, None for none.
    """
    a, b, c, d = (corr.fields[n] for n in (first.a, first.b, second.a, second.b))
    direct: Counter[tuple[int | None, int | None]] = Counter()
    crossed: Counter[tuple[int | None, int | None]] = Counter()

    def shared(x: Field, s: int, y: Field, t: int) -> int | None:
        return corr.noise_index(x.name, s) if x is y and s == t else None

    ab, cd = split_pairs(a, b), split_pairs(c, d)
    for s, t in ab:
        for u, v in cd:
            direct[shared(a, s, c, u), shared(b, t, d, v)] += 1
            crossed[shared(a, s, d, v), shared(b, t, c, u)] += 1
    total = len(ab) * len(cd)
    shares = [{key: count / total for key, count in counter.items()} for counter in (direct, crossed)]
    return shares[0], shares[1]


def _select(c: Coupling, one: str, two: str) -> Array | None:
    key = "".join(sorted((one, two)))
    return {"00": c.x00, "+0": c.x02, "++": c.xpp, "--": c.xmm}.get(key)


def pseudo_covariance(
    corr: FieldCorrelations,
    first: Entry,
    second: Entry,
    left: Array | None = None,
    right: Array | None = None,
) -> Array:
    """Return the covariance of two split-averaged pseudo-spectra, between linear operators if given.

    Parameters
    ----------
    first, second : Entry
    left, right : ndarray, shape (n, lmax + 1), optional
        Operators on the first and the second; then the result is left Cov right^T.

    Returns
    -------
    ndarray, shape (lmax + 1, lmax + 1) or (n, n)
        In uK^4.
    """
    eye = np.eye(corr.lmax + 1)
    left, right = eye if left is None else left, eye if right is None else right
    x, y, z, w = (first.spectrum[0], first.a), (first.spectrum[1], first.b), (second.spectrum[0], second.a), (
        second.spectrum[1],
        second.b,
    )  # fmt: skip
    total = np.zeros((left.shape[0], right.shape[0]))
    direct, crossed = _coincidences(corr, first, second)
    for (one, two), counts in ((((x, z), (y, w)), direct), (((x, w), (y, z)), crossed)):
        s1 = corr.signal_terms(one[0][0], one[0][1], one[1][0], one[1][1])
        s2 = corr.signal_terms(two[0][0], two[0][1], two[1][0], two[1][1])
        products = [(1.0, s1, s2)]
        for (n1, n2), share in counts.items():
            t1 = [] if n1 is None else corr.noise_terms(one[0][0], one[1][0], one[0][1], n1)
            t2 = [] if n2 is None else corr.noise_terms(two[0][0], two[1][0], two[0][1], n2)
            products += [(share, t1, s2), (share, s1, t2), (share, t1, t2)]
        for share, terms1, terms2 in products:
            for kind1, key1, a1 in terms1:
                for kind2, key2, a2 in terms2:
                    matrix = _select(corr.kernel(key1, key2), kind1, kind2)
                    if matrix is None:
                        continue
                    factor = share * (_LEAKED_PAIR if key1[0] == key2[0] == "g" else 1.0)
                    # average over which amplitude is taken at l and which at l'
                    total += 0.5 * factor * ((left * a1) @ matrix @ (right * a2).T)
                    total += 0.5 * factor * ((left * a2) @ matrix @ (right * a1).T)
    return total


def _sources(master: Master, spectrum: str) -> list[str]:
    return [source for to, source in master.operators if to == spectrum]


def multi_covariance(plan: Plan, fields: Sequence[Field], signal: Spectra) -> Array:
    """Return the covariance of the data vector of :func:`~cmbfit.spectra.multi.estimate_bandpowers`.

    Parameters
    ----------
    fields : sequence of Field
        With noise models.
    signal : mapping of C_l in uK^2
        Fiducial theory from l = 0 to plan.lmax, see :func:`~cmbfit.spectra.estimate.cl_from_dl`.

    Returns
    -------
    ndarray, shape (entries * bins, entries * bins)
        In uK^4, ordered by entry, then bin.

    Raises
    ------
    SpectrumError
        When the result is not positive definite.
    """
    corr = FieldCorrelations(fields, signal, plan.lmax)
    entries, n = plan.entries, plan.bins.n
    out = np.zeros((len(entries), n, len(entries), n))
    for i, first in enumerate(entries):
        one = plan.masters[first.a, first.b]
        for j, second in enumerate(entries[: i + 1]):
            two = plan.masters[second.a, second.b]
            block = np.zeros((n, n))
            for s in _sources(one, first.spectrum):
                for t in _sources(two, second.spectrum):
                    block += pseudo_covariance(
                        corr,
                        Entry(s, first.a, first.b),
                        Entry(t, second.a, second.b),
                        one.operators[first.spectrum, s],
                        two.operators[second.spectrum, t],
                    )
            out[i, :, j] = block
            out[j, :, i] = block.T
    matrix = out.reshape(len(entries) * n, -1)
    matrix = 0.5 * (matrix + matrix.T)
    smallest = smallest_eigenvalue(matrix)
    if not smallest > 0:
        raise SpectrumError(
            f"the covariance of {len(entries)} spectra is not positive definite (smallest eigenvalue of its "
            f"correlation matrix {smallest:.3g}): apodise the masks, widen the bins or leave pairs out"
        )
    return matrix
