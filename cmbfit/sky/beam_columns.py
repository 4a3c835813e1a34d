"""Which column of a beam file is the beam of T, of E, of B: by its name, or as the caller says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from cmbfit.errors import MapError

FIELDS = ("t", "e", "b", "p")
"""Fields that a column can be of; "p" is E and B alike."""

INDEX, ERROR, OTHER = "l", "error", "other"
"""Places of a column that is no beam: multipoles, an uncertainty, a spectrum that no beam needs."""

Columns = Mapping[str, str | int]
"""Field to column: a name, its number from 1, or "HDU:NAME"."""

_PARTS = {
    "t": "t|tt|i|temp|temperature|int|intensity",
    "e": "e|ee|grad|gradient",
    "b": "b|bb|curl",
    "p": "p|pol|polarization|polarisation|polarized|polarised",
}
_HEAD = r"(?:b_?l|b_?ell|b|w_?l|w_?ell|w|beam|window)"
_NAME = re.compile(
    rf"^(?P<head>{_HEAD})?_*(?P<field>{'|'.join(_PARTS.values())})?_*(?P<tail>{_HEAD}|tf|transfer|function)?$"
)
_PLANCK = re.compile(r"^(?P<sky>[teb]{2})_2_(?P<map>[teb]{2})$")
_UNCERTAINTY = re.compile(r"err|sigma|unc|std|rms|^d_?b_?l")


@dataclass(frozen=True)
class Place:
    """What a column's name says.

    Attributes
    ----------
    field : str
        One of `FIELDS`, INDEX, ERROR, OTHER, or "tt_2_te", "tt_2_tb".
    squared : bool
        Whether it is W_l = b_l^2.
    """

    field: str
    squared: bool = False


def place_of(name: str) -> Place | None:
    """Return what a column is by its name, None where the name does not say.

    Examples
    --------
    >>> place_of("Bl_E").field, place_of("EE_2_EE"), place_of("col3")
    ('e', Place(field='e', squared=True), None)
    """
    word = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    if word in {"l", "ell", "el", "multipole", "multipoles"}:
        return Place(INDEX)
    if match := _PLANCK.match(word):
        sky, seen = match["sky"], match["map"]
        if sky == seen and sky in {"tt", "ee", "bb"}:
            return Place(sky[0], squared=True)
        return Place(word if word in {"tt_2_te", "tt_2_tb"} else OTHER)
    match = _NAME.match("bb" if word == "b" else word)  # HFI's column B is of B modes, not "a beam"
    if match and any(match.groups()):
        field = next((f for f, known in _PARTS.items() if match["field"] in known.split("|")), "t")
        squared = any((match[k] or "").startswith("w") and match[k] != "window" for k in ("head", "tail"))
        return Place(field, squared)
    return Place(ERROR) if _UNCERTAINTY.search(word) else None


def parse_columns(text: str) -> dict[str, str | int]:
    """Return what the words "t=Bl_T,e=3" say: a column's name or its number from 1 for each field.

    Raises
    ------
    MapError
        For a word that is not FIELD=COLUMN, or no column of T.

    Examples
    --------
    >>> parse_columns("t=2,p=Bl_pol")
    {'t': 2, 'p': 'Bl_pol'}
    """
    out: dict[str, str | int] = {}
    for word in text.split(","):
        field, equal, column = (x.strip() for x in word.partition("="))
        if field.lower() not in FIELDS or not equal or not column or field.lower() in out:
            raise MapError(f"beam columns {text!r}: expected t=COLUMN,e=COLUMN,b=COLUMN or t=COLUMN,p=COLUMN")
        out[field.lower()] = int(column) if column.isdecimal() else column
    check_columns(out, text)
    return out


def check_columns(columns: Columns, what: object) -> None:
    """Raise :class:`MapError` unless T has a column and no polarised field has two."""
    if "t" not in columns or ("p" in columns and {"e", "b"} & set(columns)):
        raise MapError(f"beam columns {what}: expected one for t, and either p or e and b")


def help_text(found: object) -> str:
    """Return what is said where columns cannot be placed: what was found and how to say it."""
    return (
        f"found {found}; say which they are: --beam-columns t=COLUMN,e=COLUMN,b=COLUMN (or p=COLUMN for E and B alike; "
        "a name, its number from 1, HDU:NAME), `columns` of a beam in a configuration"
    )
