"""Trust on first use: files whose publishers give no sha256 are downloaded once, looked at, and pinned for this user.

From then on they are checked like any other file. What is checked the first time: https with the site's certificate,
size and md5 where they are published, and that the file is what its name says, whole.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import yaml
from filelock import FileLock

from cmbfit.data.digest import digest_mismatch
from cmbfit.data.model import Entry, HttpsSource, Registry
from cmbfit.data.registry import load_registry, lock_file, read_lock
from cmbfit.data.store import cached_path, fetch, user_dir
from cmbfit.errors import DataError, DownloadError
from cmbfit.fits_structure import check_structure
from cmbfit.io import sha256_file, write_text

_HEADER = """\
# Files without a published sha256, trusted when they first came (cmbfit data fetch --trust-first). cmbfit checks
# them against these sums from then on. Remove a line to trust a file anew.
"""
_MOST = 1 << 36
"""Bytes of a file whose size nobody says: 64 GiB."""


def structure_problem(path: Path, name: str) -> str | None:
    """Return why a file cannot be what its name says, or None: FITS with all of its data, whole archives, text.

    Parameters
    ----------
    path : Path
        The bytes, under whatever name.
    name : str
        What the file is called.
    """
    with path.open("rb") as f:
        start = f.read(512)
    if not start:
        return "the file is empty"
    if start.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        return "expected data, found a web page"
    try:
        if name.endswith((".fits", ".fits.gz")):
            check_structure(path)
        elif name.endswith((".tar.gz", ".tgz", ".tar")):
            with tarfile.open(path) as archive:
                if not sum(1 for _ in archive):
                    return "the archive is empty"
        elif name.endswith(".gz"):
            with gzip.open(path) as f:
                while f.read(1 << 20):
                    pass
        elif b"\0" in start:
            return "expected text, found binary data"
    except (DataError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        return f"damaged: {error}"
    return None


def write_lock(entry: Entry, sha256: str, size: int) -> None:
    """Add a file to the user's lock file."""
    path = lock_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            pins = read_lock(path) | {entry.name: {"sha256": sha256, "bytes": size}}
            text = _HEADER + yaml.safe_dump({"version": 1, "pins": pins}, sort_keys=True)
            write_text(path, text)
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error}; CMBFIT_LOCK names another file") from error


def trust_first(
    name: str,
    *,
    registry: Registry | None = None,
    progress: bool = True,
    say: Callable[[str], None] = print,
) -> Path:
    """Return a registered file; pin one that has no sha256 to the bytes that come now.

    A file that is there already (in the cache, or in ``$CMBFIT_DATA``) is pinned as it is.

    Parameters
    ----------
    say : callable
        Takes one line: what was trusted, with its sha256.

    Raises
    ------
    ChecksumError
        When a file is not what its publisher says, or not what its name says.
    DownloadError
        When it cannot be had.
    """
    registry = load_registry() if registry is None else registry
    entry = registry[name]
    if entry.sha256 is not None:
        return fetch(name, registry=registry, progress=progress)
    path = _here(entry) or _downloaded(entry, progress=progress)
    sha256, size = sha256_file(path), path.stat().st_size
    write_lock(entry, sha256, size)
    md5 = "md5 as published" if entry.md5 else "no md5 is published"
    say(f"{entry.name}: trusted sha256 {sha256}, {size} bytes ({md5}), pinned in {lock_file()}")
    return path


def _problem(entry: Entry, path: Path) -> str | None:
    wrong = digest_mismatch(path, sha256=None, size=entry.size, md5=entry.md5)
    return wrong or structure_problem(path, entry.name)


def _here(entry: Entry) -> Path | None:
    """Return a copy that is on this machine and can be the file."""
    folder = user_dir()
    places = [folder / entry.name, folder / entry.basename] if folder else []
    for path in (*places, cached_path(entry)):
        if path.is_file() and _problem(entry, path) is None:
            return path
    return None


def _downloaded(entry: Entry, *, progress: bool) -> Path:
    from cmbfit.data.download import download  # noqa: PLC0415 (requests)

    tried, target = [], cached_path(entry)
    target.unlink(missing_ok=True)  # not what it should be, or it would have been taken
    for source in entry.sources:
        if not isinstance(source, HttpsSource):
            continue
        try:
            return download(
                source.url,
                target,
                sha256=None,
                size=entry.size,
                md5=entry.md5,
                check=lambda path: structure_problem(path, entry.name),
                progress=progress,
                max_bytes=_MOST,
            )
        except DataError as error:
            tried.append(f"  {source}\n    {error}")
    raise DownloadError(f"{entry.name}: could not be had. Tried:\n" + "\n".join(tried))


def trust_command(names: Iterable[str], registry: Registry | None = None) -> str | None:
    """Return the one command that brings the unpinned among these files; None where all are pinned.

    Groups and folders stand for their files where all that are unpinned in them are wanted.
    """
    registry = load_registry() if registry is None else registry
    unpinned = {n for n, e in registry.items() if e.sha256 is None}
    wanted = {n for n in names if n in unpinned}
    if not wanted:
        return None
    words = []
    for name in sorted(wanted):
        parts = name.split("/")
        for k in range(1, len(parts) + 1):
            prefix = "/".join(parts[:k])
            inside = {n for n in unpinned if n == prefix or n.startswith(prefix + "/")}
            if inside <= wanted:
                words.append(prefix)
                break
    return f"cmbfit data fetch --trust-first {' '.join(dict.fromkeys(words))}"
