"""Checks of a spectrum product: chi^2 and probabilities to exceed, window sums, covariance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy import special

from cmbfit.sky.maps import Array
from cmbfit.spectra.binning import dl_factor
from cmbfit.spectra.covariance import smallest_eigenvalue
from cmbfit.spectra.master import Spectra
from cmbfit.spectra.product import Bandpowers
from cmbfit.units import dl_over_cl

SIGNAL = ("tt", "te", "et")
"""Spectra compared with a theory unless the caller says otherwise; the rest are nulls."""


def check_bandpowers(
    data: Bandpowers,
    theory_dl: Spectra,
    pte_limit: float = 1e-3,
    signal: Sequence[str] = SIGNAL,
    remark: str = "",
) -> list[dict[str, Any]]:
    """Return the checks of one product, each a mapping name, value, tolerance, pass, comment.

    Spectra of `signal` are compared with the theory, the others with zero; `remark` says what a reader
    should know of these maps and follows each chi2.

    A probability to exceed (PTE) passes between `pte_limit` and 1 - `pte_limit`: both a poor fit
    and a suspiciously good one fail.
    """
    binned = data.theory(theory_dl)
    checks = []
    for name in data.names:
        compared = name in signal
        chi2, dof = data.chi2(name, binned[name] if compared else None)
        pte = float(special.chdtrc(dof, chi2))
        what = "fiducial theory" if compared else "null"
        comment = f"chi2 = {chi2:.2f} for {dof} bandpowers. {remark}".rstrip()
        passed = pte_limit < pte < 1 - pte_limit
        checks.append(
            _check(f"{name.upper()} PTE, {what}", pte, f"[{pte_limit:g}, {1 - pte_limit:g}]", passed, comment)
        )
    checks.append(_window_check(data))
    smallest = smallest_eigenvalue(data.covariance)
    comment = "Smallest eigenvalue of the correlation matrix of all bandpowers; must be above zero."
    checks.append(_check("covariance, smallest eigenvalue", smallest, "> 0", smallest > 0, comment))
    return checks


def _window_check(data: Bandpowers) -> dict[str, Any]:
    if data.meta.get("weighting") == "uniform":
        unit = dl_factor(next(iter(data.windows.values())).shape[1] - 1)
        sums = [data.windows[s, s] @ unit / dl_over_cl(data.centres) for s in data.names]
        return _window_row(sums, "Largest departure from one of a flat C_l's bandpowers over that C_l.")
    sums = [data.windows[s, s].sum(axis=1) for s in data.names]
    return _window_row(sums, "Largest |sum_l W_bl - 1|: a flat D_l must come back as itself.")


def _window_row(sums: Sequence[Array], comment: str) -> dict[str, Any]:
    worst = float(np.max(np.abs(np.array(sums) - 1)))
    return _check("bandpower windows sum to one", worst, "< 0.001", worst < 1e-3, comment)


def _check(name: str, value: float, tolerance: str, passed: bool, comment: str) -> dict[str, Any]:
    return {"name": name, "value": value, "tolerance": tolerance, "pass": bool(passed), "comment": comment}
