"""The registry of data files: what each file is, where it comes from and which bytes it must have.

``data/registry.yaml`` is read strictly: an unknown key, a repeated key or a malformed value is an
error that names its place. A user may add files, pin unpinned ones, or name mirrors of sites, in an
overlay of the same form named by the environment variable ``CMBFIT_REGISTRY``.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import yaml

from cmbfit.data.model import EmbeddedSource, Entry, HttpsSource, PackageSource, Registry, Source
from cmbfit.errors import DataError, shown
from cmbfit.io import reading

_SCHEMA_VERSION = 1
_SAFE_PATH = re.compile(r"[A-Za-z0-9_.+-]+(/[A-Za-z0-9_.+-]+)*")


class _UniqueKeyLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """A safe loader that refuses a key given twice (YAML keeps the last one silently)."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) != len(node.value):
            seen: set[Any] = set()
            for key_node, _ in node.value:
                if key_node.value in seen:
                    line = key_node.start_mark.line + 1
                    raise DataError(f"line {line}: the key {key_node.value!r} is given twice")
                seen.add(key_node.value)
        return mapping


class _Fields:
    """Reads the keys of one mapping and complains about those that nobody asked for."""

    def __init__(self, where: str, value: Any, allowed: Iterable[str]) -> None:
        if not isinstance(value, dict):
            raise DataError(f"{where}: expected a mapping, found {type(value).__name__}")
        allowed = tuple(allowed)
        for key in value:
            if key not in allowed:
                near = difflib.get_close_matches(str(key), allowed, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(allowed)}"
                raise DataError(f"{where}.{key}: unknown key ({hint})")
        self.where, self.value = where, value

    def text(self, key: str, *, default: str | None = None) -> str:
        if key not in self.value and default is not None:
            return default
        value = self.value.get(key)
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"{self.where}.{key}: expected text, found {shown(value)}")
        return value

    def digest(self, key: str, length: int) -> str | None:
        value = self.value.get(key)
        if value is not None and not (
            isinstance(value, str) and re.fullmatch(rf"[0-9a-f]{{{length}}}", value)
        ):
            raise DataError(
                f"{self.where}.{key}: expected {length} lower-case hex digits, found {shown(value)}"
            )
        return value

    def size(self, key: str) -> int | None:
        value = self.value.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value <= 0):
            raise DataError(f"{self.where}.{key}: expected a positive integer or null, found {shown(value)}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.value.get(key)
        if not isinstance(value, list) or not value or not all(isinstance(v, str) and v for v in value):
            raise DataError(f"{self.where}.{key}: expected a list of texts, found {shown(value)}")
        return tuple(value)


def _safe_path(where: str, path: str) -> str:
    if not _SAFE_PATH.fullmatch(path) or ".." in PurePosixPath(path).parts or path.startswith("."):
        raise DataError(f"{where}: expected a relative path of letters, digits and _.+-, found {shown(path)}")
    return path


def _source(where: str, value: Any, file: str, path: str) -> Source:
    """Read one item of `sources`, with ``{file}`` filled in."""
    fields = _Fields(where, value, ("embedded", "package", "https"))
    if len(fields.value) != 1:
        raise DataError(f"{where}: expected exactly one of embedded, package, https")
    if "embedded" in fields.value:
        return EmbeddedSource(_safe_path(where, fields.text("embedded").replace("{file}", file)))
    if "https" in fields.value:
        url = fields.text("https").replace("{file}", path)
        if not re.fullmatch(r"https://[^\s/@]+/\S+", url) or ".." in url:
            raise DataError(f"{where}.https: expected an https address, found {shown(url)}")
        return HttpsSource(url)
    package = _Fields(f"{where}.package", value["package"], ("name", "version", "kind", "member", "filename"))
    kind = package.text("kind")
    if kind not in ("wheel", "sdist"):
        raise DataError(f"{package.where}.kind: expected wheel or sdist, found {shown(kind)}")
    filename = package.text("filename") if "filename" in package.value else None
    return PackageSource(
        name=_safe_path(f"{package.where}.name", package.text("name")),
        version=package.text("version"),
        kind=kind,
        member=_safe_path(f"{package.where}.member", package.text("member").replace("{file}", path)),
        filename=filename and _safe_path(f"{package.where}.filename", filename),
    )


_FILE_KEYS = ("sha256", "md5", "bytes", "description", "path", "sources", "licence", "citation")
_GROUP_KEYS = ("description", "licence", "citation", "sources", "files")


def _entry(where: str, group: _Fields, group_name: str, file: str, value: Any) -> Entry:
    fields = _Fields(where, value, _FILE_KEYS)
    sha256, size = fields.digest("sha256", 64), fields.size("bytes")
    path = _safe_path(f"{where}.path", fields.text("path", default=file))
    holder = fields if "sources" in fields.value else group
    raw = holder.value.get("sources")
    if not isinstance(raw, list) or not raw:
        raise DataError(f"{holder.where}.sources: expected a list of sources, found {shown(raw)}")
    sources = tuple(_source(f"{holder.where}.sources[{i}]", item, file, path) for i, item in enumerate(raw))
    if sha256 is not None and size is None:
        raise DataError(f"{where}.bytes: a file with a sha256 needs its size too")
    if sha256 is None and not all(isinstance(s, HttpsSource) for s in sources):
        raise DataError(f"{where}.sha256: only files with https sources alone may be unpinned")
    return Entry(
        name=f"{group_name}/{_safe_path(where, file)}",
        sha256=sha256,
        size=size,
        md5=fields.digest("md5", 32),
        sources=sources,
        licence=(fields if "licence" in fields.value else group).text("licence"),
        citation=(fields if "citation" in fields.value else group).texts("citation"),
        description=fields.text("description"),
    )


def _parse(path: Path, *, overlay: bool) -> tuple[dict[str, Entry], dict[str, str], dict[str, Any]]:
    """Read one registry file; return entries, group descriptions and what only an overlay has."""
    if not path.is_file():
        raise DataError(f"{path}: no such registry file")
    try:
        with reading(path, "a YAML registry"):
            document = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 (a safe loader)
    except DataError as error:
        if error.__cause__ is not None:
            raise
        raise DataError(f"{path}: {error}") from None
    only_overlay = ("pins", "mirrors") if overlay else ()
    top = _Fields(f"{path}: registry", document, ("version", "groups", *only_overlay))
    if top.value.get("version") != _SCHEMA_VERSION:
        raise DataError(
            f"{path}: version: expected {_SCHEMA_VERSION}, found {shown(top.value.get('version'))}"
        )
    entries: dict[str, Entry] = {}
    descriptions: dict[str, str] = {}
    groups = top.value.get("groups", {} if overlay else None)
    if not isinstance(groups, dict):
        raise DataError(f"{path}: groups: expected a mapping, found {groups!r}")
    for name, value in groups.items():
        where = f"{path}: groups.{name}"
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_]+", name):
            raise DataError(f"{where}: expected a group name of letters, digits and _")
        group = _Fields(where, value, _GROUP_KEYS)
        descriptions[name] = group.text("description")
        files = group.value.get("files")
        if not isinstance(files, dict) or not files:
            raise DataError(f"{where}.files: expected a mapping of files, found {files!r}")
        for file, item in files.items():
            entry = _entry(f"{where}.files.{file}", group, name, str(file), item)
            entries[entry.name] = entry
    extra = {key: top.value.get(key, {}) for key in ("pins", "mirrors")}
    for key, value in extra.items():
        if not isinstance(value, dict):
            raise DataError(f"{path}: {key}: expected a mapping, found {shown(value)}")
    return entries, descriptions, extra


