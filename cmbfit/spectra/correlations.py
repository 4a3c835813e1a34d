"""Two-point functions of masked fields, in the closed form that a covariance is made of.

With K the kernels of the masks (E~ = K+ E + i K- B, B~ = -i K- E + K+ B, T~ = K0 T), those of the
masked fields i, k are taken as

    <T~ T~> = C_TT K0(w_i w_k),
    <E~ E~> = C_EE K+(w_i w_k) + (C_BB - C_EE) K- K-^dagger,
    <B~ B~> = C_BB K+(w_i w_k) + (C_EE - C_BB) K- K-^dagger,
    <E~ B~> = C_EB K+(w_i w_k) + i C_EE K-(h_ik) + i C_BB K-(h_ki),
    <T~ B~> = C_TB K0(w_i w_k) + i C_TE K-(h_ik),
    noise of one split: N_l K(depth w_i^2), with i N_l K-(depth w_i^2) between E and B: exact if white.

Two rules stand behind them. First, for an operator C that is diagonal in l,

    w C w = (w^2 C + C w^2) / 2 - [w, [w, C]] / 2

is an identity, so the amplitude of an element (l, l') is the arithmetic mean (C_l + C_l') / 2. The
customary products C_l C_l' in the covariance are its geometric counterpart, and lose nearly all of
the correlation of distant multipoles where the spectrum is steep. The double commutator is the power
that the mask carries between multipoles; the improved narrow-kernel approximation (Nicola et al.
2021, arXiv:2010.09717) accounts for it in the mean by taking for C_l the spectrum coupled by the masks
and divided by the mean of the weight, beams included: M++ + M-- for K+(w_i w_k), M-- for K- K-^dagger.

Second, K+ K+^dagger + K- K-^dagger = K+(w w') and K+ K-^dagger + K- K+^dagger = K-(w w'). Leaked power
does not lie where the mask is, but where it falls off: for l above the mask's own scales
K-(l, l') = 2 (l_perp . q / l^2) w(q), q = l - l', so K- K-^dagger is the kernel of (4 / l^2) (d_perp w)^2,
and g = grad w_i . grad w_k up to the average over directions weighs it, with 1 / (l l') beside the mean of C. E meets B,
or T, where the mask of B falls off: grad h_ik = w_i grad w_k up to a curl. For one mask h = w^2 / 2, as the second rule
has it; where masks differ (of T and of Q, U, or of two fields) halves would be wrong: a mask of T that is flat
where that of Q, U falls off gives all of it, the reverse none. docs/methods/spectra.md has the derivation and its Monte Carlo.

Pure B is B^p = N K0 N^-1 B, so chi = N^-1 B is a scalar with the spectrum C_BB / N^2 behind the same mask:
the first rule holds for chi. Its noise, white in the pixels, is projected on
w 2Y + 2 f1 (eth w) 1Y + f0 (eth^2 w) Y: three weights, depth times w^2, |eth w|^2 and |eth^2 w|^2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.harmonic import Alm, alm2cl, change_lmax, lmax_of, map2alm
from cmbfit.sky.maps import Array, Mask
from cmbfit.spectra.coupling import PURE, Coupling, letters, pure_scale, responses
from cmbfit.spectra.fields import Field, check_fields
from cmbfit.spectra.gradients import gradient, gradient_lmax, gradient_product, mask_derivatives, potential
from cmbfit.spectra.mask_couplings import MaskCouplings
from cmbfit.spectra.master import Spectra, couple, spectrum_of

Weight = tuple[str, int, int]
"""Kind, mask, and mask or noise depth: "s" w w', "g" grad w . grad w', "h" potential of w grad w', "n" depth w^2, "n1"
depth |eth w|^2, "n2" ..."""


@dataclass(frozen=True, eq=False)
class Term:
    """A kernel of a weight map times an amplitude a(l, l') = sum_k f_k(l) g_k(l').

    Attributes
    ----------
    kind : str
        "0", "+" or "-".
    weight : tuple
        Of the kernel.
    left, right : ndarray, shape (rank, lmax + 1)
        f and g.
    """

    kind: str
    weight: Weight
    left: Array
    right: Array

    @classmethod
    def mean(cls, kind: str, weight: Weight, amplitude: Array, scales: tuple[Array, Array]) -> Term:
        """Return the term of (A_l / s_l s'_l + A_l' / s_l' s'_l') s_l s'_l' / 2, the arithmetic mean up to scales."""
        one, two = scales
        reduced = np.divide(amplitude, one * two, out=np.zeros_like(amplitude), where=one * two > 0)
        return cls(kind, weight, np.stack([0.5 * reduced * one, 0.5 * one]), np.stack([two, two * reduced]))


class FieldCorrelations:
    """Two-point functions of masked fields.

    Parameters
    ----------
    fields : sequence of Field
        With noise models.
    signal : mapping of C_l in uK^2
        Common to all fields, from l = 0 to at least lmax, before beams.
    nthreads : int
        For transforms and couplings.
    """

    def __init__(
        self,
        fields: Sequence[Field],
        signal: Spectra,
        lmax: int,
        nthreads: int = 1,
        couplings: MaskCouplings | None = None,
    ) -> None:
        check_fields(fields)
        for name, cl in signal.items():
            if cl.size <= lmax or not np.isfinite(cl).all():
                raise SpectrumError(
                    f"signal {name}: expected finite C_l up to l = {lmax}, found {cl.size - 1}"
                )
        self.fields: Mapping[str, Field] = {f.name: f for f in fields}
        self.grid = fields[0].mask.grid
        self.lmax = lmax
        self.signal = signal
        self._nthreads = nthreads
        self._masks = MaskCouplings(lmax, nthreads) if couplings is None else couplings
        self._mask_of = {(f.name, x): self._masks.label(f.mask_of(x)) for f in fields for x in "teb"}
        depths = [f.noise_of(s).depth for f in fields for s in range(f.n_splits)]
        self._depths = [d for d in depths if d is not None]
        self._spectra: dict[tuple[str, str], dict[str, Array]] = {}
        self._alms: dict[Weight, Alm] = {}
        self._means: dict[Weight, float] = {}
        self._kernels: dict[tuple[Weight, Weight], Coupling] = {}
        self._gradients: dict[int, Array] = {}
        self._derivatives: dict[int, tuple[Array, Array]] = {}
        self._terms: dict[tuple[str, ...], list[Term]] = {}

    @cached_property
    def _depth_labels(self) -> list[int]:
        """Return for each depth map the index of the first that is the same: kernels are shared."""
        known = self._depths
        return [next(k for k, d in enumerate(known) if d is x or np.array_equal(d, x)) for x in known]

    def _depth_of(self, field: str, index: int) -> int:
        """Return the label of a split's depth map, -1 for uniform noise."""
        depth = self.fields[field].noise_of(index).depth
        if depth is None:
            return -1
        return self._depth_labels[next(k for k, d in enumerate(self._depths) if d is depth)]

    def mask_label(self, mask: Mask) -> int:
        """Return the index of the first mask with these weights."""
        return self._masks.label(mask)

    def _letters(self, p: str, i: str, q: str, k: str) -> str:
        return letters(p + q, (self.fields[i].purify_b, self.fields[k].purify_b))

    def _coupled(self, i: str, k: str) -> dict[str, Array]:
        """Return the amplitudes of two fields: mean pseudo-spectra "ee", power that leaks "leak ee", E-B mixing "mix eb"."""
        if (i, k) in self._spectra:
            return self._spectra[i, k]
        one, two, size = self.fields[i], self.fields[k], self.lmax + 1
        both, pure = self._masks.pair(one, two), (one.purify_b, two.purify_b)
        out = couple(self.signal, both, one.transfer, two.transfer, pure)
        modes = 2 * np.arange(size) + 1

        def sky(name: str) -> Array:
            found = spectrum_of(self.signal, name)
            gain = one.transfer.of(name[0])[:size] * two.transfer.of(name[1])[:size]
            return np.zeros(size) if found is None else modes * gain * found[:size]

        ee, bb, c = sky("ee"), sky("bb"), both.of_spectrum("ee")
        mm_ee, mm_bb = (c.times("xmm", x) for x in (ee, bb))
        for name, leak in (("ee", mm_bb - mm_ee), ("bb", mm_ee - mm_bb)):
            if PURE not in letters(name, pure):
                out["leak " + name] = leak
                out[name] = out[name] - leak
        mixed = np.stack([c.times("xpp", ee) + mm_ee, c.times("xpp", bb) + mm_bb])
        # of E and of B, or T, each where the mask of the other falls off: a pure B leaves that of E alone
        for name, source, sign in (("eb", "te", 1), ("be", "et", -1)):
            if PURE in letters(name, pure):
                (r,) = responses(name, both, pure)
                out["mix " + name] = sign * np.stack([np.zeros(size), r.apply(bb / modes)])
            else:
                out["mix " + name] = sign * mixed
            t = name.replace("e", "t")
            if PURE not in letters(t, pure):
                cross = both.of_spectrum(t).times("x02", sky(source))
                out["mix " + t] = sign * np.stack([cross, np.zeros(size)])
        self._spectra[i, k] = out
        return out

    def weight_map(self, key: Weight) -> Array:
        """Return the map of a weight other than "h", shape (npix,)."""
        kind, one, two = key
        first = self._masks.masks[one]
        if kind == "s":
            return first.weights * self._masks.masks[two].weights
        if kind == "g":
            return gradient_product(self._gradient(one), self._gradient(two))
        depth = 1.0 if two < 0 else self._depths[two]
        if kind == "n":
            return first.weights**2 * depth
        if one not in self._derivatives:
            self._derivatives[one] = mask_derivatives(first)
        return (self._derivatives[one][0 if kind == "n1" else 1] ** 2).sum(axis=0) * depth

    def _gradient(self, mask: int) -> Array:
        if mask not in self._gradients:
            self._gradients[mask] = gradient(
                self._masks.masks[mask].weights, self.grid, self.lmax, self._nthreads
            )
        return self._gradients[mask]

    def _prepare(self, key: Weight) -> None:
        if key in self._alms:
            return
        kind, one, two = key
        if kind == "h":
            steep = self._masks.masks[one].weights * self._gradient(two)
            self._alms[key] = potential(steep, self.grid, 2 * self.lmax, self._nthreads)
            return
        values = self.weight_map(key)
        self._means[key] = self.grid.mean(values)
        top = 2 * self.lmax
        if kind == "g":  # a product of two gradients reaches twice as far as each, and no further
            top = min(top, 2 * gradient_lmax(self.grid, self.lmax))
        self._alms[key] = map2alm(values[None], top, 0, 0, self._nthreads, self.grid)[0]

    def kernel(self, one: Weight, two: Weight) -> Coupling:
        """Return the coupling matrices of the cross-spectrum of two weights."""
        key = (one, two) if one <= two else (two, one)
        if key not in self._kernels:
            for k in key:
                self._prepare(k)
            a, b = (self._alms[k] for k in key)
            top = min(lmax_of(a), lmax_of(b))
            found = alm2cl(*(x if lmax_of(x) == top else change_lmax(x, top) for x in (a, b)))
            spectrum = np.pad(found, (0, 2 * self.lmax - top))
            self._kernels[key] = Coupling(spectrum, self.lmax, nthreads=self._nthreads)
        return self._kernels[key]

    def _mean(self, key: Weight) -> float:
        self._prepare(key)
        return self._means[key]

    def _scales(self, pq: str) -> tuple[Array, Array]:
        """Return what turns amplitudes of chi into those of pure B: N_l on its side, ones elsewhere."""
        one, two = (pure_scale(self.lmax) if x == PURE else np.ones(self.lmax + 1) for x in pq)
        return one, two

    def coupling_of(self, name: str, letter: str) -> Coupling:
        """Return the coupling of the mask of the field "t" or "e" with itself."""
        mask = self.fields[name].mask_of(letter)
        return self._masks.of(mask, mask)

    def leaked_share(self, name: str) -> Array:
        """Return the share of the power of a field's masked B, noise included, that is leaked E; shape (lmax + 1,)."""
        field, cl = self.fields[name], self._coupled(name, name)
        leaked = np.maximum(cl.get("leak bb", np.zeros(self.lmax + 1)), 0)
        splits = range(field.n_splits)
        noise = sum(self._noise_power(name, s) for s in splits) / field.n_splits**2
        total = cl["bb"] + leaked + noise
        return np.divide(leaked, total, out=np.zeros_like(leaked), where=leaked > 0)

    def _noise_power(self, name: str, split: int) -> Array:
        """Return the noise of the masked B of one split."""
        noise, depth = self.fields[name].noise_of(split), self._depth_of(name, split)
        mask = self._mask_of[name, "b"]
        return noise.p[: self.lmax + 1] * self._mean(("s", mask, mask) if depth < 0 else ("n", mask, depth))

    def signal_terms(self, p: str, i: str, q: str, k: str) -> list[Term]:
        """Return the terms of <p~_i q~_k> that all splits share; p and q are "t", "e" or "b"."""
        return self._once(("signal", p, i, q, k), lambda: self._signal_terms(p, i, q, k))

    def noise_terms(self, p: str, q: str, i: str, index: int) -> list[Term]:
        """Return the terms of <p~ q~> from the noise of one split of field i."""
        return self._once(("noise", p, q, i, str(index)), lambda: self._noise_terms(p, q, i, index))

    def _once(self, key: tuple[str, ...], make: Callable[[], list[Term]]) -> list[Term]:
        if key not in self._terms:
            self._terms[key] = make()
        return self._terms[key]

    def _signal_terms(self, p: str, i: str, q: str, k: str) -> list[Term]:
        cl, pq = self._coupled(i, k), self._letters(p, i, q, k)
        first, second = self._mask_of[i, p], self._mask_of[k, q]
        masks = min(first, second), max(first, second)
        sky: Weight = ("s", *masks)
        area = self._mean(sky)
        if not area > 0:
            return []  # masks without common sky
        scales = self._scales(pq)
        scalar = "t" in pq or PURE in pq
        out = [("0" if scalar else "+", sky, cl[p + q] / area, scales)]
        if "leak " + p + q in cl:
            # no falling edge, no leakage: a gradient that is all rounding must not be divided by
            edge: Weight = ("g", *masks)
            steep = [self._mean(("g", x, x)) for x in masks]
            if abs(self._mean(edge)) > 1e-3 * np.sqrt(steep[0] * steep[1]) > 1e-12:
                inverse = 1 / np.maximum(np.arange(self.lmax + 1.0), 1)  # K- holds 1 / l, see above
                out.append(("+", edge, cl["leak " + p + q] / self._mean(edge), (inverse, inverse)))
        if "mix " + p + q in cl:
            of_e, of_b = cl["mix " + p + q] / area
            if first == second:  # w grad w = grad w^2 / 2
                out.append(("-", sky, 0.5 * (of_e + of_b), scales))
            else:
                e, b = (first, second) if q == "b" else (second, first)
                out += [("-", ("h", e, b), of_e, scales), ("-", ("h", b, e), of_b, scales)]
        return [Term.mean(kind, weight, a, both) for kind, weight, a, both in out if a.any()]

    def _noise_terms(self, p: str, q: str, i: str, index: int) -> list[Term]:
        noise, depth, mask = self.fields[i].noise_of(index), self._depth_of(i, index), self._mask_of[i, p]
        size, pq = self.lmax + 1, self._letters(p, i, q, i)
        for level in (noise.t, noise.p):
            if level.size < size:
                raise SpectrumError(f"noise of field {i!r} up to l = {level.size - 1}, {self.lmax} is needed")
        # uniform noise lies where the sky does: one weight, one kernel
        key: Weight = ("s", mask, mask) if depth < 0 else ("n", mask, depth)
        level = noise.of(p)[:size]
        one = np.ones(size)
        if pq == PURE + PURE:
            f0 = self._scales(pq)[0]
            f1 = f0 * np.sqrt(np.arange(size) * (np.arange(size) + 1.0))
            root = np.sqrt(level)
            parts = [("+", key, one), ("0", ("n1", mask, depth), 2 * f1), ("0", ("n2", mask, depth), f0)]
            # products of like powers of l: exact where the level is flat
            return [Term(kind, w, (root * f)[None], (root * f)[None]) for kind, w, f in parts]
        if p == q:
            return [Term.mean("0" if p == "t" else "+", key, level, (one, one))]
        if "t" in pq:
            return []
        # purification takes the gradient of w^2 away from w^2: half of K- stays
        sign = (1.0 if p == "e" else -1.0) * (0.5 if PURE in pq else 1.0)
        return [Term.mean("-", key, sign * level, (one, one))]

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
