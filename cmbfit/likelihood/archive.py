"""Data sets that are released as a tar archive: wanted files, read in memory; nothing is unpacked to the disk."""

from __future__ import annotations

import io
import tarfile
import zlib
from collections.abc import Callable

from cmbfit.errors import DataError

_LARGEST = 1 << 30


def read_archive(archive: bytes, name: str, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """Return the files of an archive that are wanted, by their paths in it.

    Parameters
    ----------
    archive : bytes
        A tar file, compressed or not.
    name : str
        For messages.
    wanted : callable
        Takes a path without a leading "./" and says whether the file is needed.

    Raises
    ------
    DataError
        If the archive is damaged, or a wanted member is there twice, is no regular file, is larger than 1 GiB, or
        has a path that leads out of the archive.
    """
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            for member in tar:
                path = member.name.removeprefix("./")
                if member.isdir() or not wanted(path):
                    continue
                if path in found:
                    raise DataError(f"{name}: {path} is there twice")
                leaves = path.startswith("/") or ".." in path.split("/")
                if not member.isreg() or member.size > _LARGEST or leaves:
                    raise DataError(
                        f"{name}: {member.name} is refused: expected a regular file of at most 1 GiB"
                    )
                handle = tar.extractfile(member)
                found[path] = handle.read() if handle else b""
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise DataError(f"{name}: damaged, or not a tar archive ({error}); download it again") from error
    return found


def folder_of_archive(archive: bytes, name: str, folder: str) -> dict[str, bytes]:
    """Return the files under a folder of an archive by their paths relative to it.

    Raises
    ------
    DataError
        As :func:`read_archive`, or if the folder holds nothing.
    """
    inside = read_archive(archive, name, lambda path: path.startswith(f"{folder}/"))
    if not inside:
        raise DataError(f"{name}: no files under {folder}/; expected the released archive")
    return {path.removeprefix(f"{folder}/"): raw for path, raw in inside.items()}
