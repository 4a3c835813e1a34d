"""Noise spectra of a pair of maps, from their own auto- and cross-spectra.

The auto-spectrum of a map holds its sky and its noise, and the sky has to come off. The cross-spectrum with another
map has the sky of *both* beams and *both* masks. So all spectra are taken under one mask, the product of the two, and
with g = b_a / b_b the sky in the auto-spectrum of map a is, with C^ the measured and C the expected pseudo-spectra,

    C_aa + alpha g (C^_ab - C_ab),

without bias for the expected sky whatever alpha is. Per mode, with S = C_aa, what is left of N_a has the variance

    2 (1 - alpha)^2 S^2 + (2 - alpha)^2 S N_a + alpha^2 g^2 N_b (S + N_a) + 2 N_a^2:

alpha is where it is least, at most 1. Where the sky dominates this takes off the sky that was seen (alpha = 1, whatever
the theory says); where a beam has blurred the other map away, or noise dominates, the theory is better than a noisy
measurement (alpha = 0). Where the cross-spectrum refutes the theory (foregrounds), alpha = 1.

Noise that is not seen in a bin is joined with its neighbours until it is; nothing is clipped. What stays unseen is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins

_SEEN = 2.0
"""Errors by which noise must differ from zero in a bin, or in a group of bins."""

_REFUTED = 4.0
"""Errors by which the cross-spectrum may differ from the theory."""

_MATTERS = 0.02
"""Share of the power of a map above which sky that is missing or too much is worth a word."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Noise in bins.

    Attributes
    ----------
    level, error : ndarray, shape (bins,)
        N_l in uK^2 and its standard deviation.
    total : ndarray, shape (bins,)
        Power of the map, sky and noise.
    """

    level: Array
    error: Array
    total: Array

    @classmethod
    def mean(cls, several: list[Levels]) -> Levels:
        """Return the mean of least variance of several fields of one level: E and B."""
        weights = np.array([1 / x.error**2 for x in several])
        level = (weights * [x.level for x in several]).sum(axis=0) / weights.sum(axis=0)
        # what is small beside the largest power of either
        return cls(level, weights.sum(axis=0) ** -0.5, np.max([x.total for x in several], axis=0))


def bin_means(values: Array, bins: Bins) -> Array:
    """Return means over modes in each bin."""
    weight = bins.indicator(values.size - 1) * (2 * np.arange(values.size) + 1)
    return weight @ values / weight.sum(axis=1)


def interpolate(level: Array, bins: Bins, lmax: int) -> Array:
    """Return N_l from the noise in bins, zero at l = 0 and 1: single multipoles scatter too much to weigh data with."""
    noise = np.interp(np.arange(lmax + 1), bins.centres, level)
    noise[:2] = 0.0
    return noise


def _smooth(level: Array) -> Array:
    """Return means over neighbouring bins."""
    padded = np.concatenate([level[:1], level, level[-1:]])
    return np.asarray((padded[:-2] + padded[1:-1] + padded[2:]) / 3)


def noise_levels(
    measured: Mapping[str, Array],
    expected: Mapping[str, Array],
    beams: tuple[Array, Array],
    bins: Bins,
    fraction: float,
) -> tuple[Levels, Levels]:
    """Return the noise in bins of two maps, of one field T, E or B.

    Parameters
    ----------
    measured, expected : mapping "aa", "bb", "ab" -> ndarray, shape (lmax + 1,)
        Pseudo-spectra under one mask over its <w^2>; expected ones hold no noise.
    beams : pair of ndarray, shape (lmax + 1,)
        Zero of a map that does not have this field: the theory is then what is known of the sky.
    bins : Bins
        Must reach lmax (use :meth:`Bins.padded`).
    fraction : float
        Sky fraction that counts modes.
    """
    lmax = measured["ab"].size - 1
    modes = 2 * np.arange(lmax + 1.0) + 1
    weight = bins.indicator(lmax) * modes
    count = fraction * weight.sum(axis=1)
    own = [bin_means(measured[k], bins) for k in ("aa", "bb")]
    found = [
        Levels(t - bin_means(expected[k], bins), t * np.sqrt(2 / count), t)
        for t, k in zip(own, ("aa", "bb"), strict=True)
    ]
    for _ in range(
        4
    ):  # weights depend on the noise that is looked for; the size of a scatter is that of its noise
        guess = [
            np.interp(np.arange(lmax + 1), bins.centres, np.minimum(_smooth(np.abs(x.level)), x.total))
            for x in found
        ]
        found = []
        for k, name in ((0, "aa"), (1, "bb")):
            n, other, sky = guess[k], guess[1 - k], np.abs(expected[name])
            dark = np.abs(beams[1 - k]) <= 1e-6 * np.abs(beams[1 - k]).max()
            g = np.divide(beams[k], beams[1 - k], out=np.zeros(lmax + 1), where=~dark)
            off = g * (measured["ab"] - expected["ab"])
            blurred = g**2 * other * (sky + n)
            scatter = np.sqrt(weight @ (2 * sky**2 + sky * n + blurred) / weight.sum(axis=1) / count)
            refuted = np.abs(bin_means(off, bins)) > _REFUTED * scatter
            alpha = (2 * sky**2 + 2 * sky * n) / np.maximum(2 * sky**2 + sky * n + blurred, 1e-300)
            alpha = np.clip(alpha, 0, 1)
            alpha[(refuted @ (weight > 0)) & ~dark] = 1
            alpha[dark] = 0
            variance = (
                2 * ((1 - alpha) * sky) ** 2 + (2 - alpha) ** 2 * sky * n + alpha**2 * blurred + 2 * n**2
            )
            found.append(
                Levels(
                    bin_means(measured[name] - expected[name] - alpha * off, bins),
                    np.sqrt(weight @ variance / weight.sum(axis=1) / count),
                    own[k],
                )
            )
    return found[0], found[1]


def seen_noise(levels: Levels, bins: Bins, lmax: int, what: str) -> tuple[Array, list[str]]:
    """Return N_l from the noise in bins, and what is to be said of it.

    Parameters
    ----------
    what : str
        "T of map V".

    Returns
    -------
    noise : ndarray, shape (lmax + 1,)
    notes : list of str
    """
    notes = []
    low = (levels.level < -_REFUTED * levels.error) & (levels.level < -_MATTERS * levels.total)
    if low.any():
        b = int(np.argmin(levels.level / np.where(low, levels.total, np.inf)))
        notes.append(
            f"{what}: its auto-spectrum has {-levels.level[b] / levels.total[b]:.0%} less power than the sky of the "
            f"cross-spectrum at l {bins.edges[b]}-{bins.edges[b + 1] - 1}, {-levels.level[b] / levels.error[b]:.0f} errors: beams, "
            "calibration or noise that both maps share; noise there is taken from other bins"
        )
    # groups of bins: first bin, sum of weights, weighted sum of levels
    groups = [
        [k, 1 / e**2, v / e**2] for k, (v, e) in enumerate(zip(levels.level, levels.error, strict=True))
    ]
    significance = [g[2] / g[1] ** 0.5 for g in groups]
    while len(groups) > 1 and min(significance) < _SEEN:
        k = int(np.argmin(significance))
        sides = [j for j in (k - 1, k + 1) if 0 <= j < len(groups)]
        first = min(k, min(sides, key=lambda j: significance[j]))
        one, two = groups[first], groups.pop(first + 1)
        groups[first] = [one[0], one[1] + two[1], one[2] + two[2]]
        significance = [g[2] / g[1] ** 0.5 for g in groups]
    starts = np.array([g[0] for g in groups])
    mean = np.array([g[2] / g[1] for g in groups])
    level = mean[np.searchsorted(starts, np.arange(levels.level.size), side="right") - 1]
    if min(significance) < _SEEN:
        error = groups[0][1] ** -0.5
        share = ((max(mean[0], 0.0) + _SEEN * error) / levels.total).max()
        if share > _MATTERS:
            notes.append(
                f"{what}: noise is not seen, {mean[0]:.3g} +- {error:.2g} uK^2 over all multipoles, which may be {share:.0%} of "
                f"the map's power; errors count it as {max(mean[0], 0.0):.3g}: give the noise if you know it"
            )
        level = np.full(level.size, max(mean[0], 0.0))
    return interpolate(level, bins, lmax), notes
