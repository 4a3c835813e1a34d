"""Text tables out of a data set's files, with errors that name the file."""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np

from cmbfit.errors import DataError


def lookup(files: Mapping[str, bytes], name: str) -> bytes:
    """Return a file of a data set, or say that it is missing."""
    try:
        return files[name]
    except KeyError as error:
        raise DataError(f"{name}: named by the data set's definition, but not among its files") from error


def read_numbers(files: Mapping[str, bytes], name: str) -> np.ndarray:
    """Parse a text table; a single column comes as one dimension.

    Raises
    ------
    DataError
        If the file is missing, is not a table, or holds numbers that are not finite; with its name and row.
    """
    raw = lookup(files, name)
    try:
        table = np.loadtxt(io.BytesIO(raw))
    except ValueError as error:
        raise DataError(f"{name}: expected a table of numbers ({error})") from error
    if not np.isfinite(table).all():
        row = int(np.argwhere(~np.isfinite(np.atleast_1d(table)))[0][0]) + 1
        raise DataError(f"{name}: row {row} holds a number that is not finite")
    return table


def embed(window: np.ndarray, ell: np.ndarray) -> np.ndarray:
    """Place columns at their multipoles: (n, len(ell)) to (n, last l with weight + 1), l from 0.

    Zeros beyond the last weight are left out: they would ask the theory for those multipoles.
    """
    used = np.flatnonzero(window.any(axis=0))
    if used.size == 0:
        return np.zeros((len(window), 1))
    out = np.zeros((len(window), int(ell[used[-1]]) + 1))
    out[:, ell[: used[-1] + 1]] = window[:, : used[-1] + 1]
    return out
