"""Null tests: combinations of the data in which the sky cancels, and spectra that must be zero.

Differences can be taken of maps (split differences, two bands of one beam: :func:`split_difference`,
:func:`band_difference`, fields like any other, with no signal) or of spectra (any beams and masks,
:func:`difference_checks`: the same sky is in both, so A C A^T holds what does not cancel).
Every check is a mapping name, value, tolerance, pass, comment.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array, StokesMap
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.fields import Field, Noise, same_mask
from cmbfit.spectra.multi import Entry, Plan
from cmbfit.spectra.product import Bandpowers

Check = dict[str, Any]


def _row(name: str, value: float, tolerance: float, passed: bool, comment: str) -> Check:
    return {"name": name, "value": value, "tolerance": tolerance, "pass": bool(passed), "comment": comment}


def _half_difference(one: StokesMap, two: StokesMap) -> StokesMap:
    i, q, u = 0.5 * (one.iqu - two.iqu)
    return StokesMap(i, q, u, coord=one.coord, name=f"({one.name} - {two.name}) / 2")


def half_difference_noise(one: Noise, two: Noise) -> Noise:
    """Return the noise of (map 1 - map 2) / 2: a quarter of the sum.

    With depth maps this is exact when both spectra have one shape and one ratio of T to P.
    """
    size = min(one.t.size, two.t.size)
    t, p = (0.25 * (x[:size] + y[:size]) for x, y in ((one.t, two.t), (one.p, two.p)))
    if one.depth is None and two.depth is None:
        return Noise(t, p)
    share = float(np.median(one.p[:size]) / (np.median(one.p[:size]) + np.median(two.p[:size])))
    depth_one, depth_two = (np.ones(1) if x.depth is None else x.depth for x in (one, two))
    return Noise(t, p, share * depth_one + (1 - share) * depth_two)


def split_difference(field: Field) -> Field:
    """Return the field of half-differences (s1 - s2) / 2, (s3 - s4) / 2, ...: no sky, all the noise.

    Four splits give two differences with independent noise, whose cross-spectra must be zero.
    """
    if field.n_splits < 4 or field.n_splits % 2:
        raise SpectrumError(
            f"field {field.name!r} has {field.n_splits} splits: differences whose cross-spectra are free of noise "
            "need an even number from 4"
        )
    pairs = [(k, k + 1) for k in range(0, field.n_splits, 2)]
    maps = [_half_difference(field.maps[a], field.maps[b]) for a, b in pairs]
    noise = None
    if field.noise is not None:
        noise = [half_difference_noise(field.noise_of(a), field.noise_of(b)) for a, b in pairs]
    return Field(f"{field.name} splits", maps, field.mask, field.transfer, noise, mask_p=field.mask_p)


def band_difference(one: Field, two: Field) -> Field:
    """Return the field of half-differences of two bands, split by split: V - W.

    Raises
    ------
    SpectrumError
        Unless masks, beams and numbers of splits agree: with different beams the sky does not
        cancel; bring the maps to one beam or use :func:`difference_checks`.
    """
    if one.n_splits != two.n_splits or not all(same_mask(one.mask_of(x), two.mask_of(x)) for x in "te"):
        raise SpectrumError(f"{one.name} - {two.name}: expected one mask and equal numbers of splits")
    for letter in "tp":
        a, b = getattr(one.transfer, letter), getattr(two.transfer, letter)
        size = min(a.size, b.size)
        if not np.allclose(a[:size], b[:size], rtol=1e-3, atol=1e-6):
            raise SpectrumError(f"{one.name} - {two.name}: the beams differ, so the sky does not cancel")
    maps = [_half_difference(a, b) for a, b in zip(one.maps, two.maps, strict=True)]
    noise = None
    if one.noise is not None and two.noise is not None:
        noise = [half_difference_noise(one.noise_of(s), two.noise_of(s)) for s in range(one.n_splits)]
    return Field(f"{one.name} - {two.name}", maps, one.mask, one.transfer, noise, mask_p=one.mask_p)


def null_checks(title: str, plan: Plan, values: Array, field: Field, pte_limit: float = 1e-3) -> list[Check]:
    """Return chi2 tests against zero of a difference field, one for each spectrum.

    Parameters
    ----------
    plan : Plan
        Of this field alone.
    values : ndarray, shape (entries, bins)
        From :func:`~cmbfit.spectra.multi.estimate_bandpowers`.
    field : Field
        With a noise model; the covariance is that of noise alone.
    """
    matrix = multi_covariance(plan, [field], {"tt": np.zeros(plan.lmax + 1)})
    n = plan.bins.n
    return [
        _chi2_check(
            f"{title}, {e.spectrum.upper()}",
            values[k],
            matrix[k * n : (k + 1) * n, k * n : (k + 1) * n],
            pte_limit,
            "Difference of maps against zero; covariance of the noise alone.",
        )
        for k, e in enumerate(plan.entries)
    ]


def _chi2_check(name: str, delta: Array, matrix: Array, limit: float, comment: str) -> Check:
    chi2 = float(delta @ np.linalg.solve(matrix, delta))
    pte = float(special.chdtrc(delta.size, chi2))
    text = f"chi2 = {chi2:.2f} for {delta.size} bandpowers. {comment}"
    return _row(f"{name} PTE", pte, limit, limit < pte < 1 - limit, text)


def difference_checks(
    plan: Plan,
    values: Array,
    covariance: Array,
    pairs: Sequence[tuple[Entry, Entry]],
    theory_dl: dict[str, Array],
    pte_limit: float = 1e-3,
) -> list[Check]:
    """Return chi2 tests of differences of spectra, for example TT of V x V minus TT of V x W.

    The windows of two pairs differ a little, so the difference of the binned theory is taken off.
    """
    entries, n = plan.entries, plan.bins.n
    expected = plan.theory(theory_dl)
    full = covariance.reshape(len(entries), n, len(entries), n)
    out = []
    for one, two in pairs:
        if one not in entries or two not in entries or one == two:
            raise SpectrumError(
                f"difference of {one} and {two}: expected two different ones of the data vector"
            )
        i, j = entries.index(one), entries.index(two)
        matrix = full[i, :, i] + full[j, :, j] - full[i, :, j] - full[j, :, i]
        delta = (values[i] - values[j]) - (expected[i] - expected[j])
        comment = "Difference of spectra against that of the binned theory."
        out.append(_chi2_check(f"{one} - {two}", delta, 0.5 * (matrix + matrix.T), pte_limit, comment))
    return out


def parity_checks(data: Bandpowers, pte_limit: float = 1e-3) -> list[Check]:
    """Return chi2 tests of EB and TB (and BE, BT) against zero."""
    comment = "No parity violation; a non-zero value also points at the polarisation angle or a U sign."
    return [
        _chi2_check(f"{s.upper()} null", data.values[s], data.block(s), pte_limit, comment)
        for s in data.names
        if s in {"eb", "be", "tb", "bt"}
    ]


def u_sign_check(data: Bandpowers, theory_dl: dict[str, Array]) -> Check:
    """Return the alarm for a COSMO / IAU mistake: B modes as large as half of the E modes.

    The value is the amplitude of the EE theory found in BB. A flip of U turns about half of EE into
    BB (0.50 for a random sky); any foreground or noise bias of this size is an alarm, too.
    """
    model = data.theory({"ee": theory_dl["ee"]})["ee"]
    weighted = np.linalg.solve(data.block("bb"), model)
    error = float(1 / np.sqrt(model @ weighted))
    amplitude = float(weighted @ data.values["bb"]) * error**2
    ee = np.linalg.solve(data.block("ee"), model)
    of_ee = float(ee @ data.values["ee"] / (ee @ model))
    comment = f"BB = {amplitude:.3f} +- {error:.3f} of the EE theory, EE = {of_ee:.3f} of it. "
    comment += "A flipped U gives 0.5 in both." if error < 0.1 else "Too noisy to see a flipped U."
    return _row(
        "U sign, BB over EE", amplitude, 0.25, not (amplitude > 0.25 and amplitude > 3 * error), comment
    )


def noise_level_checks(field: Field, autos: dict[str, Array], lmin: int, lmax: int) -> list[Check]:
    """Return the ratio of measured to modelled noise from a half-difference (half-ring) map.

    Parameters
    ----------
    field : Field
        One half-difference map, with its noise model.
    autos : mapping "tt", "ee", "bb" -> ndarray, shape (> lmax,)
        Pseudo-C_l of that map with itself.
    lmin, lmax : int
        Multipoles averaged, both included.
    """
    if not 2 <= lmin < lmax:
        raise SpectrumError(f"noise level from l = {lmin} to {lmax}: expected 2 <= lmin < lmax")
    noise = field.noise_of(0)
    ell = np.arange(lmin, lmax + 1)
    modes = 2 * ell + 1
    out = []
    for name in ("tt", "ee", "bb"):
        weights = field.mask_of(name[0]).weights ** 2 * (1.0 if noise.depth is None else noise.depth)
        mean = field.mask.grid.mean
        effective = mean(weights) ** 2 / mean(weights**2) * modes.sum()
        error = float(np.sqrt(2 / effective))
        expected = noise.of(name[0])[lmin : lmax + 1] * mean(weights)
        ratio = float(modes @ (autos[name][lmin : lmax + 1] / expected) / modes.sum())
        comment = f"Ratio of half-difference to model noise, l {lmin}-{lmax}: {ratio:.4f} +- {error:.4f}."
        out.append(
            _row(f"noise level {name.upper()}", ratio - 1, 4 * error, abs(ratio - 1) < 4 * error, comment)
        )
    return out
