"""The secret of a blinded run: where it lies, what was frozen with it, and whether it was opened.

One file a secret, ``$XDG_STATE_HOME/cmbfit/blind/NAME.json``, which its owner alone may read: outside of every run's folder, so
that no product, record or archive of a run takes it along. Runs carry its sha256. With it stands what was frozen when it was
made: the sizes of the shifts, the reference point and the criteria. A run that says something else under the same secret is
refused, since the difference of two blindings of the same data would give both away.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError, DataError
from cmbfit.io import json_text, parse_json, reading, sha256_json, write_json

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Secret:
    """A secret and what was frozen with it.

    Attributes
    ----------
    name : str
    text : str
        256 random bits, in hexadecimal.
    frozen : mapping
        ``blind`` (the completed section of the configuration), its ``sha256``, and the ``time``.
    """

    name: str
    text: str
    frozen: Mapping[str, Any]

    @property
    def commitment(self) -> str:
        """The sha256 of the secret, which every product of a blinded run may carry."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __repr__(self) -> str:
        return f"Secret({self.name!r}, sha256 {self.commitment[:12]})"

    def fraction(self, parameter: str) -> float:
        """Return a parameter's shift in units of its declared size, uniform in [-1, 1)."""
        digest = hashlib.sha256(f"{self.text}\n{parameter}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**63 - 1


def secret_file(name: str) -> Path:
    """Return where a secret lies."""
    import platformdirs  # noqa: PLC0415 (of blinded runs alone)

    return platformdirs.user_state_path("cmbfit") / "blind" / f"{name}.json"


def opened_file(name: str) -> Path:
    """Return the record of a secret's opening, beside it."""
    return secret_file(name).with_suffix(".opened.json")


def read_secret(name: str) -> Secret:
    """Return a secret.

    Raises
    ------
    DataError
        If it is not there, is damaged, or others may read it.
    """
    path = secret_file(name)
    try:
        with path.open("rb") as f:
            status, raw = os.fstat(f.fileno()), f.read()
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such secret; a blinded run needs the one that it began with: copy it from the account or machine "
            "where the run was first loaded (chmod 600)"
        ) from None
    if hasattr(os, "getuid") and status.st_mode & 0o077:
        raise DataError(
            f"{path}: others may read or write the secret (mode {status.st_mode & 0o777:o}); chmod 600 {path}"
        )
    with reading(path, "the secret of a blinded run"):
        value = parse_json(raw)
        frozen = value["frozen"]
        return Secret(name, str(value["secret"]), {k: frozen[k] for k in ("blind", "sha256", "time")})


def secret_of(name: str, blind: Mapping[str, Any]) -> Secret:
    """Return a secret, made on first use, which is said aloud; what is frozen with it must be what is asked for.

    Parameters
    ----------
    name : str
    blind : mapping
        The completed section ``run.blind``.

    Raises
    ------
    ConfigError
        If the secret was made for another section.
    DataError
        As for :func:`read_secret`.
    """
    path = secret_file(name)
    if not path.exists():
        _make(path, blind)
    secret = read_secret(name)
    if secret.frozen["sha256"] != sha256_json(blind):
        before = secret.frozen["blind"]
        changed = [k for k in dict.fromkeys((*before, *blind)) if before.get(k) != blind.get(k)]
        raise ConfigError(
            f"run.blind: {', '.join(changed)} is not what was frozen on {secret.frozen['time']} with the secret {name} ("
            + "; ".join(f"{k}: {before.get(k)}" for k in changed)
            + "): take the change back, or blind anew with another secret (run.blind.secret)"
        )
    return secret


def _make(path: Path, blind: Mapping[str, Any]) -> None:
    """Write a new secret, whole or not at all; of two that come at once the first one holds."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    time = datetime.now(UTC).isoformat(timespec="seconds")
    frozen = {"blind": blind, "sha256": sha256_json(blind), "time": time}
    own = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as f:
        f.write(json_text({"schema": 1, "secret": secrets.token_hex(32), "frozen": frozen}))
        f.flush()
        os.fsync(f.fileno())
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, path)
            log.warning(
                "blinding: made the secret %s (mode 600); runs carry its sha256 alone. Do not look into it",
                path,
            )
    finally:
        own.unlink()


def opening(name: str) -> dict[str, Any] | None:
    """Return the record of a secret's opening, None while it is closed."""
    path = opened_file(name)
    if not path.is_file():
        return None
    with reading(path, "the record of an unblinding"):
        record = parse_json(path.read_bytes())
        return {
            k: record[k]
            for k in ("time", "reason", "forced", "commitment", "secret", "criteria", "frozen", "products")
        }


def record_opening(name: str, record: Mapping[str, Any]) -> None:
    """Write the record that opens a secret: from now on runs under it are not blinded."""
    write_json(opened_file(name), record)
