"""The file BLINDED in a folder of results: whoever opens the folder reads it, and figures saved below carry the word."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmbfit.io import write_text

MARK = "BLINDED"
_LEVELS = 5
"""Folders above a figure in which the file is looked for: figures of a fit under way lie in DIR/checkpoints/NAME.new/figures."""


def mark_folder(folder: str | Path, blinding: Mapping[str, Any] | None) -> None:
    """Write the file into a folder of blinded results; remove it where nothing is hidden any more.

    Parameters
    ----------
    folder : path
    blinding : mapping or None
        Of the run (:func:`cmbfit.fit.blind.complete_blind`), or what its fits carry.
    """
    path = Path(folder) / MARK
    if blinding is None or blinding.get("opened") is not None:
        path.unlink(missing_ok=True)
        return
    text = (
        "These results are blinded: the data were moved by what a hidden shift of "
        f"{', '.join(blinding['shift'])} does to them.\n"
        f"The sha256 of the secret is {blinding['commitment']}.\n"
        "Do not compare them with published values; `cmbfit unblind` opens them when the frozen criteria are met.\n"
    )
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def is_blinded(summary: Mapping[str, Any]) -> bool:
    """Return whether the parameters of a run's summary.json are hidden."""
    blinding = summary.get("blinding")
    return blinding is not None and blinding["opened"] is None


def hidden_mark(blinding: Mapping[str, Any] | None) -> str:
    """Return what the hash of the code of figures carries while a run is blinded, which they say; empty otherwise."""
    hidden = blinding is not None and blinding["opened"] is None
    return f".blinded.{blinding['commitment'][:12]}" if blinding is not None and hidden else ""


def in_blinded_folder(path: str | Path) -> bool:
    """Return whether a file lies in blinded results."""
    return any((folder / MARK).is_file() for folder in list(Path(path).absolute().parents)[:_LEVELS])
