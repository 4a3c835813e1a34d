"""Publishing folders whole, and keeping a command's products apart from a user's own files in the same folder."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from cmbfit.errors import DataError, WriteError
from cmbfit.io import no_room, read_json, reading, sha256_file, write_json
from cmbfit.leftovers import temporary

_AT_FDCWD, _EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextlib.contextmanager
def atomic_folder(path: str | Path, ours: Callable[[str], bool]) -> Iterator[Path]:
    """Yield a temporary folder beside `path`; put it in the place of `path` when the block ends well.

    A reader sees the folder of before or the new one, never files of both. What lies there and is not ours goes along.

    Parameters
    ----------
    path : str or Path
        The final place. Missing parents are made.
    ours : callable
        Whether a name in the folder is that of a file which is replaced as a whole; others are carried over.

    Raises
    ------
    DataError
        If there is a file in the folder's place.
    WriteError
        If the disk is full or the place cannot be written.
    """
    path = Path(path).resolve()
    if path.exists() and not path.is_dir():
        raise DataError(f"{path}: expected the name of a folder to write, found a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        held = contextlib.ExitStack()
        tmp = held.enter_context(temporary(path.parent, f".{path.name}.", ".tmp", directory=True))
    except OSError as error:
        raise WriteError(
            f"{path}: cannot be written: {error}; make its folder writable, or name another"
        ) from error
    try:
        yield tmp
        umask = os.umask(0)
        os.umask(umask)
        tmp.chmod(0o777 & ~umask)
        if path.exists():
            for old in path.iterdir():
                if not ours(old.name) and not (tmp / old.name).exists():
                    _carry(old, tmp / old.name)
            exchange(tmp, path)
        else:
            tmp.rename(path)
    except OSError as error:
        if no_room(error):
            raise WriteError(f"{path}: cannot be written: {error}; make room and run again") from error
        raise
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
        held.close()


def _link(source: str | Path, target: str | Path) -> None:
    """Link a file, so that nothing is copied and a crash loses nothing; copy it where links are not to be had."""
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)


def _carry(old: Path, new: Path) -> None:
    if old.is_dir() and not old.is_symlink():
        shutil.copytree(old, new, symlinks=True, copy_function=_link)
    else:
        _link(old, new)


def exchange(a: Path, b: Path) -> None:
    """Let two names change places; at once where the system can (Linux), else with a moment in which `b` is not there."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is not None:
        if rename(_AT_FDCWD, os.fsencode(a), _AT_FDCWD, os.fsencode(b), _EXCHANGE) == 0:
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise OSError(number, os.strerror(number), str(b))
    aside = a.with_name(a.name + ".old")
    b.rename(aside)
    a.rename(b)
    aside.rename(a)


class Products:
    """What a command wrote into a folder that the user may keep other files in.

    A record in the folder names each file and its sha256. A file is ours where a record names it with the content that it
    has; any other is the user's: it is never overwritten and never removed.

    Parameters
    ----------
    folder : path
    records : str
        Pattern of the records of all that write into the folder.
    record : str
        Ours, relative to the folder.
    """

    def __init__(self, folder: str | Path, records: str, record: str) -> None:
        self.folder, self.record = Path(folder), Path(folder) / record
        self._records = records

    def known(self) -> dict[str, set[str]]:
        """Return the sha256 by which each file is known, of all records in the folder."""
        out: dict[str, set[str]] = {}
        for path in sorted(self.folder.glob(self._records)):
            for name, sums in _read(path).items():
                out.setdefault(name, set()).update(sums)
        return out

    def refuse_foreign(self, places: Sequence[str], ours: Callable[[str], bool]) -> None:
        """Raise :class:`DataError` if a file lies where a product would go and no record names it.

        Parameters
        ----------
        places : sequence of str
            Folders within, in which products lie.
        ours : callable
            Whether a path relative to the folder is one of a product.
        """
        known = self.known()
        found = [p.relative_to(self.folder).as_posix() for x in places for p in (self.folder / x).glob("*")]
        if foreign := sorted(name for name in found if ours(name) and name not in known):
            shown = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
            raise DataError(
                f"{self.folder}: {shown}: would be replaced, and no record there says that an earlier run wrote it; move "
                "it away, or name another folder"
            )

    def publish(
        self, new: Path, whole: Mapping[str, Callable[[str], bool]], said: Callable[[str], None]
    ) -> None:
        """Move the files of a folder into ours, and remove what an earlier run wrote and this one did not.

        Parameters
        ----------
        new : path
            On the same file system.
        whole : mapping of str to callable
            Folders within, which are exchanged as a whole, with what is ours in each: see :func:`atomic_folder`.
        said : callable
            Told of each file of the user's that was in the way and moved aside.
        """
        made = {p.relative_to(new).as_posix(): sha256_file(p) for p in sorted(new.rglob("*")) if p.is_file()}
        known = self.known()
        before = _read(self.record) if self.record.exists() else {}
        both = {name: [*before.get(name, []), made[name]] for name in made}
        write_json(self.record, {"files": {**before, **both}})  # whoever is killed below knows all as ours
        for name in sorted({*made, *before}):
            path = self.folder / name
            if path.is_file() and sha256_file(path) not in known.get(name, set()) | {made.get(name)}:
                aside = path.with_name(path.name + ".kept")
                path.replace(aside)
                said(f"{path} was altered since it was written: kept as {aside.name}")
        for folder, ours in whole.items():
            with atomic_folder(self.folder / folder, ours) as tmp:
                for path in (new / folder).iterdir():
                    path.replace(tmp / path.name)
        inside = tuple(f"{folder}/" for folder in whole)
        for name in made:
            if not name.startswith(inside):
                (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (new / name).replace(self.folder / name)
        for name in set(before) - set(made):
            (self.folder / name).unlink(missing_ok=True)
        write_json(self.record, {"files": {name: [found] for name, found in made.items()}})


def _read(path: Path) -> dict[str, list[str]]:
    with reading(path, "a record of products (remove it, and the products)"):
        return {str(name): [str(x) for x in sums] for name, sums in read_json(path)["files"].items()}
