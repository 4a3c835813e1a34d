"""How well a best fit fits: the probability that chi2 of normal data exceeds the value found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scipy.special import gammaincc


def excess(chi2: float, n: int) -> float:
    """Return the probability to exceed: that chi2 of `n` normal data is larger than the value found."""
    return float(gammaincc(n / 2, chi2 / 2))


def goodness(fit: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return chi2, number and probability to exceed of all data for which chi2 has that meaning; None where none has."""
    counted = [d for d in fit["data"] if d.get("n_data")]
    if not counted:
        return None
    chi2, n = sum(fit["chi2"][d["name"]] for d in counted), sum(d["n_data"] for d in counted)
    return {"chi2": chi2, "n": n, "pte": excess(chi2, n), "all": len(counted) == len(fit["data"])}
