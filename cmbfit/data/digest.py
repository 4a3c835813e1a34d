"""Whether a file's bytes are the expected ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cmbfit.errors import DataError


def digest_mismatch(
    path: Path, *, sha256: str | None, size: int | None, md5: str | None = None
) -> str | None:
    """Return what is wrong with a file's bytes, or None when they are the expected ones, or that it cannot be read."""
    try:
        found = path.stat().st_size
        if size is not None and found != size:
            return f"expected {size} bytes, found {found}"
        for kind, expected in (("sha256", sha256), ("md5", md5)):
            if expected is None:
                continue
            with path.open("rb") as f:
                digest = hashlib.file_digest(f, kind).hexdigest()
            if digest != expected:
                return f"expected {kind} {expected}, found {digest}"
    except OSError as error:
        return f"cannot be read: {error}"
    return None


def refuse_other_than_file(path: Path) -> None:
    """Raise :class:`~cmbfit.errors.DataError` where something that is no file stands in a file's place."""
    if os.path.exists(path) and not os.path.isfile(path):  # noqa: PTH110, PTH113 (Path raises in a closed folder)
        raise DataError(
            f"{path}: expected a file or nothing, found a directory or device; move it out of the way"
        )