_LOOPBACK = r"http://127\.0\.0\.1:\d+/"


def is_loopback(url: str) -> bool:
    """Return whether an address is plain http on this machine, which only an overlay's mirror can name."""
    return re.match(_LOOPBACK, url) is not None


def _mirrored(path: Path, entry: Entry, mirrors: dict[str, Any]) -> Entry:
    """Return `entry` with a mirror's address before each of its own that the mirror covers.

    A mirror changes where bytes come from, never which bytes are accepted.
    """
    sources: list[Source] = []
    for source in entry.sources:
        for prefix, target in mirrors.items():
            where = f"{path}: mirrors.{prefix}"
            if not re.fullmatch(r"https://[^\s/@]+/\S*", str(prefix)):
                raise DataError(f"{where}: expected the https address of a site")
            if not isinstance(target, str) or not re.fullmatch(
                rf"(https://[^\s/@]+/|{_LOOPBACK})\S*", target
            ):
                raise DataError(
                    f"{where}: expected an https address, or http on 127.0.0.1, found {shown(target)}"
                )
            if isinstance(source, HttpsSource) and source.url.startswith(prefix):
                sources.append(HttpsSource(target + source.url[len(prefix) :]))
        sources.append(source)
    return replace(entry, sources=tuple(sources))


def _pinned(path: Path, entry: Entry, value: Any) -> Entry:
    """Return `entry` with the sha256 and size that the user's overlay gives."""
    where = f"{path}: pins.{entry.name}"
    fields = _Fields(where, value, ("sha256", "bytes"))
    sha256, size = fields.digest("sha256", 64), fields.size("bytes")
    if sha256 is None or size is None:
        raise DataError(f"{where}: expected sha256 and bytes")
    if entry.sha256 is not None and entry.sha256 != sha256:
        raise DataError(
            f"{where}: the registry already names another sha256 ({entry.sha256}): remove this pin if the registry is right"
        )
    if entry.size is not None and entry.size != size:
        raise DataError(f"{where}: the registry names {entry.size} bytes, the pin {size}")
    return replace(entry, sha256=sha256, size=size)


