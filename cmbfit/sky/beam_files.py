"""Beams from text and FITS files.

Every column is placed by its name or by the caller; a file that leaves open which column is whose is refused. A file
with the beam of T alone serves E and B as well, which the beam's `notes` say.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from astropy.io import fits

from cmbfit.errors import MapError
from cmbfit.io import reading
from cmbfit.sky.beam_columns import FIELDS, INDEX, Columns, check_columns, help_text, place_of
from cmbfit.sky.beams import LEAKS, Beam
from cmbfit.sky.maps import Array
from cmbfit.sky.table import open_table, table_names


def read_beam(
    path: str | Path,
    lmax: int,
    *,
    need: int | None = None,
    columns: Columns | None = None,
    hdus: Sequence[int | str] | None = None,
    leakage: bool = False,
) -> Beam:
    """Read the beam of a file: rows "l b_l ..." of text, or tables of FITS.

    FITS: HFI's `Bl_T_*`, `Bl_TEB_*` and `Wl_*` (square roots of TT_2_TT, EE_2_EE, BB_2_BB, whichever HDU each is in),
    component maps, columns named as in text. HDUs that hold a map are passed over.

    Parameters
    ----------
    lmax : int
        What the beam is returned to.
    need : int, optional
        What the file must reach; `lmax` when omitted. From its end to `lmax` the beam goes on as a Gaussian.
    columns : mapping, optional
        Field (t, e, b; p for E and B alike) to column: a name, its number from 1, or "HDU:NAME". By name when omitted.
    hdus : sequence, optional
        Tables of FITS to look at; all when omitted.
    leakage : bool
        Read TT_2_TE of `Wl_*` as well, and TT_2_TB where it is: t_to_e = TT_2_TE / b^T.

    Raises
    ------
    MapError
        Where a column cannot be placed or two could serve; where rows skip a multipole, end before `need`, are not
        numbers or do not start near b = 1.
    """
    path = Path(path)
    if columns is not None:
        check_columns(columns, dict(columns))
    if _is_fits(path):
        found = _from_fits(path, columns, hdus, lmax if need is None else need)
    else:
        found = _from_text(path, columns)
    if "t" not in found:
        raise MapError(f"{path}: no column of the temperature beam; {help_text(sorted(found))}")
    notes = []
    if not {"e", "p"} & set(found):
        notes.append(f"{path.name}: the beam of T serves E and B, the file has no other")
    e = found.get("e", found.get("p", found["t"]))
    beam = _checked([found["t"], e, found.get("b", e)], lmax, lmax if need is None else need, path, notes)
    if not leakage:
        return beam
    leaks = _leaks(found, beam, path)
    return replace(beam, t_to_e=leaks.get("t_to_e"), t_to_b=leaks.get("t_to_b"))


def _is_fits(path: Path) -> bool:
    with reading(path, "a file of a beam", MapError), path.open("rb") as f:
        start = f.read(6)
    return start == b"SIMPLE" or start.startswith(b"\x1f\x8b")


def _from_text(path: Path, columns: Columns | None) -> dict[str, Array]:
    with reading(path, "rows 'l b_l ...'", MapError):
        rows = np.loadtxt(path, ndmin=2)
        ell = rows[:, 0]
        start = int(ell[0])
        names = _header(path, rows.shape[1])
    if start not in {0, 1, 2} or not np.array_equal(ell, start + np.arange(ell.size)):
        raise MapError(f"{path}: the first column must count l from 0, 1 or 2 without gaps")
    if columns is not None:
        chosen = {f: (_index(c, names or [], rows.shape[1], path), False) for f, c in columns.items()}
        chosen = {f: (k, bool(names) and _squared(names[k])) for f, (k, _) in chosen.items()}
    elif names:
        chosen = _chosen([(k, n) for k, n in enumerate(names) if k > 0], path, names)
    elif rows.shape[1] == 2:
        chosen = {"t": (1, False)}
    else:
        raise MapError(
            f"{path}: the header does not name its {rows.shape[1]} columns: {help_text('no names')}"
        )
    out = {}
    for f, (k, squared) in chosen.items():
        v = _root(rows[:, k], f, path) if squared else rows[:, k]
        # multipoles before the first row: the beam is flat there to l^2 sigma^2
        out[f] = np.concatenate([np.full(start, v[0]), v])
    return out


def _header(path: Path, n: int) -> list[str]:
    """Return the names of n columns: the last line of comment before the numbers that has as many words; else none."""
    out: list[str] = []
    with path.open(encoding="utf-8") as f:
        for line in f:
            if line.strip() and not line.lstrip().startswith("#"):
                break
            words = [w for w in re.split(r"[,;\s]+", line.strip().lstrip("#").strip()) if w]
            # a sentence of as many words is no header
            if len(words) == n and (place := place_of(words[0])) and place.field == INDEX:
                out = words
    return out


def _index(column: str | int, names: Sequence[str], n: int, path: Path) -> int:
    upper = [x.upper() for x in names]
    if isinstance(column, int) and 2 <= column <= n:
        return column - 1
    if isinstance(column, str) and column.upper() in upper:
        return upper.index(column.upper())
    raise MapError(
        f"{path}: no column {column!r} among {list(names) or f'{n} without names'} (l is column 1)"
    )


def _squared(name: str) -> bool:
    place = place_of(name)
    return place is not None and place.squared


def _chosen(named: Sequence[tuple[int, str]], path: Path, found: object) -> dict[str, tuple[int, bool]]:
    """Return field -> (key, squared) of columns given as (key, name)."""
    out: dict[str, tuple[int, bool]] = {}
    unplaced = []
    for key, name in named:
        place = place_of(name)
        if place is None:
            unplaced.append(name)
        elif place.field in FIELDS or place.field.startswith("tt_2_"):
            if place.field in out:
                raise MapError(
                    f"{path}: two columns could be the beam of {place.field.upper()}: {help_text(found)}"
                )
            out[place.field] = (key, place.squared)
    if "p" in out and {"e", "b"} & set(out):
        raise MapError(f"{path}: columns of P beside those of E or B: {help_text(found)}")
    if unplaced and not ("t" in out and {"e", "p"} & set(out)):
        raise MapError(f"{path}: columns {unplaced} cannot be placed: {help_text(found)}")
    return out


def _from_fits(
    path: Path, columns: Columns | None, hdus: Sequence[int | str] | None, need: int
) -> dict[str, Array]:
    tables = [h for h in table_names(path) if not h.is_map] if hdus is None else None
    wanted = [h.number for h in tables] if tables is not None else list(hdus or ())
    found: list[tuple[str, str, Array]] = []
    for number in wanted:
        with open_table(path, number) as table:
            label = table.name or str(number)
            found += [(label, n, _values(table, n, path)) for n in table.columns.names]
    names = [f"{hdu}:{n}" for hdu, n, _ in found]
    if not found:
        raise MapError(f"{path}: no table of a beam in this file")
    if columns is not None:
        chosen = {f: _fits_index(c, found, path) for f, c in columns.items()}
    else:
        chosen = _chosen([(k, n) for k, (_, n, _) in enumerate(found)], path, names)
    out = {}
    for f, (k, squared) in chosen.items():
        out[f] = _root(found[k][2], names[k], path, need) if squared else found[k][2]
    return out


def _values(table: fits.BinTableHDU, name: str, path: Path) -> Array:
    values = np.asarray(table.data.field(name), dtype=np.float64).ravel()
    place = place_of(name)
    if place is not None and place.field == INDEX and not np.array_equal(values, np.arange(values.size)):
        raise MapError(f"{path}: column {name} must count l from 0 without gaps")
    return values


def _fits_index(column: str | int, found: Sequence[tuple[str, str, Array]], path: Path) -> tuple[int, bool]:
    names = [f"{hdu}:{n}" for hdu, n, _ in found]
    if isinstance(column, int):
        hits = [column - 1] if 1 <= column <= len(found) else []
    else:
        text = column.upper()
        hits = [k for k, (hdu, n, _) in enumerate(found) if text in {n.upper(), f"{hdu}:{n}".upper()}]
    if len(hits) != 1:
        raise MapError(f"{path}: {len(hits)} columns are {column!r}: {help_text(names)}")
    return hits[0], _squared(found[hits[0]][1])


def _root(values: Array, name: str, path: Path, need: int | None = None) -> Array:
    """Return the beam of W_l = b_l^2; noise below zero beyond the multipoles that are needed counts as zero."""
    if (values[: None if need is None else need + 1] < 0).any():
        raise MapError(f"{path}: {name} is below zero, it cannot be a squared beam")
    return np.asarray(np.sqrt(np.clip(values, 0.0, None)))


def _leaks(found: dict[str, Array], beam: Beam, path: Path) -> dict[str, Array]:
    """Return `t_to_e`, and `t_to_b` where the file has it, from TT_2_TE and TT_2_TB."""
    if "tt_2_te" not in found:
        raise MapError(f"{path}: no column TT_2_TE, which leakage from T to E needs")
    out, size = {}, beam.t.size
    for key, name in zip(LEAKS, ("tt_2_te", "tt_2_tb"), strict=True):
        if name in found:
            if found[name].size < size:
                raise MapError(
                    f"{path}: {name.upper()} up to l = {found[name].size - 1}, l = {size - 1} is needed"
                )
            out[key] = np.divide(found[name][:size], beam.t, out=np.zeros(size), where=beam.t > 1e-6)
    return out


def _checked(values: list[Array], lmax: int, need: int, path: Path, notes: list[str]) -> Beam:
    end = min(v.size for v in values) - 1
    if end < need:
        raise MapError(f"{path}: beam up to l = {end}, l = {need} is needed")
    if end < lmax:
        notes.append(f"{path.name}: the beam ends at l = {end}; it goes on as a Gaussian to l = {lmax}")
        values = [continued(v[: end + 1], lmax) for v in values]
    t, e, b = (v[: lmax + 1] for v in values)
    if not 0.9 < t[min(2, lmax)] < 1.1:
        raise MapError(
            f"{path}: the temperature beam is {t[min(2, lmax)]:g} at low l, expected 1 (normalise it)"
        )
    return Beam(t, e, b, notes=tuple(notes))


def continued(values: Array, lmax: int) -> Array:
    """Return a beam continued to `lmax` as a Gaussian with the slope of ln b against l (l + 1) in its last tenth.

    Bandpowers below its end hardly know of it: multipoles beyond are solved for in bins of their own, where only the
    beam's shape within a bin enters.
    """
    end = values.size - 1
    if end >= lmax:
        return values[: lmax + 1]
    x = np.arange(lmax + 1) * (np.arange(lmax + 1) + 1.0)
    last = slice(end - max(2, end // 10), end + 1)
    if not (values[last] > 0).all():
        return np.pad(values, (0, lmax - end))
    slope = min(0.0, float(np.polyfit(x[last], np.log(values[last]), 1)[0]))
    return np.concatenate([values, values[-1] * np.exp(slope * (x[end + 1 :] - x[end]))])
