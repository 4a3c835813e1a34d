"""All cross-spectra of a survey: values, covariance with the error of cleaning, one combined set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from cmbfit.errors import SpectrumError
from cmbfit.sky.harmonic import alm2cl, alm2map, map2alm, scale_alm
from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.combination import combine
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.estimate import cl_from_dl
from cmbfit.spectra.fields import Field
from cmbfit.spectra.filters import FilteredModes
from cmbfit.spectra.master import Spectra
from cmbfit.spectra.multi import Pair, Plan, estimate_bandpowers, make_plan
from cmbfit.spectra.product import Bandpowers
from cmbfit.survey.fields import SurveyField
from cmbfit.survey.products import PairSpectra

_OUTSIDE = 1e4
"""Factor on the error of a bandpower outside its range: its weight in a combination is 1e-8."""

_PTE = 1e-4
"""Limit of a single chi2 among some tens."""

Cuts = Mapping[str, Mapping[str, Sequence[int]]]
"""Spectrum -> "AxB" -> (lmin, lmax): bins that lie inside are used."""


def cleaning_covariance(plan: Plan, fields: Sequence[SurveyField]) -> Array:
    """Return the covariance that the error of the template coefficients adds to the data vector.

    Bandpowers are quadratic in the coefficients, D(b + db) = D + v db + db c db, so central
    differences along the axes of Cov(b) are exact: v v^T is the effect of first order and
    2 c c^T of second order for Gaussian db. Left out are terms of second order between two axes;
    coefficients of different fields count as independent.

    Returns
    -------
    ndarray, shape (entries * bins, entries * bins)
        uK^4.
    """
    alms = {f.field.name: f.cleaned() for f in fields}
    centre = estimate_bandpowers(plan, alms).ravel()
    out = np.zeros((centre.size, centre.size))
    for f in fields:
        if f.cleaning is None:
            continue
        values, axes = np.linalg.eigh(f.cleaning.covariance)
        for step in (axes * np.sqrt(np.clip(values, 0, None))).T:
            up, down = (
                estimate_bandpowers(plan, {**alms, f.field.name: f.cleaned(sign * step)}).ravel()
                for sign in (1, -1)
            )
            first, second = 0.5 * (up - down), 0.5 * (up + down) - centre
            out += np.outer(first, first) + 2 * np.outer(second, second)
    return out


def cleaning_noise(plan: Plan, fields: Sequence[SurveyField]) -> Array:
    """Return what the chance correlation of templates with a field's own noise adds to its spectra, shape (entries, bins).

    The fit sees the mean of all splits, so what it takes holds the noise of each: that of its spectrum with itself is not
    free of noise. (Its correlation with the sky is part of the windows.) N_l counts as uniform under the mask.
    """
    out = np.zeros((len(plan.entries), plan.bins.n))
    for f in (x.field for x in fields):
        pair = f.name, f.name
        if f.cleaned is None or pair not in plan.masters:
            continue
        added = _taken_noise(f, FilteredModes.given(f.cleaned, plan.lmax), plan.lmax)
        master = plan.masters[pair]
        for k, e in enumerate(plan.entries):
            if (e.a, e.b) == pair:
                parts = [
                    master.operator(e.spectrum, s) @ v
                    for s, v in added.items()
                    if (e.spectrum, s) in master.inverses
                ]
                out[k] = np.sum(parts, axis=0) if parts else 0.0
    return out


def _taken_noise(f: Field, modes: FilteredModes, lmax: int) -> dict[str, Array]:
    """Return what the fits of a field's cleaning add to the mean pseudo-spectra of its noise, splits crossed."""
    noise = np.mean([f.noise_of(s).p[: lmax + 1] for s in range(f.n_splits)], axis=0) / f.n_splits
    weights, grid = f.mask_of("e").weights, f.mask.grid
    seen = [map2alm(weights * alm2map(scale_alm(u, noise), grid, 2), lmax, 2, 0, grid=grid) for u in modes.u]
    shared = sum(
        modes.power("u", x, modes, x) @ ((2 * np.arange(lmax + 1) + 1) * noise) for x in modes.letters
    )
    out = {}
    for name in ("ee", "eb", "be", "bb"):
        i, j = ("eb".index(x) for x in name)
        both = np.einsum("ij,ijl->l", shared, modes.power("g", name[0], modes, name[1]))
        one = sum(alm2cl(g[i], s[j]) + alm2cl(s[i], g[j]) for g, s in zip(modes.g, seen, strict=True))
        out[name] = both - one
    return out


def used_bins(plan: Plan, cuts: Cuts) -> Array:
    """Return which bandpowers lie inside the ranges, shape (entries, bins).

    Raises
    ------
    SpectrumError
        When a range names no spectrum of the plan or keeps no bin.
    """
    low, high = np.array(plan.bins.edges[:-1]), np.array(plan.bins.edges[1:]) - 1
    out = np.ones((len(plan.entries), plan.bins.n), dtype=bool)
    known = {(e.spectrum, f"{e.a}x{e.b}") for e in plan.entries}
    for spectrum, ranges in cuts.items():
        for pair, (lmin, lmax) in ranges.items():
            if (spectrum, pair) not in known:
                raise SpectrumError(f"cuts: no spectrum {spectrum} of {pair} in this analysis")
            inside = (low >= lmin) & (high <= lmax)
            if not inside.any():
                raise SpectrumError(f"cuts: no bin of {spectrum} {pair} lies inside l = {lmin}-{lmax}")
            for k, e in enumerate(plan.entries):
                # te means et as well, unless et has a range of its own
                own = e.spectrum == spectrum or pair not in cuts.get(e.spectrum, {})
                if spectrum in {e.spectrum, e.spectrum[::-1]} and f"{e.a}x{e.b}" == pair and own:
                    out[k] = inside
    return out


