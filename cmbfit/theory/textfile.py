"""Spectra as text files: what CAMB, CLASS and others write, and what `cmbfit theory` writes.

A header line names the columns (`camb_class_files`); D_l in uK^2, pp as [L(L+1)]^2 C_L / 2pi, one row
per multipole. Codes differ in column order (CAMB: TT EE BB TE, most others: TT TE EE), so without a
header only the four-column form ell TT TE EE is read, and only if TE looks like TE. Every spectrum is
compared with LCDM (`plausible`), which finds wrong units.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from cmbfit.errors import SpectrumError
from cmbfit.io import atomic_file
from cmbfit.theory.camb_class_files import Columns, columns_of
from cmbfit.theory.plausible import require_plausible
from cmbfit.theory.spectra import PAIRS, Spectra

UNITS_CHECKED = "units_checked"
"""A comment line of a file whose author knows that its spectra are like no LCDM."""


def read_spectrum(path: str | Path, *, units_checked: bool = False) -> Spectra:
    """Read one model's spectra from a text file.

    Parameters
    ----------
    path : str or Path
        Columns ell and D_l [uK^2], named in a ``#`` header line, or a file of CAMB's or CLASS's. Of
        CAMB's lenspotentialCls, whose other spectra are unlensed, pp alone is read. CLASS's
        dimensionless spectra are multiplied by T_CMB^2 = (2.7255 K)^2, its default.
    units_checked : bool
        Skip the comparison with LCDM that finds wrong units and columns; so does a line
        ``# units_checked`` in the file.

    Returns
    -------
    Spectra
        A batch of one; l = 0 and 1 are zero.

    Raises
    ------
    SpectrumError
        If the file is not a table, its columns are unknown or ambiguous, it does not start at l = 2
        (or with zeros at l = 0 or 1) in steps of one, it holds numbers that are not finite, its spectra
        are unlensed by their header, or no plausible cosmology gives them.
    """
    path = Path(path)
    table, comments = _table(path), _comments(path)
    columns = columns_of(comments, table.shape[1], str(path))
    if columns is None:
        columns = _guess_columns(path, table)
    else:
        table = _from_two(table)
    read = [name for name in columns.names if name]
    if len(set(read)) != len(read):
        raise SpectrumError(f"{path}: a column is named twice: {' '.join(read)}")
    _check_rows(path, table)
    dl = {pair: np.concatenate([[0.0, 0.0], x]) for pair, x in columns.dl(table).items()}
    if not dl:
        raise SpectrumError(f"{path}: has no column of power")
    if not (units_checked or UNITS_CHECKED in (line.strip("# \n\t") for line in comments)):
        require_plausible(dl, str(path))
    return Spectra({pair: torch.from_numpy(x)[None] for pair, x in dl.items()})


def _table(path: Path) -> np.ndarray:
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
    return table


def _comments(path: Path) -> list[str]:
    """Return the comment lines before the table."""
    lines = []
    with path.open(encoding="utf-8", errors="replace") as f:
        for line in f:
            if not line.startswith("#"):
                break
            lines.append(line)
    return lines


def _from_two(table: np.ndarray) -> np.ndarray:
    """Return the rows from l = 2 if those of l = 0 and 1 are there and hold zeros, as in CAMB's arrays."""
    while len(table) and table[0, 0] in (0, 1) and not table[0, 1:].any():
        table = table[1:]
    return table


def _check_rows(path: Path, table: np.ndarray) -> None:
    """Refuse rows that are not l = 2, 3, 4, ... or hold numbers that are not finite."""
    if not np.isfinite(table).all():
        raise SpectrumError(f"{path}: holds numbers that are not finite")
    if len(table) == 0 or table[0, 0] != 2:
        found = f"l = {table[0, 0]:g}" if len(table) else "missing"
        raise SpectrumError(
            f"{path}: expected rows from l = 2, the first row is {found}; "
            "drop or add rows so that row and multipole cannot be confused"
        )
    ell = table[:, 0]
    if not np.array_equal(ell, np.arange(2, 2 + len(ell))):
        row = int(np.argmax(ell != np.arange(2, 2 + len(ell))))
        raise SpectrumError(
            f"{path}: expected one row per multipole; row {row} is l = {ell[row]:g}, not {row + 2}"
        )


def _guess_columns(path: Path, table: np.ndarray) -> Columns:
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
    return Columns(["ell", "tt", "te", "ee"])


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
    with atomic_file(path) as f:
        f.write(f"# ell {' '.join(pairs)}\n".encode())
        np.savetxt(f, table, fmt=["%5d"] + ["%.16e"] * len(pairs))


def read_arrays(path: str | Path, *, units_checked: bool = False) -> dict[str, np.ndarray]:
    """Read a text file as plain arrays: pair to D_l [uK^2], shape (lmax + 1,), l from 0."""
    dl = read_spectrum(path, units_checked=units_checked).dl
    return {pair: x[0].numpy() for pair, x in dl.items()}
