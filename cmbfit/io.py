"""Publishing files: atomic writes, checksums and the provenance record beside every product.

A product is published by writing to a temporary name in the same directory and renaming, so a
reader sees either the whole file or none of it. Beside each product ``x.ext`` lies ``x.ext.json``,
its provenance: which inputs (sha256), settings, code version and packages made it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import cmbfit
from cmbfit.errors import ChecksumError, CmbfitError, DataError, WriteError
from cmbfit.leftovers import temporary

if TYPE_CHECKING:
    import h5py

SCHEMA_VERSION = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PACKAGES = (
    *("numpy", "scipy", "astropy", "torch", "camb", "healpy", "ducc0"),
    *("emcee", "getdist", "nautilus-sampler", "sacc", "snakemake"),
)


def unwritable(path: str | Path, error: OSError) -> WriteError:
    """Return the typed error of a file that cannot be written, with the way out."""
    # a library may give the reason in words only
    full = error.errno in _NO_ROOM or any(os.strerror(n) in str(error) for n in _NO_ROOM)
    way = "make room and run again" if full else "make its folder writable, or name another"
    return WriteError(f"{path}: cannot be written: {error}; {way}")


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    For libraries that take nothing but a name and write it in one go; all others get a file that reports
    its own errors, :func:`atomic_file`. The temporary name keeps the suffix (libraries choose formats by it).
    Nothing is left behind when the block raises, and what a killed writer left behind is removed by the next one. The
    data are flushed to the disk before the rename.

    Parameters
    ----------
    path : str or Path
        The final place. Missing parent directories are made.

    Raises
    ------
    WriteError
        If the disk is full or the directory cannot be written.

    Examples
    --------
    >>> with atomic_path("results/x.txt") as tmp:  # doctest: +SKIP
    ...     tmp.write_text("whole or not at all")
    """
    try:
        path = Path(path).resolve()  # through a link: its target is replaced, the link stays
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: expected the name of a file to write, found a directory or device")
        path.parent.mkdir(parents=True, exist_ok=True)
        held = contextlib.ExitStack()
        tmp = held.enter_context(temporary(path.parent, f".{path.stem}.", f".tmp{path.suffix}"))
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield tmp
        umask = os.umask(0)
        os.umask(umask)
        tmp.chmod(0o666 & ~umask)  # mkstemp makes 0600; a product is as readable as any other file
        with tmp.open("rb+") as f:
            os.fsync(f.fileno())
        tmp.replace(path)
    except WriteError:
        raise
    except OSError as error:
        if no_room(error) or str(error.filename) == str(tmp):
            raise unwritable(path, error) from error
        raise
    finally:
        tmp.unlink(missing_ok=True)
        held.close()


def no_room(error: OSError) -> bool:
    """Return whether a file could not be written because there was no room for it; HDF5 says so in words only."""
    return error.errno in _NO_ROOM or any(os.strerror(n) in str(error) for n in _NO_ROOM)


class _Sink:
    """A file that can only be written: the disk's first error is typed, and kept from libraries that hide it."""

    def __init__(self, file: BinaryIO, path: str | Path) -> None:
        self._file, self._path = file, path
        self.error: WriteError | None = None

    def _do(self, action: Callable[..., int], *words: Any) -> int:
        try:
            return action(*words)
        except OSError as error:
            self.error = self.error or unwritable(self._path, error)
            raise self.error from error

    def write(self, data: bytes | memoryview) -> int:
        return self._do(self._file.write, data)

    def tell(self) -> int:
        return self._file.tell()

    def flush(self) -> None:
        self._do(lambda: self._file.flush() or 0)


@contextlib.contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a binary file, to be written from beginning to end; publish it at `path` when the block ends well.

    Every product goes through here: as a stream where its library writes one (FITS, text), from memory where
    it jumps about in the file (:func:`atomic_buffer`). A library never meets the disk's error in its own code.

    Parameters
    ----------
    path : str or Path
        The final place. Missing parent directories are made.

    Raises
    ------
    WriteError
        If the disk is full or the directory cannot be written; nothing is left and what was there stays.

    Examples
    --------
    >>> with atomic_file("results/x.dat") as f:  # doctest: +SKIP
    ...     f.write(b"whole or not at all")
    """
    with atomic_path(path) as tmp:
        raw = tmp.open("wb")
        sink = _Sink(raw, path)
        try:
            yield cast("BinaryIO", sink)
            sink.flush()
        finally:
            try:
                raw.close()
            except OSError as error:
                sink.error = sink.error or unwritable(path, error)
            if sink.error is not None:
                raise sink.error


@contextlib.contextmanager
def atomic_buffer(path: str | Path) -> Iterator[io.BytesIO]:
    """Yield a file in memory, where a library may jump about; publish it at `path` when the block ends well."""
    image = io.BytesIO()
    yield image
    write_bytes(path, image.getbuffer())


@contextlib.contextmanager
def atomic_hdf5(path: str | Path) -> Iterator[h5py.File]:
    """Yield an HDF5 file in memory; publish it at `path` when the block ends well.

    HDF5 writes when it closes a file, and a disk that is full then leaves the library in a state that it
    does not survive. In memory it takes as much as on the disk: what it holds is in memory anyway.
    """
    import h5py  # noqa: PLC0415 (not for those who write none)

    with atomic_buffer(path) as image, h5py.File(image, "w") as f:
        yield f


def write_bytes(path: str | Path, data: bytes | memoryview) -> None:
    """Publish `data` at `path` atomically."""
    with atomic_file(path) as f:
        f.write(data)


def copy_file(source: str | Path, path: str | Path) -> None:
    """Publish a copy of `source` at `path` atomically."""
    with Path(source).open("rb") as f, atomic_file(path) as out:
        shutil.copyfileobj(f, out)


@contextlib.contextmanager
def reading(what: str | Path, expected: str, kind: type[CmbfitError] = DataError) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into one typed error.

    Parsers raise nearly anything for a damaged file: errors of zip, of recursion, of memory that a header
    asked for. To the reader of a message they are one: this file is not what it should be.

    Parameters
    ----------
    what : str or Path
        The file.
    expected : str
        What it should be.
    kind : type
        Of the error; typed errors pass through as they are.

    Examples
    --------
    >>> with reading("x.txt", "a number"):
    ...     float("x")
    Traceback (most recent call last):
    cmbfit.errors.DataError: x.txt: expected a number, found: ValueError: could not convert string to float: 'x'
    """
    try:
        yield
    except CmbfitError:
        raise
    except Exception as error:
        raise kind(
            f"{what}: expected {expected}, found: {type(error).__name__}: {str(error)[:500]}"
        ) from error


