"""Checks: a measured value against a tolerance. They are recorded; only the gate rule fails on them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmbfit.errors import DataError
from cmbfit.io import read_json, write_json


@dataclass(frozen=True)
class Check:
    """One line of the report's table of checks.

    Attributes
    ----------
    name : str
        What is checked.
    value : float or None
        What was measured; None where there was nothing to measure.
    tolerance : str
        The condition in words, e.g. ``< 0.3`` or ``[0.9, 1.1]``.
    passed : bool
    comment : str
        Why this tolerance, or what a failure would mean.
    """

    name: str
    value: float | None
    tolerance: str
    passed: bool
    comment: str = ""


def below(name: str, value: float, limit: float, comment: str = "") -> Check:
    """Check |value| < limit; NaN fails."""
    return Check(name, float(value), f"< {limit:g}", bool(abs(value) < limit), comment)


def above(name: str, value: float, limit: float, comment: str = "") -> Check:
    """Check value > limit; NaN fails."""
    return Check(name, float(value), f"> {limit:g}", bool(value > limit), comment)


def between(name: str, value: float, low: float, high: float, comment: str = "") -> Check:
    """Check low <= value <= high; NaN fails."""
    return Check(name, float(value), f"[{low:g}, {high:g}]", bool(low <= value <= high), comment)


def untested(name: str, why: str) -> Check:
    """Return a line that says what could not be checked; it passes, as information."""
    return Check(name, None, "not tested", True, why)


def write_checks(path: str | Path, checks: Iterable[Check]) -> None:
    """Publish checks as JSON: ``{"checks": [{name, value, tolerance, pass, comment}, ...]}``."""
    rows = []
    for check in checks:
        row: dict[str, Any] = asdict(check)
        row["pass"] = row.pop("passed")
        finite = check.value is None or math.isfinite(check.value)
        row["value"] = check.value if finite else str(check.value)
        rows.append(row)
    write_json(path, {"checks": rows})


def read_checks(paths: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Join the checks of several files; each gains ``source``, the file's stem, and ``file``, its path."""
    out = []
    for path in paths:
        record = read_json(path)
        try:
            out += [{**row, "source": Path(path).stem, "file": str(path)} for row in record["checks"]]
        except (KeyError, TypeError) as error:
            raise DataError(f"{path}: expected {{'checks': [...]}}") from error
    return out
