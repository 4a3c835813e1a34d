"""candl's ``data_selection``: which bandpowers a definition keeps.

A mask (a file of zeros and ones, or a list), one hint "DATA remove" or "DATA only", or a list of hints, of which a
bandpower must meet as many as any bandpower does. DATA is a spectrum (TT 90x150), a pair (TT), a map or two (90,
90x150), or a cut in the mean multipole of the windows (ell<650).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from cmbfit.errors import DataError, LikelihoodError, shown
from cmbfit.likelihood.datasets.candl_files import DefinitionFiles
from cmbfit.likelihood.steps import Measured

_CUT = re.compile(r"ell\s*([<>])\s*([0-9.eE+-]+)$")


def selected(
    files: DefinitionFiles, selection: Any, spectra: Sequence[Measured], windows: Sequence[np.ndarray]
) -> tuple[np.ndarray, list[str]]:
    """Return which bandpowers are kept, and what is to be said about it.

    Parameters
    ----------
    selection : object
        As the definition has it.
    windows : sequence of numpy.ndarray, shape (n_bins of the spectrum, n_ell)
        l from 2.

    Returns
    -------
    kept : numpy.ndarray of bool, shape (n_bins,)
    notes : list of str

    Raises
    ------
    LikelihoodError
        If it is of another form, selects nothing, or names what the data set does not have.
    """
    n = sum(len(w) for w in windows)
    where = f"{files.definition}: data_selection"
    notes: list[str] = []
    if selection is None or (isinstance(selection, str) and selection.lower() == "none"):
        return np.ones(n, dtype=bool), notes
    if isinstance(selection, str) and " " not in selection.strip():
        kept = _mask(where, files.table(selection), n)
    elif isinstance(selection, str):
        kept = _hint(where, selection, spectra, windows, notes)
    elif isinstance(selection, list) and selection and all(isinstance(x, str) for x in selection):
        votes = np.sum([_hint(where, x, spectra, windows, notes) for x in selection], axis=0)
        kept = votes == votes.max()
    elif isinstance(selection, list) and selection and all(isinstance(x, bool | int) for x in selection):
        kept = _mask(where, np.array(selection), n)
    else:
        raise LikelihoodError(
            f"{where}: expected a mask (a file or a list of 0 and 1), a hint such as 'EE 90x90 remove', or a list of hints, "
            f"found {shown(selection)}"
        )
    if not kept.any():
        raise LikelihoodError(f"{where}: {shown(selection)} leaves no bandpower")
    return kept, notes


def _mask(where: str, mask: np.ndarray, n: int) -> np.ndarray:
    if mask.shape != (n,) or not np.isin(mask, (0, 1)).all():
        raise DataError(f"{where}: expected a mask of {n} zeros and ones, found shape {mask.shape}")
    return mask == 1


def _hint(
    where: str, hint: str, spectra: Sequence[Measured], windows: Sequence[np.ndarray], notes: list[str]
) -> np.ndarray:
    """Return which bandpowers one hint keeps."""
    what, _, action = hint.strip().rpartition(" ")
    if action not in ("remove", "only"):
        raise LikelihoodError(f"{where}: {hint!r}: expected it to end in remove or only")
    pairs = [s.name.split()[0] for s in spectra]
    maps = {m for s in spectra for m in s.maps}
    if what in [s.name for s in spectra]:
        meant = [s.name == what for s in spectra]
    elif what in pairs:
        meant = [pair == what for pair in pairs]
    elif what.split("x")[0] in maps:
        meant = [set(s.maps) == set(what.split("x")) for s in spectra]
        if not any(meant):
            raise LikelihoodError(
                f"{where}: {hint!r}: there is no spectrum of these maps among {', '.join(s.name for s in spectra)}"
            )
    elif cut := _CUT.search(what):
        chosen = _beyond(cut[1], float(cut[2]), windows)
        if what != cut[0]:
            notes.append(
                f"data_selection {hint!r} cuts every spectrum at {cut[0]}, whatever stands before it, as candl does; one "
                "spectrum is cut by the entry's cuts"
            )
        return chosen if action == "only" else ~chosen
    else:
        raise LikelihoodError(
            f"{where}: {hint!r}: expected a spectrum, a pair, a map, two maps or ell<NUMBER before {action!r}; the spectra are "
            f"{', '.join(s.name for s in spectra)}"
        )
    chosen = np.repeat(meant, [len(w) for w in windows])
    return chosen if action == "only" else ~chosen


def _beyond(sign: str, limit: float, windows: Sequence[np.ndarray]) -> np.ndarray:
    """Return which windows have their mean multipole, not normalised, as candl has it, on one side of a limit."""
    middle = np.concatenate([w @ np.arange(2, 2 + w.shape[1]) for w in windows])
    return middle < limit if sign == "<" else middle > limit
