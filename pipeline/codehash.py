"""The code hash of an entry point, for rules; see :mod:`cmbfit.provenance.codehash`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from cmbfit.provenance import codehash

ROOT = Path(__file__).resolve().parent.parent


@cache
def code_hash(entry_point: str) -> str:
    """Return the hash of an entry point's code: with all models and data sets, whichever a fit uses.

    Examples
    --------
    >>> len(code_hash("compute_theory"))
    16
    """
    return codehash.code_hash(f"pipeline.{entry_point}", registered=True, root=ROOT)
