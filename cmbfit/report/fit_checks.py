"""What a fit's summary must satisfy: convergence, folding, agreement with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmbfit.fit.description import Fit
from cmbfit.inference.samplers import settings_of
from cmbfit.report.checks import Check, above, below, between, untested

_FOLDED = {
    "lcdm": (1e-6, "directions that hardly vary are dropped: 1e-4 of chi2 on average over the box"),
    "primordial": (1e-4, "of an imprint in single precision, on the model's own wavenumbers"),
}


_SCATTER = 3.0
"""Scatter of ln Z in the runs' own errors; two runs exceed it by chance once in 400."""


def fit_checks(fit: Fit, summary: Mapping[str, Any]) -> list[Check]:
    """Return the checks of a fit.

    Parameters
    ----------
    fit : Fit
    summary : mapping
        From :func:`cmbfit.inference.publish.publish_fit`.
    """
    checks = _convergence(fit, summary)
    if summary["fold_difference"] is not None:
        checks.append(
            below(
                "folded against unfolded ln L, relative",
                summary["fold_difference"],
                *_FOLDED["primordial" if fit.primordial else "lcdm"],
            )
        )
    if fit.reference is None:
        return checks
    source = fit.reference.source
    for name in fit.reference.parameters:
        entry = summary["parameters"][name]
        checks.append(below(f"{name}: mean - reference, in sigma", entry["pull"], fit.gate.pull, source))
        if entry["width_ratio"] is not None:
            title = f"{name}: sigma / published sigma"
            checks.append(between(title, entry["width_ratio"], *fit.gate.width_ratio, source))
    return checks


def _convergence(fit: Fit, summary: Mapping[str, Any]) -> list[Check]:
    convergence, evidence = summary["convergence"], summary["evidence"]
    checks = []
    multiple = getattr(settings_of(fit.sampler), "tau_multiple", None)
    if multiple is not None:
        checks.append(
            above(
                "chain length / longest tau",
                min(convergence["steps_over_tau"]),
                multiple,
                "where sampling stops; emcee's authors advise 50",
            )
        )
    name = "R - 1 between independent ensembles"
    if convergence["r_minus_1_max"] is None:
        checks.append(untested(name, "one ensemble alone: whether another would agree is untested"))
    else:
        comment = "split in halves; walkers are not independent"
        checks.append(below(name, convergence["r_minus_1_max"], fit.gate.r_minus_1, comment))
    if evidence is not None and evidence["scatter"] is not None:
        comment = "the error of their mean is widened by it"
        checks.append(
            below(
                "scatter of ln Z between independent runs, in their errors",
                evidence["scatter"],
                _SCATTER,
                comment,
            )
        )
    return checks
