"""Spectra as text files: what other codes write, and what `cmbfit theory` writes.

A header line names the columns; D_l in uK^2, pp as [L(L+1)]^2 C_L / 2pi, one row per multipole from
l = 2. Codes differ in column order (CAMB: TT EE BB TE, most others: TT TE EE), so without a header
only the four-column form ell TT TE EE is read, and only if TE looks like TE.
"""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import torch

from cmbfit.errors import SpectrumError
from cmbfit.io import atomic_path
from cmbfit.theory.spectra import PAIRS, Spectra

_IGNORED = ("kk",)  # lensing convergence of candl's files: follows from pp


def _column_name(token: str) -> str | None:
    """Return the canonical name of a header token, or None if it is not one."""
    name = re.sub(r"^d(?:_?l)?_?(?=[tebpk]{2}$)", "", token.lower())
    if name in ("l", "ell", "multipole"):
        return "ell"
    return name if name in PAIRS or name in _IGNORED else None


def _header(path: Path, n_columns: int) -> list[str] | None:
    """Return the canonical column names if a comment line gives them all."""
    with path.open(encoding="utf-8", errors="replace") as f:
        for line in f:
            if not line.startswith("#"):
                return None
            tokens = re.split(r"[\s,;]+", line.strip("# \n\t"))
            names = [_column_name(t) for t in tokens]
            if len(names) != n_columns or names[0] != "ell":
                continue
            if None in names:
                unknown = tokens[names.index(None)]
                raise SpectrumError(
                    f"{path}: column {unknown!r} is unknown; expected ell and D_l [uK^2] of {', '.join(PAIRS)} "
                    "(C_l must be converted to l(l+1)C_l/2pi)"
                )
            return [str(n) for n in names]
    return None


def read_spectrum(path: str | Path) -> Spectra:
    """Read one model's spectra from a text file.

    Parameters
    ----------
    path : str or Path
        Columns ell and D_l [uK^2], named in a ``#`` header line.

    Returns
    -------
    Spectra
        A batch of one; l = 0 and 1 are zero.

    Raises
    ------
    SpectrumError
        If the file is not a table, its columns are unknown or ambiguous, it does not start at l = 2
        in steps of one, or it holds numbers that are not finite.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            # an empty table is refused below
            warnings.filterwarnings("ignore", message="loadtxt: input contained no data")
            table = np.loadtxt(path, ndmin=2)
    except FileNotFoundError as error:
        raise SpectrumError(f"{path}: no such file") from error
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise SpectrumError(f"{path}: expected a text table of numbers ({error})") from error
    if table.size == 0:
        raise SpectrumError(f"{path}: holds no numbers")
    n_columns = table.shape[1]
    names = _header(path, n_columns)
    if names is None:
        names = _guess_columns(path, table)
    if len(set(names)) != len(names):
        raise SpectrumError(f"{path}: a column is named twice: {' '.join(names)}")
    if not np.isfinite(table).all():
        raise SpectrumError(f"{path}: holds numbers that are not finite")
    ell = table[:, 0]
    if ell[0] != 2:
        raise SpectrumError(
            f"{path}: expected rows from l = 2, the first row is l = {ell[0]:g}; "
            "drop or add rows so that row and multipole cannot be confused"
        )
    if not np.array_equal(ell, np.arange(2, 2 + len(ell))):
        row = int(np.argmax(ell != np.arange(2, 2 + len(ell))))
        raise SpectrumError(
            f"{path}: expected one row per multipole; row {row} is l = {ell[row]:g}, not {row + 2}"
        )
    dl = {
        name: torch.from_numpy(np.concatenate([[0.0, 0.0], table[:, i]]))[None]
        for i, name in enumerate(names)
        if name in PAIRS
    }
    if not dl:
        raise SpectrumError(f"{path}: has no column of power")
    return Spectra(dl)


def _guess_columns(path: Path, table: np.ndarray) -> list[str]:
    if table.shape[1] < 4:
        raise SpectrumError(
            f"{path}: expected columns ell TT TE EE, found {table.shape[1]} columns and no header line that names "
            "them; add a first line like '# ell tt' to use fewer spectra"
        )
    if table.shape[1] > 4:
        raise SpectrumError(
            f"{path}: {table.shape[1]} columns and no header line that names them; codes differ in their order, "
            "so add a first line like '# ell tt te ee bb pp'"
        )
    te, ee = table[:, 2], table[:, 3]
    if (te >= 0).all() or (ee < 0).any():
        raise SpectrumError(
            f"{path}: no header, and the columns do not look like ell TT TE EE (TE changes sign, EE does not); "
            "add a first line that names them"
        )
    return ["ell", "tt", "te", "ee"]


def write_spectrum(path: str | Path, spectra: Spectra) -> None:
    """Publish one model's spectra as text with one header line that names the columns.

    Parameters
    ----------
    path : str or Path
    spectra : Spectra
        A batch of one. Pairs that are absent are left out.
    """
    if spectra.batch != 1:
        raise SpectrumError(f"a text file holds one model, found a batch of {spectra.batch}")
    pairs = [p for p in PAIRS if p in spectra.dl]
    table = np.column_stack(
        [np.arange(2, spectra.lmax + 1), *(spectra.dl[p][0, 2:].detach().cpu().numpy() for p in pairs)]
    )
    with atomic_path(path) as tmp, tmp.open("w", encoding="utf-8") as f:
        f.write("# ell " + " ".join(pairs) + "\n")
        np.savetxt(f, table, fmt=["%5d"] + ["%.16e"] * len(pairs))


def read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read a text file as plain arrays: pair to D_l [uK^2], shape (lmax + 1,), l from 0."""
    return {pair: dl[0].numpy() for pair, dl in read_spectrum(path).dl.items()}
