"""What a fit's summary must satisfy: convergence, folding, agreement with a reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cmbfit.report.checks import Check, above, below, between

_FOLDED = {
    "lcdm": (1e-6, "directions that hardly vary are dropped: 1e-4 of chi2 on average over the box"),
    "primordial": (1e-4, "of an imprint in single precision, on the model's own wavenumbers"),
}


def fit_checks(fit: Mapping[str, Any], summary: Mapping[str, Any]) -> list[Check]:
    """Return the checks of a fit.

    Parameters
    ----------
    fit : mapping
        The fit's section of the configuration: ``gate``, ``reference``, ``sampler``.
    summary : mapping
        From :func:`cmbfit.inference.publish.publish_fit`.
    """
    gate, convergence = fit["gate"], summary["convergence"]
    multiple = fit["sampler"].get("tau_multiple", 50)
    checks = [
        above(
            "chain length / longest tau",
            min(convergence["steps_over_tau"]),
            multiple,
            "where sampling stops; emcee's authors advise 50",
        ),
        below(
            "R - 1 between independent ensembles",
            convergence["r_minus_1_max"],
            gate["r_minus_1"],
            "split in halves; walkers are not independent",
        ),
    ]
    if summary["fold_difference"] is not None:
        checks.append(
            below(
                "folded against unfolded ln L, relative",
                summary["fold_difference"],
                *_FOLDED["primordial" if "primordial" in fit.get("theory", {}) else "lcdm"],
            )
        )
    for name in fit["reference"]["parameters"]:
        entry = summary["parameters"][name]
        source = fit["reference"]["source"]
        checks.append(below(f"{name}: mean - reference, in sigma", entry["pull"], gate["pull"], source))
        if entry["width_ratio"] is not None:
            low, high = gate["width_ratio"]
            checks.append(
                between(f"{name}: sigma / published sigma", entry["width_ratio"], low, high, source)
            )
    return checks
