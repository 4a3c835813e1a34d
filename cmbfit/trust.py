"""Which of the user's own code may run: all of it when asked for once, or files whose sha256 is in a list.

A configuration comes from anywhere and may name a Python file. It is run only if the environment variable
``CMBFIT_ALLOW_CODE`` is 1, which ``--allow-code`` sets, or if ``cmbfit trust FILE`` has recorded these very bytes.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cmbfit.errors import CodeNotAllowedError, DataError
from cmbfit.io import parse_json, reading, write_json

ALLOW = "CMBFIT_ALLOW_CODE"
"""Environment variable that allows all code when it is 1."""


def trust_file() -> Path:
    """Return the list of trusted files, ``$XDG_CONFIG_HOME/cmbfit/trusted.json``."""
    import platformdirs  # noqa: PLC0415 (only when the user's own code is in play)

    return platformdirs.user_config_path("cmbfit") / "trusted.json"


def trusted() -> dict[str, str]:
    """Return the trusted files: path when it was recorded, to sha256.

    Raises
    ------
    DataError
        If others than the user may write the list, or it is damaged.
    """
    path = trust_file()
    try:
        with path.open("rb") as f:
            status, raw = os.fstat(f.fileno()), f.read()
    except FileNotFoundError:
        return {}
    # Windows has neither owners nor modes of this sort
    if hasattr(os, "getuid") and (status.st_mode & 0o022 or status.st_uid not in (os.getuid(), 0)):
        raise DataError(
            f"{path}: others may write it (mode {status.st_mode & 0o777:o}, owner {status.st_uid}), so that it says "
            f"nothing of what you trust; look through it, then chmod 600 {path}"
        )
    with reading(path, "a list of trusted files"):
        return {str(name): str(sha256) for name, sha256 in parse_json(raw)["files"].items()}


def trust(path: str | Path) -> str:
    """Record a file's sha256 in the user's list, so that these bytes may run; return the sha256.

    Raises
    ------
    DataError
        If there is no such file, or the list cannot be trusted itself.
    """
    path = Path(path)
    sha256 = hashlib.sha256(_read(path)).hexdigest()
    files = trusted() | {str(path.resolve()): sha256}
    where = trust_file()
    where.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(where, {"schema": 1, "files": files})
    where.chmod(0o600)
    return sha256


def require_allowed(path: str | Path) -> bytes:
    """Return the contents of a file of code that may run.

    The file is read once: whoever runs it runs what is returned, so that it cannot change after the check.

    Raises
    ------
    CodeNotAllowedError
        If neither the environment nor the user's list allows it; with its sha256.
    DataError
        If it cannot be read.
    """
    raw = _read(Path(path))
    sha256 = hashlib.sha256(raw).hexdigest()
    if os.environ.get(ALLOW) != "1" and sha256 not in trusted().values():
        raise CodeNotAllowedError(
            f"{path}: expected code that you allow to run, found sha256 {sha256}, which is not in {trust_file()}; read "
            f"it, then `cmbfit trust {path}` for good, or --allow-code ({ALLOW}=1) for this once"
        )
    return raw


def require_code_allowed(what: str) -> None:
    """Refuse code that is found by an import path, unless the environment allows all code.

    No sha256 stands for it: Python imports the packages above it too, from compiled files if they are there.

    Raises
    ------
    CodeNotAllowedError
        With `what` was asked for.
    """
    if os.environ.get(ALLOW) != "1":
        raise CodeNotAllowedError(
            f"{what}: expected a name that an installed package registers, found an import path; allow it with "
            f"--allow-code ({ALLOW}=1), or give the code as a file, ./FILE.py:NAME, and `cmbfit trust` it"
        )


def _read(path: Path) -> bytes:
    with reading(path, "a readable file"):
        return path.read_bytes()
