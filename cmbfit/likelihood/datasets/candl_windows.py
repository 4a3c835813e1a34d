"""Window functions of a candl data set, in either of candl's layouts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmbfit.errors import DataError
from cmbfit.likelihood.datasets.candl_files import DefinitionFiles


def read_windows(
    files: DefinitionFiles, folder: str, spectra: Sequence[str], n_bins: Sequence[int]
) -> list[np.ndarray]:
    """Return each spectrum's windows, shape (n_bins, n_ell), l from 2.

    A file for each spectrum with l and a column for each bandpower, or a file for each bandpower, from
    ``window_1.txt``, with l and a column for each spectrum.

    Raises
    ------
    DataError
        If a file is missing, has another number of columns, or multipoles in other steps.
    """
    folder = folder.rstrip("/")
    seen: dict[bytes, np.ndarray] = {}

    def parsed(name: str) -> np.ndarray:
        raw = files.find(name)[1]
        if raw not in seen:  # spectra may share windows
            seen[raw] = files.table(name)
        return seen[raw]

    names = [f"{folder}/{s.replace(' ', '_')}_window_functions.txt" for s in spectra]
    first = f"{folder}/window_1.txt"
    if any(name in files for name in names) or first not in files:
        return [_checked(parsed(name), name, n) for name, n in zip(names, n_bins, strict=True)]
    out = []
    for column, n in enumerate(n_bins):
        tables = [parsed(f"{folder}/window_{b + 1}.txt") for b in range(n)]
        for b, table in enumerate(tables):
            if table.ndim != 2 or table.shape != tables[0].shape or table.shape[1] != len(spectra) + 1:
                raise DataError(
                    f"{folder}/window_{b + 1}.txt: expected l and {len(spectra)} columns of windows, as many rows as in {first}, "
                    f"found shape {table.shape}"
                )
        out.append(
            _checked(np.column_stack([tables[0][:, 0], *(t[:, column + 1] for t in tables)]), first, n)
        )
    return out


def _checked(table: np.ndarray, name: str, n_bins: int) -> np.ndarray:
    if table.ndim != 2 or table.shape[1] != n_bins + 1:
        raise DataError(f"{name}: expected l and {n_bins} columns of windows, found shape {table.shape}")
    start = int(table[0, 0])
    if start in (0, 1) and len(table) > 2 - start and np.array_equal(table[: 3 - start, 0], range(start, 3)):
        table = table[2 - start :]  # monopole and dipole, which candl passes over too
    if wrong := np.flatnonzero(table[:, 0] != np.arange(2, 2 + len(table))).tolist():
        if table[wrong[0] :, 1:].any():
            raise DataError(
                f"{name}: row {wrong[0] + 1}: expected l from 2 in steps of one, so l = {2 + wrong[0]}, "
                f"found {table[wrong[0], 0]:g}"
            )
        table = table[: wrong[0]]
    return np.ascontiguousarray(table[:, 1:].T)
