"""The null tests of a survey, as one list of checks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import Bins
from cmbfit.spectra.fields import Field, Noise
from cmbfit.spectra.mask_couplings import MaskCouplings
from cmbfit.spectra.multi import estimate_bandpowers, make_plan
from cmbfit.spectra.nulls import (
    half_difference_noise,
    noise_level_checks,
    null_checks,
    parity_checks,
    u_sign_check,
)
from cmbfit.spectra.product import Bandpowers
from cmbfit.spectra.transforms import pseudo_spectra
from cmbfit.survey.fields import SurveyField, difference_alms


def split_checks(
    one: SurveyField, bins: Bins, lmax: int, couplings: MaskCouplings | None = None
) -> list[dict[str, Any]]:
    """Return the test that cross-spectra of half-differences of splits vanish; needs four splits."""
    field, differences = one.field, difference_alms(one.cleaned())
    if len(differences) < 2:
        return []
    noise = half_difference_noise(field.noise_of(0), field.noise_of(0))
    made = _difference_field(field, len(differences), noise)
    plan = make_plan([made], bins, lmax, couplings=couplings)
    values = estimate_bandpowers(plan, {made.name: differences})
    return null_checks(f"{field.name}, {len(differences)} differences of splits", plan, values, made)


def noise_check(one: SurveyField, bins: Bins) -> dict[str, Any]:
    """Return the test that a half-difference of two splits has the noise of I that the files state.

    Over the upper half of the multipoles, where noise is white. A tenth is accepted: published pixel
    variances leave out what correlates pixels.
    """
    field, first = one.field, difference_alms(one.alms)[0]
    size, npix = first.lmax + 1, field.mask.grid.whole_sky_pixels
    level = np.full(size, one.pixel_variance * 4 * np.pi / npix)
    stated = Noise(level, level, field.noise_of(0).depth)
    made = _difference_field(field, 1, half_difference_noise(stated, stated))
    autos = dict(pseudo_spectra(first, first))
    check = next(iter(noise_level_checks(made, autos, max(2, bins.lmax // 2), bins.lmax)))
    limit = 0.1 + check["tolerance"]
    return {
        **check,
        "name": f"{field.name}, noise of I in a half-difference over that of the files, minus one",
        "tolerance": limit,
        "pass": bool(abs(check["value"]) < limit),
    }


def _difference_field(field: Field, n: int, noise: Noise) -> Field:
    return replace(field, name=f"{field.name} splits", splits=n, noise=noise)


def channel_checks(
    one: SurveyField, bins: Bins, lmax: int, couplings: MaskCouplings | None = None
) -> list[dict[str, Any]]:
    """Return the test that cross-spectra of splits of a difference of channels vanish: no sky is left."""
    plan = make_plan([one.field], bins, lmax, couplings=couplings)
    values = estimate_bandpowers(plan, {one.field.name: one.cleaned()})
    return null_checks(f"{one.field.name}, difference of channels", plan, values, one.field)


def survey_checks(
    fields: Sequence[SurveyField],
    combined: Bandpowers,
    bins: Bins,
    dl: dict[str, Array],
    lmax: int,
    differences: Sequence[SurveyField] = (),
) -> list[dict[str, Any]]:
    """Return all null tests: splits of each field, channels, EB and TB of the combination, the sign of U."""
    split = [f for f in fields if f.field.n_splits > 1]
    couplings = MaskCouplings(lmax)  # fields share masks
    out = [check for f in split for check in split_checks(f, bins, lmax, couplings)]
    out += [noise_check(f, bins) for f in split if f.pixel_variance > 0]
    out += [check for d in differences for check in channel_checks(d, bins, lmax, couplings)]
    u_sign = [u_sign_check(combined, dl)] if {"ee", "bb"} <= set(combined.names) else []
    return [*out, *parity_checks(combined), *u_sign]
