"""A scanner for numbers that must not stand in a run's files, whatever the files' format.

Text (JSON, CSV, LaTeX, HTML, YAML, logs, GetDist's tables): a number is one of the hidden ones if that, rounded to as many digits as
are printed, reads the same; with fewer than six digits it would be found by chance. Arrays (npz, npy, HDF5, netCDF): a number is
one of them to 1e-11, and so is the mean of a column of a hundred or more rows to a tenth of the parameter's error. Text inside PNG
and PDF, and the attributes of HDF5, are read as text. The secret itself is sought in the bytes of everything.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import numpy as np

NUMBER = re.compile(rb"(?<![\w.])[-+]?\d+\.?\d*(?:[eE][-+]?\d+)?")
DIGITS = 6
ROWS = 100


def _png_texts(raw: bytes) -> Iterator[bytes]:
    """Yield the texts of a PNG: chunks of length, kind, data and checksum follow a signature of eight bytes."""
    at = 8
    while at < len(raw):
        length = int.from_bytes(raw[at : at + 4], "big")
        kind, data = raw[at + 4 : at + 8], raw[at + 8 : at + 8 + length]
        if kind in (b"tEXt", b"iTXt"):
            yield data.replace(b"\0", b" ")
        elif kind == b"zTXt":
            name, _, packed = data.partition(b"\0")
            yield name + b" " + zlib.decompress(packed[1:])
        at += 12 + length


@dataclass(frozen=True)
class Hidden:
    """What must not be found.

    Attributes
    ----------
    numbers : mapping of str to float
    words : tuple of str
    means : mapping of str to (float, float)
        Mean and error of what columns must not have.
    """

    numbers: Mapping[str, float]
    words: tuple[str, ...] = ()
    means: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def leaks(folder: Path, hidden: Hidden) -> list[str]:
    """Return what was found in the files of a folder, a line each."""
    out = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        found = [f"the word {w[:8]}..." for w in hidden.words if w.encode() in raw]
        found += _of_file(path, raw, hidden)
        out += [f"{path.relative_to(folder)}: {text}" for text in dict.fromkeys(found)]
    return out


def _of_file(path: Path, raw: bytes, hidden: Hidden) -> Iterator[str]:
    if raw.startswith(b"\x89HDF"):
        with h5py.File(path, "r") as f:
            items: list[tuple[str, object]] = []
            f.visititems(lambda name, x: items.append((name, x)))
            for name, x in [("", f), *items]:
                for key, value in x.attrs.items():
                    yield from _of_value(f"{name}@{key}", value, hidden)
                if isinstance(x, h5py.Dataset):
                    yield from _of_value(name, x[()], hidden)
    elif zipfile.is_zipfile(path):
        with np.load(path, allow_pickle=False) as arrays:
            for name in arrays.files:
                yield from _of_value(name, arrays[name], hidden)
    elif path.suffix == ".npy":
        yield from _of_value("array", np.load(path), hidden)
    elif path.suffix == ".png":
        yield from _of_text(b" ".join(_png_texts(raw)), hidden)
    elif path.suffix == ".pdf":
        for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", raw, re.DOTALL):
            try:
                yield from _of_text(zlib.decompress(stream), hidden)
            except zlib.error:
                continue
        yield from _of_text(b" ".join(re.findall(rb"\((.*?)\)", raw)), hidden)
    else:
        # figures inside a page are the PNG files that lie beside it
        yield from _of_text(re.sub(rb"base64,[A-Za-z0-9+/=]+", b"", raw), hidden)
        yield from _of_table(raw, hidden)


def _of_text(raw: bytes, hidden: Hidden) -> Iterator[str]:
    for token in NUMBER.findall(raw):
        mantissa = re.split(rb"[eE]", token)[0].lstrip(b"+-").replace(b".", b"").lstrip(b"0")
        if not DIGITS <= len(mantissa) <= 20:
            continue
        for name, value in hidden.numbers.items():
            if abs(float(f"{abs(value):.{min(len(mantissa), 16) - 1}e}") - abs(float(token))) < 1e-15 * abs(
                value
            ):
                yield f"{name} as {token.decode()}"


def _of_table(raw: bytes, hidden: Hidden) -> Iterator[str]:
    """Look at the columns of a table of numbers, GetDist's or a figure's."""
    lines = raw.decode("utf-8", "replace").splitlines()
    rows = []
    for line in lines[1:]:
        try:
            rows.append([float(x) for x in re.split(r"[,\s]+", line.strip())])
        except ValueError:
            return
    if len(rows) >= ROWS and len({len(row) for row in rows}) == 1:
        yield from _of_columns("table", np.array(rows), hidden)


def _of_value(name: str, value: object, hidden: Hidden) -> Iterator[str]:
    if isinstance(value, bytes | str):
        raw = value if isinstance(value, bytes) else value.encode()
        yield from (f"{name}: the word {w[:8]}..." for w in hidden.words if w.encode() in raw)
        yield from (f"{name}: {text}" for text in _of_text(raw, hidden))
        return
    array = np.asarray(value)
    if array.dtype.kind in "OSU":
        for x in array.ravel():
            yield from _of_value(name, x, hidden) if isinstance(x, bytes | str) else ()
    elif array.dtype.names:
        for key in array.dtype.names:
            yield from _of_value(f"{name}.{key}", array[key], hidden)
    elif array.dtype.kind == "f":
        for what, number in hidden.numbers.items():
            if np.isclose(np.abs(array), abs(number), rtol=1e-11, atol=0).any():
                yield f"{name}: {what}"
        yield from _of_columns(name, array.reshape(-1, array.shape[-1]) if array.ndim > 1 else array[:, None] if array.ndim else array[None, None], hidden)  # fmt: skip


def _of_columns(name: str, table: np.ndarray, hidden: Hidden) -> Iterator[str]:
    if len(table) < ROWS:
        return
    for what, (mean, error) in hidden.means.items():
        if (np.abs(table.mean(0) - mean) < 0.1 * error).any():
            yield f"{name}: a column with the mean of {what}"
