"""Which data sets there are, and where the description and the files of each lie.

A data set is a ``dataset.yaml``: in a folder of this package, in a package that registers that folder as an entry point of
``cmbfit.datasets``, or on the user's disk, named by its path. ``files`` is a group of cmbfit's registry, or a list of
files that lie beside ``dataset.yaml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cmbfit import data
from cmbfit.errors import ConfigError, DataError, LikelihoodError, shown, unknown_name
from cmbfit.io import reading
from cmbfit.likelihood.datasets.source import file_of
from cmbfit.registry import entry_points, module_place

GROUP = "cmbfit.datasets"
_FOLDER = resources.files("cmbfit.likelihood.datasets")
_NEEDED: dict[str, type] = {"title": str, "kind": str, "sky": dict, "nuisance": dict, "citation": str}


@cache
def _shipped() -> tuple[str, ...]:
    return tuple(sorted(f.name for f in _FOLDER.iterdir() if f.joinpath("dataset.yaml").is_file()))


def dataset_names() -> tuple[str, ...]:
    """Names of all data sets: cmbfit's, sorted, then those of other packages."""
    return (*_shipped(), *sorted(entry_points(GROUP)))


def description_file(name: str) -> Path:
    """Return a data set's ``dataset.yaml``, by name or by its own path.

    Raises
    ------
    LikelihoodError
        For an unknown name.
    ConfigError
        If two packages use it.
    DataError
        If a package registers a folder without ``dataset.yaml``, or there is no such file.
    """
    if file_of(name):
        if not Path(name).is_file():
            raise DataError(f"{name}: no such file; expected the dataset.yaml of a data set")
        return Path(name)
    points = entry_points(GROUP).get(name, ())
    if name in _shipped() and not points:
        return Path(str(_FOLDER.joinpath(name, "dataset.yaml")))
    if not points:
        raise LikelihoodError(unknown_name("data set", name, dataset_names()))
    if name in _shipped() or len(points) > 1:
        raise ConfigError(
            f"data set {name!r} (entry points {GROUP}): expected one package of that name, found "
            f"{' and '.join([*(['cmbfit'] if name in _shipped() else []), *(p.value for p in points)])}; uninstall one"
        )
    place = module_place(points[0].value)
    folders = list(place.submodule_search_locations or ()) if place else []
    found = next((Path(f, "dataset.yaml") for f in folders if Path(f, "dataset.yaml").is_file()), None)
    if found is None:
        raise DataError(f"data set {name!r}: the package {points[0].value} has no dataset.yaml")
    return found


def description(name: str) -> dict[str, Any]:
    """Return the contents of a data set's ``dataset.yaml``; see :func:`description_file`.

    Raises
    ------
    DataError
        If it is no YAML, or lacks what every data set says.
    """
    path = description_file(name)
    with reading(path, "the dataset.yaml of a data set"):
        spec = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(spec, dict):
            raise DataError(f"{path}: expected a mapping, found {shown(spec)}")
        for key, kind in _NEEDED.items():
            if not isinstance(spec.get(key), kind):
                raise DataError(
                    f"{path}: {key}: expected {'text' if kind is str else 'a mapping'}, found "
                    f"{shown(spec[key]) if key in spec else 'nothing'} (needed: {', '.join(_NEEDED)})"
                )
    return spec


def registry_group(name: str) -> str:
    """Return the registry group of a data set's files; empty if it has none."""
    group = description(name).get("files", "")
    return group if isinstance(group, str) else ""


def registered_sums(name: str) -> dict[str, str | None]:
    """Return the registered files that a data set reads, with their sha256, without reading them."""
    spec = description(name)
    return {entry.name: entry.sha256 for entry in _registered(spec).values()}


def _registered(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(spec.get("files", ""), str) or not spec.get("files"):
        return {}
    wanted = spec.get("members", ["*"])
    found = data.load_registry().select(spec["files"])
    return {file: entry for file, entry in found.items() if any(fnmatch(file, pattern) for pattern in wanted)}


def own_files(name: str) -> dict[str, Path]:
    """Return the files beside a data set's ``dataset.yaml``, by their names there.

    Raises
    ------
    DataError
        If one is missing, or leads out of the folder.
    """
    path = description_file(name)
    files = description(name).get("files", [])
    if isinstance(files, str):
        return {}
    if not isinstance(files, list) or not all(isinstance(x, str) for x in files):
        raise DataError(f"{path}: files: expected a list of names, or a registry group, found {shown(files)}")
    folder, out = path.parent.resolve(), {}
    for file in files:
        # resolved, so that a link does not lead out either
        if Path(file).is_absolute() or not (folder / file).resolve().is_relative_to(folder):
            raise DataError(f"{path}: files: {file} leads out of its folder; put a copy beside it")
        if not (folder / file).is_file():
            raise DataError(f"{path}: files: no file {file} beside it")
        out[file] = path.parent / file
    return out


def read_files(name: str) -> dict[str, bytes]:
    """Return the contents of a data set's files by their names; registered ones are verified."""
    registered = {file: data.read_bytes(entry.name) for file, entry in _registered(description(name)).items()}
    return registered or {file: path.read_bytes() for file, path in own_files(name).items()}
