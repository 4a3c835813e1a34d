"""What a registered file is: its name, its bytes and its sources."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cmbfit.errors import DataError


@dataclass(frozen=True)
class EmbeddedSource:
    """An xz file below the data root whose decompressed bytes are the original."""

    path: str

    def __str__(self) -> str:
        return f"embedded file {self.path}"


@dataclass(frozen=True)
class PackageSource:
    """A member of an archive on a Python package index.

    `filename` picks one archive where a release has many wheels.
    """

    name: str
    version: str
    kind: str
    member: str
    filename: str | None = None

    def __str__(self) -> str:
        return f"{self.kind} of {self.name}=={self.version}, member {self.member}"


@dataclass(frozen=True)
class HttpsSource:
    """An address."""

    url: str

    def __str__(self) -> str:
        return self.url


Source = EmbeddedSource | PackageSource | HttpsSource


@dataclass(frozen=True)
class Entry:
    """One registered file.

    Attributes
    ----------
    name : str
        ``<group>/<file>``, unique.
    sha256 : str or None
        None when the file is not pinned; such a file is never downloaded nor used.
    size : int or None
        Length in bytes (the key ``bytes`` of the registry).
    md5 : str or None
        Sum published by others; checked besides the sha256, never instead of it.
    sources : tuple of Source
        In order of preference.
    """

    name: str
    sha256: str | None
    size: int | None
    sources: tuple[Source, ...]
    licence: str = ""
    citation: tuple[str, ...] = ()
    description: str = ""
    md5: str | None = None

    @property
    def group(self) -> str:
        """The part of the name before the first slash."""
        return self.name.split("/", 1)[0]

    @property
    def file(self) -> str:
        """The part of the name after the first slash."""
        return self.name.split("/", 1)[1]

    @property
    def basename(self) -> str:
        """The last part of the name."""
        return self.name.rsplit("/", 1)[-1]

    @property
    def embedded(self) -> EmbeddedSource | None:
        """The embedded source, if the file has one."""
        return next((s for s in self.sources if isinstance(s, EmbeddedSource)), None)


@dataclass(frozen=True)
class Registry(Mapping[str, Entry]):
    """All entries by name, in the order of the file.

    Parameters
    ----------
    entries : mapping of str to Entry
    root : Path
        Directory that embedded paths are relative to.
    descriptions : mapping of str to str
        What each group is.
    """

    entries: Mapping[str, Entry]
    root: Path
    descriptions: Mapping[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Entry:
        try:
            return self.entries[name]
        except KeyError:
            near = difflib.get_close_matches(name, self.entries, n=3)
            hint = f"; did you mean {' or '.join(near)}?" if near else " (see `cmbfit data list`)"
            raise DataError(f"{name}: not in the data registry{hint}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        # Mapping's own test expects a KeyError, and __getitem__ raises a DataError.
        return name in self.entries

    def select(self, prefix: str) -> dict[str, Entry]:
        """Return the entries of a group, a folder or a single name.

        Parameters
        ----------
        prefix : str
            ``group``, ``group/folder`` or a full name.

        Returns
        -------
        dict of str to Entry
            Keys are relative to `prefix` (the last part of the name for a single file).

        Raises
        ------
        DataError
            When nothing matches.
        """
        prefix = prefix.rstrip("/")
        if prefix in self.entries:
            entry = self.entries[prefix]
            return {entry.basename: entry}
        start = prefix + "/"
        found = {n[len(start) :]: e for n, e in self.entries.items() if n.startswith(start)}
        if not found:
            groups = sorted({e.group for e in self.entries.values()})
            raise DataError(f"{prefix}: no such group in the data registry (groups: {', '.join(groups)})")
        return found
