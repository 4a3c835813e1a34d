"""Folders of files that several users write: what one of them makes, the others may use."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cmbfit.errors import WriteError
from cmbfit.io import unwritable


def share(path: Path) -> None:
    """Give those who may write in a folder their rights to `path` in it, whatever the umask was.

    Folders like /tmp, where none may touch another's files (the sticky bit), are not shared in this sense.
    """
    parent, mode = path.parent.stat(), path.stat().st_mode
    if not parent.st_mode & 0o022 or parent.st_mode & stat.S_ISVTX:
        return
    rights = parent.st_mode & (0o2077 if stat.S_ISDIR(mode) else 0o066)
    with contextlib.suppress(PermissionError):  # another's: as good as its owner made it
        if path.stat().st_gid != parent.st_gid:
            os.chown(path, -1, parent.st_gid)
        path.chmod(stat.S_IMODE(mode) | rights)


def make_folder(folder: Path) -> Path:
    """Make a folder and those above it, shared like the one that is there already."""
    try:
        missing = [p for p in (folder, *folder.parents) if not p.is_dir()]
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            share(path)
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Let one process at a time make `target`, of whatever user it is.

    The lock files lie in a directory of their own, so that data folders hold data only. A lock that another
    user made needs no right to write: flock(2) asks for an open file, however it was opened.

    Raises
    ------
    WriteError
        If the folder is not writable or the lock not readable.
    """
    path = make_folder(target.parent / ".locks") / f"{target.name}.lock"
    try:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            share(path)
        except PermissionError:
            handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise unwritable(target, error) from error
    try:
        with typed(target):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def typed(path: Path) -> Iterator[None]:
    """Turn the disk's errors within the block into :class:`~cmbfit.errors.WriteError`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise unwritable(path, error) from error
