"""One member of a downloaded tar archive, read without unpacking anything to a path of the archive's choice."""

from __future__ import annotations

import shutil
import tarfile
import zlib
from pathlib import Path, PurePosixPath

from cmbfit.errors import DataError, WriteError
from cmbfit.io import atomic_file


def extract_member(archive: str | Path, member: str, target: str | Path, max_bytes: int = 1 << 30) -> None:
    """Publish one regular file of a tar archive at `target`.

    Names inside the archive decide nothing about where bytes go: links, devices and directories are
    refused, and `target` is the caller's.

    Parameters
    ----------
    member : str
        Its name in the archive; a leading "./" does not matter.
    max_bytes : int
        Refuse members that claim to be larger.

    Raises
    ------
    DataError
        When the archive is damaged, has no such member, has it twice, or it is no regular file.
    """
    wanted = PurePosixPath(member)
    try:
        with tarfile.open(archive) as t:
            found = [m for m in t.getmembers() if PurePosixPath(m.name) == wanted]
            if len(found) != 1:
                near = sorted(m.name for m in t.getmembers() if PurePosixPath(m.name).name == wanted.name)
                hint = f"; of that last name: {', '.join(near[:3])}" if near else ""
                raise DataError(f"{archive}: expected one member {member}, found {len(found)}{hint}")
            source = t.extractfile(found[0]) if found[0].isreg() else None
            if source is None:
                raise DataError(f"{archive}: {member} is no regular file")
            if found[0].size > max_bytes:
                raise DataError(f"{archive}: {member} has {found[0].size} bytes, more than {max_bytes}")
            with atomic_file(target) as out:
                shutil.copyfileobj(source, out)
    except WriteError:
        raise
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{archive}: expected a tar archive, found: {error}") from error
