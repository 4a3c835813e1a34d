"""Choosing an emulator's polynomials, and what more training would buy.

Both work on the coordinates of the principal components, which are computed once. Errors are those of
validation backgrounds, which are part of the training set: the held-out set judges the final emulator
and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from cmbfit.checkpoint import Checkpoint, kept_value
from cmbfit.errors import ConfigError
from cmbfit.theory.emulator.arrays import LOWL_EE_MAX, EmulatorArrays
from cmbfit.theory.emulator.polynomial import weighted_degrees
from cmbfit.theory.emulator.train import FitSettings, Prepared, evaluate_features, fit_prepared

_LOWL_SIGMA = np.sqrt(2 / (2 * np.arange(2, LOWL_EE_MAX + 1) + 1))


def coordinate_errors(arrays: EmulatorArrays, held: Prepared) -> dict[str, np.ndarray]:
    """Return errors of prepared spectra in sigma_CV of the median model.

    For a linear block the root mean square over its multipoles, shape (n,): its components are orthonormal in
    these units, so no spectrum need be decoded. For low-l EE each multipole of each spectrum, as the emulator's
    accuracy is stated: the largest over l would make one corner of the box choose.
    """
    h = evaluate_features(held.theta, arrays.box, arrays.coordinates, arrays.degrees)
    errors = {}
    for name, block in arrays.blocks.items():
        difference = h @ block.coefficients - held.targets[name]
        errors[name] = np.sqrt(np.square(difference).sum(1) / block.basis.shape[1])
    lowl = np.abs(np.expm1(h @ arrays.lowl_ee - held.targets["lowl_ee"])) / _LOWL_SIGMA
    return errors | {"lowl_ee": lowl.ravel()}


def _errors(
    training: Prepared,
    validation: Prepared,
    settings: FitSettings,
    box: Mapping[str, Sequence[float]],
) -> dict[str, list[float]]:
    """Return a fit's errors on the validation set: 95, 99 and 100%, by block."""
    errors = coordinate_errors(fit_prepared(training, settings, box), validation)
    return {k: np.percentile(e, [95, 99, 100]).tolist() for k, e in errors.items()}


def search(
    training: Prepared,
    validation: Prepared,
    settings: FitSettings,
    candidates: Sequence[Mapping[str, Any]],
    box: Mapping[str, Sequence[float]],
    store: Checkpoint | None = None,
) -> tuple[FitSettings, list[dict[str, Any]]]:
    """Fit each candidate and keep the best degree and weights, apart for the linear blocks and low-l EE.

    Parameters
    ----------
    training, validation : Prepared
        On the same components, without a common background.
    settings : FitSettings
        What the candidates do not name.
    candidates : sequence of mappings
        Each with ``degree`` and ``weights``: tried for the linear blocks and for low-l EE.
    box : mapping of str to (low, high)
    store : Checkpoint, optional
        Where each candidate's errors are kept, for a killed search to go on.

    Returns
    -------
    FitSettings
        The choice: least 99th percentile of the validation errors, cmb and low-l EE each.
    list of dict
        Every candidate with its number of terms and errors (95, 99, 100%); those with more terms than
        the spectra can determine are left out.
    """
    table: list[dict[str, Any]] = []
    for i, candidate in enumerate(candidates):
        degree, weights = float(candidate["degree"]), tuple(float(w) for w in candidate["weights"])
        n_terms = len(weighted_degrees(weights, degree))
        if len(training.theta) < 1.3 * n_terms:
            continue
        trial = replace(settings, degree=degree, weights=weights, lowl_degree=degree, lowl_weights=weights)
        errors = kept_value(store, f"candidate_{i}", partial(_errors, training, validation, trial, box))
        row = {"degree": degree, "weights": list(weights), "terms": n_terms, "errors": errors}
        table.append(row)
    if not table:
        raise ConfigError("search: no candidate has few enough terms for the training set; add smaller ones")
    linear = min(table, key=lambda row: row["errors"]["cmb"][1])
    lowl = min(table, key=lambda row: row["errors"]["lowl_ee"][1])
    chosen = replace(
        settings,
        degree=linear["degree"],
        weights=tuple(linear["weights"]),
        lowl_degree=lowl["degree"],
        lowl_weights=tuple(lowl["weights"]),
    )
    return chosen, table


def power_law(curve: Sequence[Mapping[str, Any]], source: str) -> tuple[float, float]:
    """Return the exponent of 99% error against spectra, and how many times the spectra halve the error.

    Parameters
    ----------
    curve : sequence of mappings
        From :func:`learning_curve`.
    source : str
        A block's name or ``lowl_ee``.

    Examples
    --------
    >>> curve = [{"spectra": n, "errors": {"cmb": [0, 1 / n, 0]}} for n in (100, 200, 400)]
    >>> exponent, factor = power_law(curve, "cmb")
    >>> round(exponent, 6), round(factor, 6)
    (-1.0, 2.0)
    """
    n = np.log([row["spectra"] for row in curve])
    error = np.log([row["errors"][source][1] for row in curve])
    exponent = float(np.polyfit(n, error, 1)[0])
    return exponent, float(2 ** (-1 / exponent)) if exponent < 0 else np.inf


def learning_curve(
    training: Prepared,
    validation: Prepared,
    settings: FitSettings,
    box: Mapping[str, Sequence[float]],
    fractions: Sequence[float] = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1),
    store: Checkpoint | None = None,
) -> list[dict[str, Any]]:
    """Return validation errors against the number of spectra.

    Where the spectra are too few for the chosen degree, it is lowered in steps of 1/4 until they are
    not. The spectra of a part are spread evenly over the design; the components are those of all. Each part's errors are
    kept in `store`, if there is one.
    """
    table = []
    for fraction in fractions:
        rows = np.unique(
            np.linspace(0, len(training.theta) - 1, round(fraction * len(training.theta))).astype(int)
        )
        part = training.select(rows)
        trial = settings
        while (
            max(
                len(weighted_degrees(trial.weights, trial.degree)),
                len(weighted_degrees(trial.lowl_weights, trial.lowl_degree)),
            )
            > len(rows) / 2
        ):
            trial = replace(trial, degree=trial.degree - 0.25, lowl_degree=trial.lowl_degree - 0.25)
        errors = kept_value(store, f"spectra_{len(rows)}", partial(_errors, part, validation, trial, box))
        row = {"spectra": len(rows), "degree": trial.degree, "lowl_degree": trial.lowl_degree}
        table.append({**row, "errors": errors})
    return table
