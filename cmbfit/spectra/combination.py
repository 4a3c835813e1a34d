"""Inverse-variance weighted combination of cross-spectra: one set of spectra from many pairs of fields.

In each bin the measurements x of one spectrum, with covariance C, give the estimate of least variance
w . x, w = C^-1 1 / (1 . C^-1 1). Weights come from the covariance only, never from the data, so the
combination is linear and its windows and covariance are exact: W = w W_x, C = w C_x w^T.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.sky.maps import Array
from cmbfit.spectra.multi import Plan
from cmbfit.spectra.product import COMBINED, Bandpowers


def combined_names(plan: Plan) -> tuple[str, ...]:
    """Return the spectra that come out of a combination: those of :data:`COMBINED` that any pair of fields has."""
    found = {e.spectrum for e in plan.entries}
    return tuple(n for n in COMBINED if found & {n, n[::-1]})


def combination_weights(plan: Plan, covariance: Array) -> Array:
    """Return the weights, shape (spectra, bins, entries), in the order of :func:`combined_names`; rows sum to one.

    te and et, eb and be, tb and bt count as measurements of one spectrum. Bins and spectra are
    weighed one by one: a full generalised least squares would mix neighbouring bins and has weights
    that depend on the details of the covariance.
    """
    entries, n = plan.entries, plan.bins.n
    if covariance.shape != (len(entries) * n,) * 2:
        raise SpectrumError(
            f"covariance of shape {covariance.shape}, expected {(len(entries) * n,) * 2}: {len(entries)} spectra "
            f"of {n} bins"
        )
    full = covariance.reshape(len(entries), n, len(entries), n)
    names = combined_names(plan)
    out = np.zeros((len(names), n, len(entries)))
    for k, name in enumerate(names):
        members = [i for i, e in enumerate(entries) if e.spectrum in (name, name[::-1])]
        for b in range(n):
            ones = np.ones(len(members))
            weights = np.linalg.solve(full[:, b, :, b][np.ix_(members, members)], ones)
            out[k, b, members] = weights / weights.sum()
    return out


def combine(
    plan: Plan, values: Array, covariance: Array, meta: Mapping[str, Any] | None = None
) -> Bandpowers:
    """Return the combined spectra tt, ee, bb, te, eb, tb with covariance and exact windows.

    Parameters
    ----------
    values : ndarray, shape (entries, bins)
        From :func:`~cmbfit.spectra.multi.estimate_bandpowers`.
    covariance : ndarray, shape (entries * bins, entries * bins)
        From :func:`~cmbfit.spectra.covariance.multi_covariance`, or of simulations.
    """
    entries, n = plan.entries, plan.bins.n
    if values.shape != (len(entries), n):
        raise SpectrumError(f"bandpowers of shape {values.shape}, expected {(len(entries), n)}")
    weights, names = combination_weights(plan, covariance), combined_names(plan)
    operator = np.einsum("kbe,bc->kbec", weights, np.eye(n)).reshape(len(names) * n, -1)
    combined = np.einsum("kbe,eb->kb", weights, values)
    matrix = operator @ covariance @ operator.T
    windows: dict[tuple[str, str], Array] = {}
    for i, entry in enumerate(entries):
        to = entry.spectrum if entry.spectrum in COMBINED else entry.spectrum[::-1]
        share = weights[names.index(to), :, i][:, None]
        for (target, source), window in plan.masters[entry.a, entry.b].windows.items():
            if target == entry.spectrum:
                # one theory for et and te: windows of both sources add up
                key = to, source if source in COMBINED else source[::-1]
                windows[key] = windows.get(key, 0.0) + share * window
    return Bandpowers(
        names,
        plan.bins.centres,
        plan.bins.edges,
        dict(zip(names, combined, strict=True)),
        0.5 * (matrix + matrix.T),
        windows,
        dict(meta or {}),
    )
