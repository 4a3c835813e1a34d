"""Checks of a spectrum product: chi^2 and probabilities to exceed, window sums, covariance."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from cmbfit.spectra.covariance import smallest_eigenvalue
from cmbfit.spectra.master import Spectra
from cmbfit.spectra.product import Bandpowers

_COMMENT = {
    "tt": "Against the fiducial theory. The maps are not foreground-cleaned, so a low value points at foregrounds first. "
    "The analytic PTE is pessimistic: on 1000 simulated WMAP7 skies without foregrounds the mean chi2 is 11.5 for 9 "
    "bandpowers (few modes at l = 2-4, narrow-kernel approximation), and 3 % of them fall below 1e-3.",
    "te": "Against the fiducial theory; E is noise-dominated.",
    "et": "Against the fiducial theory; E is noise-dominated.",
}
_NULL = "Against zero. Polarisation is noise-dominated and its noise level is measured from these very maps."


def check_bandpowers(data: Bandpowers, theory_dl: Spectra, pte_limit: float = 1e-3) -> list[dict[str, Any]]:
    """Return the checks of one product, each a mapping name, value, tolerance, pass, comment.

    A probability to exceed (PTE) passes between `pte_limit` and 1 - `pte_limit`: both a poor fit
    and a suspiciously good one fail.
    """
    binned = data.theory(theory_dl)
    checks = []
    for name in data.names:
        signal = name in _COMMENT
        chi2, dof = data.chi2(name, binned[name] if signal else None)
        pte = float(stats.chi2.sf(chi2, dof))
        what = "fiducial theory" if signal else "null"
        comment = f"chi2 = {chi2:.2f} for {dof} bandpowers. {_COMMENT.get(name, _NULL)}"
        passed = pte_limit < pte < 1 - pte_limit
        checks.append(_check(f"{name.upper()} PTE, {what}", pte, pte_limit, passed, comment))
    checks.append(_window_check(data))
    smallest = smallest_eigenvalue(data.covariance)
    comment = "Smallest eigenvalue of the correlation matrix of all bandpowers; must be above zero."
    checks.append(_check("covariance, smallest eigenvalue", smallest, 0.0, smallest > 0, comment))
    return checks


def _window_check(data: Bandpowers) -> dict[str, Any]:
    sums = [data.windows[s, s].sum(axis=1) for s in data.names]
    worst = float(np.max(np.abs(np.array(sums) - 1)))
    comment = "Largest |sum_l W_bl - 1|: a flat D_l must come back as itself."
    return _check("bandpower windows sum to one", worst, 1e-3, worst < 1e-3, comment)


def _check(name: str, value: float, tolerance: float, passed: bool, comment: str) -> dict[str, Any]:
    return {"name": name, "value": value, "tolerance": tolerance, "pass": bool(passed), "comment": comment}
