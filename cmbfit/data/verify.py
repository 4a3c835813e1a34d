"""Whether the copies of files on this machine are what the registry says."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from cmbfit.data.model import Entry, Registry
from cmbfit.data.registry import load_registry
from cmbfit.data.store import cached_path, is_file, mismatch, read_embedded, user_file
from cmbfit.errors import ChecksumError


@dataclass(frozen=True)
class VerifyResult:
    """What :func:`verify` found for one copy of a file.

    Attributes
    ----------
    name : str
    place : str
        ``embedded``, ``cached``, ``CMBFIT_DATA`` or ``-``.
    state : str
        ``ok``, ``bad``, ``absent`` or ``unpinned``.
    message : str
        What is wrong.
    """

    name: str
    place: str
    state: str
    message: str = ""


def verify(names: Iterable[str] | None = None, *, registry: Registry | None = None) -> list[VerifyResult]:
    """Check the bytes of every copy of files on this machine; change nothing.

    Parameters
    ----------
    names : iterable of str, optional
        Names or prefixes. By default all files; those that are not here are then left out.
    """
    registry = load_registry() if registry is None else registry
    asked = None if names is None else list(names)
    entries = (
        list(registry.values())
        if asked is None
        else list({e.name: e for n in asked for e in registry.select(n).values()}.values())
    )
    results: list[VerifyResult] = []
    for entry in entries:
        if entry.sha256 is None:
            if asked is not None:
                results.append(VerifyResult(entry.name, "-", "unpinned", "no sha256 in the registry"))
            continue
        here = _copies(registry, entry)
        results += here
        if not here and asked is not None:
            results.append(VerifyResult(entry.name, "-", "absent", "not on this machine"))
    return results


def _copies(registry: Registry, entry: Entry) -> list[VerifyResult]:
    """Check the copies of one pinned file."""
    found: list[VerifyResult] = []

    def add(place: str, message: str | None) -> None:
        found.append(VerifyResult(entry.name, place, "bad" if message else "ok", message or ""))

    if entry.embedded:
        try:
            read_embedded(registry, entry)
            add("embedded", None)
        except ChecksumError as error:
            add("embedded", str(error))
    cached = cached_path(entry)
    if os.path.exists(cached):  # noqa: PTH110 (Path raises in a closed folder)
        add("cached", mismatch(entry, cached) if is_file(cached) else "a directory or device, no file")
    try:
        if user_file(registry, entry):
            add("CMBFIT_DATA", None)
    except ChecksumError as error:
        add("CMBFIT_DATA", str(error))
    return found
