"""Columns of spectrum files by their header: CAMB's, CLASS's and everybody else's.

CAMB's lenspotentialCls and CLASS's files hold more than spectra in our convention; what their headers
say is read here, with no look at the numbers. Formats: CAMB 2.0 (fortran/results.f90,
`save_cmb_power_spectra`), CLASS 3.4 (source/output.c, `output_open_cl_file`, `output_one_line_of_cl`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import SpectrumError
from cmbfit.theory.plausible import T_CMB
from cmbfit.theory.spectra import PAIRS

# convergence (of candl's files) follows from pp; the lensing potential's correlation with T and E is not used
_IGNORED = ("kk", "tp", "pt", "ep", "pe", "tphi", "ephi", "dt", "de")


@dataclass(frozen=True)
class Columns:
    """What the columns of a table are.

    Parameters
    ----------
    names : sequence of str
        "ell", then one of PAIRS, or "" for a column that is not read.
    class_units : bool
        CLASS's own: l(l+1)C_l/2pi, dimensionless, of phi too.
    """

    names: Sequence[str]
    class_units: bool = False

    def dl(self, table: np.ndarray) -> dict[str, np.ndarray]:
        """Return pair to D_l in uK^2 (pp: [L(L+1)]^2 C_L/2pi) of each row of the table."""
        ell = table[:, 0]
        factor = {"pp": ell * (ell + 1)} if self.class_units else {}
        default = T_CMB**2 if self.class_units else 1.0
        return {
            name: table[:, i] * factor.get(name, default)
            for i, name in enumerate(self.names)
            if name in PAIRS
        }


def _column_name(token: str) -> str | None:
    """Return the canonical name of a header token, or None if it is not one."""
    name = re.sub(r"^\d+:", "", token.lower())  # CLASS's 2:TT
    name = re.sub(r"^d(?:_?l)?_?(?=[tebpk]{2}$)", "", name)
    if name in ("l", "ell", "multipole"):
        return "ell"
    if name in ("phiphi", "dd"):  # CLASS: of the potential, and of the deflection with `format = camb`
        return name
    return name if name in PAIRS or name in _IGNORED else None


def columns_of(comments: Sequence[str], n_columns: int, where: str) -> Columns | None:
    """Return the columns that a header names, or None if no line names them all.

    Parameters
    ----------
    comments : sequence of str
        The lines before the table, "#" included.
    n_columns : int
    where : str
        The file, for messages.

    Raises
    ------
    SpectrumError
        If a column is unknown, or the spectra are not those that the sky shows: unlensed, in CAMB's
        scalCls or CLASS's files without lensing.
    """
    for line in comments:
        tokens = re.split(r"[\s,;]+", re.sub(r"\b(\d+):\s+", r"\1:", line.strip("# \n\t")))
        names = [_column_name(t) for t in tokens]
        if len(names) != n_columns or names[0] != "ell":
            continue
        if None in names:
            raise SpectrumError(
                f"{where}: column {tokens[names.index(None)]!r} is unknown; expected ell and D_l [uK^2] of "
                f"{', '.join(PAIRS)} (C_l must be converted to l(l+1)C_l/2pi)"
            )
        known = [str(n) for n in names]
        text = next((c for c in comments if "[l(l+1)/2pi] C_l's" in c), None)
        return _camb(known, where) if text is None else _class(known, text, where)
    return None


def _camb(names: list[str], where: str) -> Columns:
    """CAMB's files with PP; those without, and everybody else's, hold what their header says."""
    if "phiphi" in names or "dd" in names:
        raise SpectrumError(
            f"{where}: columns of CLASS without CLASS's first header line, which says the unit; restore it"
        )
    if names[-2:] == ["pp", "tp"]:
        raise SpectrumError(
            f"{where}: looks like CAMB's scalCls: unlensed, and PP there is L^4 C_L times the output scale, not "
            "[L(L+1)]^2 C_L/2pi. Give lensedCls or lensedtotCls, and lenspotentialCls for pp; to use unlensed "
            "spectra remove the columns PP and TP"
        )
    if names[-3:] == ["pp", "tp", "ep"]:  # lenspotentialCls: its T, E and B are unlensed
        names = [n if n in ("ell", "pp") else "" for n in names]
    return Columns(_read(names))


def _class(names: list[str], text: str, where: str) -> Columns:
    if "total lensed" not in text:
        raise SpectrumError(
            f"{where}: unlensed spectra of CLASS ({text.strip('# ').strip()}); set lensing = yes and give the file that ends in "
            "_cl_lensed.dat"
        )
    if "[microK]^2" not in text and "dimensionless" not in text:
        raise SpectrumError(
            f"{where}: expected CLASS's header to say dimensionless or [microK]^2, found {text!r}"
        )
    return Columns(
        _read(["pp" if n in ("phiphi", "dd") else n for n in names]), class_units="dimensionless" in text
    )


def _read(names: list[str]) -> list[str]:
    return ["" if n in _IGNORED else n for n in names]
