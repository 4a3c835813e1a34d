"""Files that a candl definition names: where they are looked for, and the formats in which candl reads arrays."""

from __future__ import annotations

import importlib.util
import io
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cmbfit.errors import DataError
from cmbfit.fits_structure import check_structure
from cmbfit.io import reading
from cmbfit.likelihood.datasets.tables import read_numbers

_UP = 4
"""Folders above a definition in which its package's root may be: candl/data/SET/definition.yaml."""


class Folder(Mapping[str, bytes]):
    """The files of a folder by their path relative to it, read when asked for."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __getitem__(self, name: str) -> bytes:
        path = self.root / name
        if not path.is_file():
            raise KeyError(name)
        return path.read_bytes()

    def __iter__(self) -> Any:
        return (str(p.relative_to(self.root)) for p in sorted(self.root.rglob("*")) if p.is_file())

    def __len__(self) -> int:
        return sum(1 for _ in self)


class DefinitionFiles:
    """Files by the names that a definition gives them.

    A name is relative to the definition, to the top of the files (an unpacked package), or, of a folder on this
    machine, to one of the folders above it or to an installed candl: candl's own definitions name templates from the
    root of the package.

    Parameters
    ----------
    files : mapping of str to bytes
        All files; see :class:`Folder`.
    definition : str
        Path of the YAML file among them.
    """

    def __init__(self, files: Mapping[str, bytes], definition: str) -> None:
        self.files, self.definition = files, definition
        self.folder = posixpath.dirname(definition)

    @property
    def code_folder(self) -> str:
        """Folder in which relative names of the user's own code start."""
        return str(self.files.root / self.folder) if isinstance(self.files, Folder) else "."

    def find(self, name: str) -> tuple[str, bytes]:
        """Return a file's place and its contents.

        Raises
        ------
        DataError
            If it is nowhere; with the places.
        """
        if not isinstance(name, str) or not name:
            raise DataError(f"{self.definition}: expected the name of a file, found {name!r}")
        places = dict.fromkeys(posixpath.normpath(posixpath.join(x, name)) for x in (self.folder, ""))
        for place in places:
            if place in self.files:
                return place, self.files[place]
        for path in self._outside(name):
            if path.is_file():
                with reading(path, "a readable file"):
                    return str(path), path.read_bytes()
        # definitions that were taken out of their package leave its folders in the names
        beside = posixpath.normpath(posixpath.join(self.folder, posixpath.basename(name)))
        if beside in self.files:
            return beside, self.files[beside]
        looked = [*places, *map(str, self._outside(name)), beside]
        raise DataError(
            f"{name}: named by the data set's definition, but not among its files; looked for {', '.join(dict.fromkeys(looked))}"
        )

    def _outside(self, name: str) -> list[Path]:
        """Return where a package's file may be outside of the files."""
        if not isinstance(self.files, Folder):
            return []
        above = [*(self.files.root / self.folder).resolve().parents][:_UP]
        candl = importlib.util.find_spec("candl")  # is not imported
        return [x / name for x in (*above, *map(Path, (candl and candl.submodule_search_locations) or []))]

    def __contains__(self, name: object) -> bool:
        try:
            self.find(str(name))
        except DataError:
            return False
        return True

    def table(self, name: str) -> np.ndarray:
        """Return the numbers of a file: text, ``.npy``, ``.bin`` (float64, square if that fits) or ``.fits``.

        Raises
        ------
        DataError
            If the file is missing or damaged, or its numbers are not finite.
        """
        place, raw = self.find(name)
        suffix = posixpath.splitext(name)[1]
        if suffix not in (".npy", ".bin", ".fits"):
            return read_numbers({name: raw}, name)
        with reading(place, f"an array in a {suffix} file"):
            if suffix == ".npy":
                table = np.load(io.BytesIO(raw), allow_pickle=False)
            elif suffix == ".bin":
                table = np.frombuffer(raw, dtype=np.float64)
                side = round(len(table) ** 0.5)
                table = table.reshape(side, side) if side**2 == len(table) else table
            else:
                table = _image(raw, place)
            table = np.array(table, dtype=np.float64)
        if not np.isfinite(table).all():
            raise DataError(f"{name}: holds numbers that are not finite")
        return table


def _image(raw: bytes, name: str) -> np.ndarray:
    from astropy.io import fits  # noqa: PLC0415  a second to import, for one data set only

    check_structure(raw, name)
    with fits.open(io.BytesIO(raw)) as hdus:
        return np.asarray(hdus[1].data, dtype=np.float64)