def analyse(
    fields: Sequence[SurveyField],
    bins: Bins,
    dl: Spectra,
    *,
    lmax: int,
    pairs: Sequence[Pair] | None = None,
    cuts: Cuts | None = None,
    meta: Mapping[str, Any] | None = None,
) -> tuple[PairSpectra, Bandpowers, list[dict[str, Any]]]:
    """Estimate all cross-spectra, their covariance and the combination, and compare pairs of fields.

    Parameters
    ----------
    dl : mapping
        Fiducial D_l in uK^2 from l = 0, for the covariance and the expected bandpowers.
    lmax : int
        Of the mode coupling.
    pairs : sequence of (str, str), optional
        All when omitted.
    cuts : mapping, optional
        Multipole ranges outside of which a bandpower is not combined.

    Returns
    -------
    pairs : PairSpectra
    combined : Bandpowers
    checks : list
        Each spectrum against theory; differences of TT and of EE between pairs of fields and the first pair.
    """
    plain = [f.field for f in fields]
    plan = make_plan(plain, bins, lmax, pairs)
    alms = {f.field.name: f.cleaned() for f in fields}
    values = estimate_bandpowers(plan, alms) - cleaning_noise(plan, fields)
    theory = {k: v for k, v in dl.items() if k in {"tt", "te", "ee", "bb"}}
    notes: list[str] = []
    matrix = multi_covariance(plan, plain, cl_from_dl(theory, lmax), notes=notes)
    gaussian = np.sqrt(np.diag(matrix))
    matrix = matrix + cleaning_covariance(plan, fields)
    used = used_bins(plan, cuts or {})
    inflate = np.where(used, 1.0, _OUTSIDE).ravel()
    facts = {
        "w2": float(np.mean([f.mask.moment(2) for f in plain])),
        "fsky": float(np.mean([f.mask.fsky for f in plain])),
        "w2_p": float(np.mean([f.mask_of("e").moment(2) for f in plain])),
        "fsky_p": float(np.mean([f.mask_of("e").fsky for f in plain])),
        "fields": [f.name for f in plain],
        "splits": [f.n_splits for f in plain],
        "weighting": bins.weighting,
        "lmax_coupling": lmax,
        "cleaning_share_of_error": float(np.max(np.sqrt(np.diag(matrix)) / gaussian - 1)),
        **({"notes": "; ".join(notes)} if notes else {}),
    }
    combined = combine(plan, values, matrix * np.outer(inflate, inflate), {**facts, **(meta or {})})
    table = PairSpectra(
        tuple((e.spectrum, e.a, e.b) for e in plan.entries),
        bins.edges,
        values,
        plan.theory(theory),
        used,
        matrix,
        {k: v for k, v in facts.items() if k not in {"fields", "splits"}},
    )
    return table, combined, _pair_checks(plan, table)


def _pair_checks(plan: Plan, table: PairSpectra) -> list[dict[str, Any]]:
    """Return chi2 of each pair against theory, and of differences between pairs, over used bins."""
    n, entries = plan.bins.n, plan.entries
    full = table.covariance.reshape(len(entries), n, len(entries), n)
    residual = table.values - table.theory
    out = [
        _row(
            f"{e.spectrum.upper()} {e.a}x{e.b}, fiducial theory",
            residual[k],
            full[k, :, k],
            table.used[k],
            f"One of {len(entries)} spectra.",
        )
        for k, e in enumerate(entries)
    ]
    for spectrum in ("tt", "ee"):
        found = [k for k, e in enumerate(entries) if e.spectrum == spectrum]
        for first, k in [(found[0], k) for k in found[1:]]:
            matrix = full[first, :, first] + full[k, :, k] - full[first, :, k] - full[k, :, first]
            out.append(
                _row(
                    f"{entries[first]} - {entries[k]}",
                    residual[first] - residual[k],
                    matrix,
                    table.used[first] & table.used[k],
                    "Difference of spectra of one sky against that of the binned theory.",
                )
            )
    return out


def _row(name: str, delta: Array, matrix: Array, keep: Array, comment: str) -> dict[str, Any]:
    delta, matrix = delta[keep], 0.5 * (matrix + matrix.T)[np.ix_(keep, keep)]
    chi2 = float(delta @ np.linalg.solve(matrix, delta))
    pte = float(special.chdtrc(delta.size, chi2))
    return {
        "name": name,
        "value": pte,
        "tolerance": f"[{_PTE:g}, {1 - _PTE:g}]",
        "pass": bool(_PTE < pte < 1 - _PTE),
        "comment": f"chi2 = {chi2:.2f} for {delta.size} bandpowers. {comment}",
    }
