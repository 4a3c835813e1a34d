"""Publishing files: atomic writes, checksums and the provenance record beside every product.

A product is published by writing to a temporary name in the same directory and renaming, so a
reader sees either the whole file or none of it. Beside each product ``x.ext`` lies ``x.ext.json``,
its provenance: which inputs (sha256), settings, code version and packages made it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import cmbfit
from cmbfit.errors import ChecksumError, CmbfitError, DataError, WriteError

SCHEMA_VERSION = 1
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PACKAGES = (
    *("numpy", "scipy", "astropy", "torch", "camb", "healpy", "ducc0"),
    *("emcee", "arviz", "getdist", "nautilus-sampler", "sacc", "snakemake"),
)


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` when the block ends well.

    The temporary name keeps the suffix (libraries choose formats by it). Nothing is left behind
    when the block raises. The data are flushed to the disk before the rename.

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
    path = Path(path).resolve()  # through a link: its target is replaced, the link stays
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: expected the name of a file to write, found a directory or device")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=f".tmp{path.suffix}", dir=path.parent)
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written: {error}; make its folder writable, or name another"
        ) from error
    os.close(handle)
    tmp = Path(name)
    try:
        yield tmp
        umask = os.umask(0)
        os.umask(umask)
        tmp.chmod(0o666 & ~umask)  # mkstemp makes 0600; a product is as readable as any other file
        with tmp.open("rb+") as f:
            os.fsync(f.fileno())
        tmp.replace(path)
    except OSError as error:
        # HDF5 gives the reason in words only
        if error.errno in _NO_ROOM or any(os.strerror(n) in str(error) for n in _NO_ROOM):
            raise WriteError(f"{path}: cannot be written: {error}; make room and run again") from error
        raise
    finally:
        tmp.unlink(missing_ok=True)


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
    with atomic_path(path) as tmp:
        tmp.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Publish `value` as indented JSON; NaN and infinities are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


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
    *, inputs: Sequence[str | Path] = (), settings: Mapping[str, Any] | None = None, **extra: Any
) -> dict[str, Any]:
    """Return the provenance record of a product made now by this code.

    Parameters
    ----------
    inputs : sequence of paths
        Files that were read; each is recorded with its sha256.
    settings : mapping, optional
        The configuration that was used (JSON-able).
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
        "inputs": {str(p): sha256_file(p) for p in inputs},
        "settings": dict(settings or {}),
        **extra,
    }


def publish_record(product: str | Path, **kwargs: Any) -> None:
    """Write the provenance of `product` beside it, as ``<product>.json``."""
    product = Path(product)
    record = provenance(**kwargs)
    record["product"] = {"file": product.name, "sha256": sha256_file(product)}
    write_json(product.with_name(product.name + ".json"), record)