def write_text(path: str | Path, text: str) -> None:
    """Publish `text` at `path` atomically (UTF-8)."""
    write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> None:
    """Publish `value` as indented JSON; NaN and infinities are refused."""
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """Return what :func:`write_json` writes."""
    return json.dumps(value, indent=2, allow_nan=False) + "\n"


def parse_json(text: str | bytes) -> Any:
    """Return the value of a JSON text as RFC 8259 has it: names are given once, numbers are finite.

    Raises
    ------
    ValueError
        For anything else; :mod:`json` itself takes NaN, and of two values of one name the last.

    Examples
    --------
    >>> parse_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: the name 'a' is given twice
    """
    return json.loads(text, object_pairs_hook=_once, parse_constant=_finite, parse_float=_finite)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(x for x in names if names.count(x) > 1)!r} is given twice")
    return out


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text} is no finite number")
    return value


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raise :class:`~cmbfit.errors.DataError` when it is missing or malformed, see :func:`parse_json`."""
    try:
        with reading(path, "JSON"):
            return parse_json(Path(path).read_text(encoding="utf-8"))
    except DataError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise DataError(f"{path}: no such file") from error.__cause__
        raise


def sha256_file(path: str | Path) -> str:
    """Return the hexadecimal sha256 of a file's bytes."""
    with Path(path).open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()


def require_sha256(path: str | Path, expected: str | None) -> None:
    """Raise :class:`~cmbfit.errors.ChecksumError` unless a file has the sha256 that was promised (None: any)."""
    if expected is not None and (found := sha256_file(path)) != expected:
        raise ChecksumError(f"{path}: altered: sha256 {found}, expected {expected}; remove it and run again")


def sha256_json(value: Any) -> str:
    """Return the sha256 of a JSON-able value, independent of key order."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _git_state() -> dict[str, Any]:
    root = Path(cmbfit.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return {"commit": None, "dirty": None}

    def git(*words: str) -> str:
        return subprocess.run(  # noqa: S603 (fixed command)
            ["git", *words],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    try:
        return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "-uno"))}
    except (OSError, subprocess.CalledProcessError):
        return {"commit": None, "dirty": None}


@cache
def _package_versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def provenance(
    *,
    inputs: Sequence[str | Path] = (),
    settings: Mapping[str, Any] | None = None,
    relative_to: str | Path | None = None,
    **extra: Any,
) -> dict[str, Any]:
    """Return the provenance record of a product made now by this code.

    Parameters
    ----------
    inputs : sequence of paths
        Files that were read; each is recorded with its sha256.
    settings : mapping, optional
        The configuration that was used (JSON-able).
    relative_to : path, optional
        Folder that the names of inputs are relative to, for products that move together with it.
    **extra
        Further JSON-able entries (seeds, measured numbers, ...).
    """
    return {
        "schema": SCHEMA_VERSION,
        "cmbfit": cmbfit.__version__,
        "git": _git_state(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "packages": _package_versions(),
        "inputs": {
            str(p if relative_to is None else Path(p).relative_to(relative_to)): sha256_file(p)
            for p in inputs
        },
        "settings": dict(settings or {}),
        **extra,
    }


def record_path(product: str | Path) -> Path:
    """Return where the provenance of a product lies: ``chain.h5.json``; of a JSON file ``name.record.json``."""
    product = Path(product)
    if product.suffix == ".json":
        return product.with_suffix(".record.json")
    return product.with_name(product.name + ".json")


def publish_record(product: str | Path, **kwargs: Any) -> None:
    """Write the provenance of `product` beside it (:func:`record_path`); of a folder with the sha256 of each file."""
    product = Path(product)
    record = provenance(**kwargs)
    if product.is_dir():
        files = {p.name: sha256_file(p) for p in sorted(product.iterdir()) if not p.name.startswith(".")}
        record["product"] = {"folder": product.name, "files": files}
    else:
        record["product"] = {"file": product.name, "sha256": sha256_file(product)}
    write_json(record_path(product), record)
