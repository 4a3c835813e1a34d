"""Temporary files and folders of writers that were killed, told from those at work by a lock that dies with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_RANDOM = 8  # characters of tempfile's names


@contextlib.contextmanager
def temporary(folder: Path, prefix: str, suffix: str, *, directory: bool = False) -> Iterator[Path]:
    """Yield a new temporary file (closed, empty) or folder that is ours until the block ends; the caller removes it.

    What a killed writer of the same names left in the folder is removed first. Where a file system has no locks, nothing is.

    Parameters
    ----------
    folder : Path
    prefix, suffix : str
        Of the name; what lies between them is random.
    directory : bool
        A folder.

    Raises
    ------
    OSError
        If nothing can be made there.
    """
    _sweep(folder, prefix, suffix)
    while True:
        if directory:
            name = tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=folder)
            handle = os.open(name, os.O_RDONLY)
        else:
            handle, name = tempfile.mkstemp(prefix=prefix, suffix=suffix, dir=folder)
        with contextlib.suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):  # noqa: PTH110 (else another swept it, before it was locked)
            break
        os.close(handle)
    try:
        yield Path(name)
    finally:
        os.close(handle)


def _sweep(folder: Path, prefix: str, suffix: str) -> None:
    """Remove what is of these names and nobody's; a file that another is just removing is no error."""
    length = len(prefix) + _RANDOM + len(suffix)
    names = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        names = [e.name for e in entries if len(e.name) == length]
    for name in names:
        if name.startswith(prefix) and name.endswith(suffix):
            with contextlib.suppress(OSError):
                _remove_unheld(folder / name)


def _remove_unheld(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    finally:
        os.close(handle)