def data_root() -> Path:
    """Return the directory of ``registry.yaml`` and of the embedded files.

    It is ``data/`` of a source checkout, or ``cmbfit/_data`` of an installed wheel.
    """
    package = Path(__file__).resolve().parent.parent
    checkout = package.parent / "data"
    # A stray `data` directory in site-packages is not ours: require the project file as well.
    if (checkout / "registry.yaml").is_file() and (package.parent / "pyproject.toml").is_file():
        return checkout
    return package / "_data"


def lock_file() -> Path:
    """Return the user's lock file: sha256 and size of files that were trusted when they first came.

    It is ``$CMBFIT_LOCK`` if that is set, else ``lock.yaml`` in the user's directory of configurations.
    """
    if named := os.environ.get("CMBFIT_LOCK"):
        return Path(named).expanduser().resolve()
    from platformdirs import user_config_dir  # noqa: PLC0415 (not where the variable is set)

    return Path(user_config_dir("cmbfit")) / "lock.yaml"


def read_lock(path: Path) -> dict[str, Any]:
    """Return the pins of a lock file, none where there is no file."""
    return dict(_parse(path, overlay=True)[2]["pins"]) if path.is_file() else {}


@cache
def _load(path: Path, overlay: Path | None, lock: Path | None, _stamp: tuple[int, ...]) -> Registry:
    entries, descriptions, _ = _parse(path, overlay=False)
    if lock is not None:
        for name, value in read_lock(lock).items():
            if name in entries:  # a lock outlives entries
                entries[name] = _pinned(lock, entries[name], value)
    if overlay is not None:
        more, more_descriptions, extra = _parse(overlay, overlay=True)
        for name in more:
            if name in entries:
                raise DataError(
                    f"{overlay}: {name} is already registered; pin it under `pins`, or use another name"
                )
            if more[name].embedded:
                raise DataError(f"{overlay}: {name}: an overlay cannot name embedded files")
        entries |= more
        descriptions = more_descriptions | descriptions
        lookup = Registry(entries, path.parent)
        for name, value in extra["pins"].items():
            entries[str(name)] = _pinned(overlay, lookup[str(name)], value)
        if extra["mirrors"]:
            entries = {name: _mirrored(overlay, entry, extra["mirrors"]) for name, entry in entries.items()}
    return Registry(MappingProxyType(entries), path.parent, MappingProxyType(descriptions))


def load_registry(path: str | Path | None = None, *, overlay: str | Path | None = None) -> Registry:
    """Read the registry, with the user's lock file and overlay if there are any.

    Parameters
    ----------
    path : str or Path, optional
        The registry file; the one that comes with cmbfit by default.
    overlay : str or Path, optional
        A file with ``pins`` (sha256 and bytes of unpinned entries), further ``groups`` and ``mirrors``
        (the start of an https address: what stands in its place); by default the one named by the
        environment variable ``CMBFIT_REGISTRY``.

    Raises
    ------
    DataError
        With the place of the first mistake.

    Examples
    --------
    >>> load_registry()["firas/firas_monopole_spec_v1.txt"].size
    2388
    """
    file = Path(path) if path is not None else data_root() / "registry.yaml"
    named = overlay if overlay is not None else os.environ.get("CMBFIT_REGISTRY")
    extra = Path(named).expanduser() if named else None
    lock = lock_file() if path is None else None
    # The time stamps are part of the cache's key, so that an edited file is read again.
    stamps = tuple(p.stat().st_mtime_ns if p.is_file() else 0 for p in (file, extra, lock) if p is not None)
    return _load(file, extra, lock, stamps)
