"""One look for all figures, and one way to save them: PNG, PDF and the plotted numbers as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from cmbfit.blinded import MARK, in_blinded_folder
from cmbfit.errors import DataError
from cmbfit.io import atomic_file, reading

DATA = "#111111"
THEORY = "#0b6fa4"
SECOND = "#c8553d"
"""Line colours that keep their order of brightness in grey."""

SERIES = (THEORY, SECOND, "#5a8f29", "#8e5bb5", "#b8860b", "#555555")
"""Colours of several fits in one figure."""

SERIES = (DATA, SECOND, "#4f8f5b", "#8a5fa8", "#b58a00", "#6b6f76")
"""Colours of data sets, in the order in which they are drawn."""

STYLE: dict[str, Any] = {
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "font.size": 10,
    "axes.labelsize": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "image.cmap": "cividis",
    "pdf.fonttype": 42,
    "mathtext.fontset": "dejavusans",
}


def style() -> Any:
    """Return a context manager in which figures have the house style.

    Examples
    --------
    >>> with style():
    ...     figure = new_figure(4, 3)
    """
    return rc_context(STYLE)  # type: ignore[arg-type]


def new_figure(width: float, height: float) -> Figure:
    """Return an empty figure (inches). It belongs to no pyplot state and needs no display."""
    return Figure(figsize=(width, height), layout="constrained")


def save_figure(fig: Figure, path_stem: str | Path, table: Mapping[str, ArrayLike]) -> None:
    """Publish `fig` as stem.png (150 dpi), stem.pdf and stem.csv: all three or none.

    Without date and software stamps, so equal figures are equal files. In a folder of blinded results with BLINDED across it.

    Parameters
    ----------
    path_stem : str or Path
        Without suffix; dots in the name are kept.
    table : mapping name -> array
        The plotted numbers; columns of one length (text is allowed).
    """
    stem = Path(path_stem)
    columns = {name: np.atleast_1d(np.asarray(values)) for name, values in table.items()}
    lengths = {name: c.shape for name, c in columns.items()}
    if not columns or len(set(lengths.values())) != 1 or any(c.ndim != 1 for c in columns.values()):
        raise DataError(f"{stem}.csv: expected columns of one length, found {lengths}")
    formats = {"png": {"Software": None}, "pdf": {"CreationDate": None, "Producer": None}}
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*(c.tolist() for c in columns.values()), strict=True))
    with ExitStack() as together:  # none of the three is renamed before all are written
        files = {
            suffix: together.enter_context(atomic_file(stem.with_name(f"{stem.name}.{suffix}")))
            for suffix in (*formats, "csv")
        }
        with style(), _watermark(fig, in_blinded_folder(stem)):
            for suffix, metadata in formats.items():
                image = io.BytesIO()
                fig.savefig(image, format=suffix, metadata=metadata)
                files[suffix].write(image.getbuffer())
        files["csv"].write(text.getvalue().encode())
        for file in files.values():
            file.flush()


@contextmanager
def _watermark(fig: Figure, blinded: bool) -> Iterator[None]:
    """Write BLINDED across a figure while it is saved; the figure itself stays as it was drawn."""
    if not blinded:
        yield
        return
    width, height = fig.get_size_inches()
    text = fig.text(
        0.5,
        0.5,
        MARK,
        fontsize=72 * float(np.hypot(width, height)) / 7.5,
        rotation=float(np.degrees(np.arctan2(height, width))),
        color="#b00020",
        alpha=0.22,
        ha="center",
        va="center",
        weight="bold",
        zorder=1000,
    )
    text.set_in_layout(False)
    try:
        yield
    finally:
        text.remove()


def read_table(path: str | Path) -> dict[str, np.ndarray]:
    """Read the numbers beside a figure: a column is of numbers where all its entries are.

    Raises
    ------
    DataError
        If it is no table that :func:`save_figure` wrote.
    """
    with reading(path, "a table beside a figure"), Path(path).open(encoding="utf-8", newline="") as file:
        names, *rows = list(csv.reader(file))
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return {name: _numbers(list(values)) for name, values in zip(names, columns, strict=True)}


def _numbers(values: list[str]) -> np.ndarray:
    try:
        return np.array([float(x) for x in values])
    except ValueError:
        return np.array(values)
