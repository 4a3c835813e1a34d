"""Open registries: things by name, from cmbfit, from other packages, from an import path or a user's file.

A registry holds text, ``name -> "module:attribute"``, and imports a module when its name is asked for. Another package
adds a name by an entry point of the registry's group. The user adds one by a file, ``./mymodel.py`` or
``./mymodel.py:NAME``, or by an import path ``package.module:NAME``; that is code which nobody installed as a plug-in,
so that it runs only when :mod:`cmbfit.trust` allows it. :meth:`Registry.where` finds the code without running it.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from cmbfit.errors import CmbfitError, ConfigError, unknown_name
from cmbfit.trust import require_allowed, require_code_allowed

T = TypeVar("T")


class Registry(Generic[T]):
    """Names of one sort of thing and where each lies.

    Parameters
    ----------
    what : str
        The sort, for messages: "primordial model".
    group : str
        Entry-point group by which other packages add names.
    builtin : mapping of str to str
        Name to ``"module:attribute"``.
    attribute : str, optional
        What a Python file given without ``:NAME`` holds it as.
    error : type, optional
        Of the errors for unknown names and for code that lacks what it should have.

    Examples
    --------
    >>> ratios = Registry("ratio", "cmbfit.ratios", {"pi": "math:pi"})
    >>> round(ratios.get("pi"), 4), ratios.where("pi")
    (3.1416, 'math')
    """

    def __init__(
        self,
        what: str,
        group: str,
        builtin: Mapping[str, str],
        *,
        attribute: str = "",
        error: type[CmbfitError] = ConfigError,
    ) -> None:
        self.what, self.group, self.builtin = what, group, dict(builtin)
        self.attribute, self.error = attribute, error

    def names(self) -> tuple[str, ...]:
        """Return the registered names, cmbfit's own first.

        Raises
        ------
        ConfigError
            If two packages use one name.
        """
        others = entry_points(self.group)
        for name in others:
            self._refuse_clash(name)
        return (*self.builtin, *sorted(others))

    def __contains__(self, name: object) -> bool:
        return name in self.builtin or name in entry_points(self.group)

    def target(self, name: str, folder: str | Path = ".") -> str:
        """Return ``module:attribute`` or ``file.py:attribute`` of a name, which is not imported.

        Parameters
        ----------
        name : str
            A registered name, an import path ``package.module:NAME`` or a Python file.
        folder : str or Path, optional
            Where relative names of files start.

        Raises
        ------
        CmbfitError
            Of the registry's type, if there is nothing of that name.
        """
        if name in self:
            self._refuse_clash(name)
            return self.builtin.get(name) or entry_points(self.group)[name][0].value
        place, _, attribute = name.rpartition(":") if not name.endswith(".py") else (name, "", self.attribute)
        if place.endswith(".py"):
            path = Path(folder, place)
            if not attribute:
                raise self.error(f"{self.what} {name!r}: say which of the file's objects: {place}:NAME")
            if not path.is_file():
                raise self.error(f"{self.what} {name!r}: no such file ({path.absolute()})")
            return f"{path}:{attribute}"
        if place and all(x.isidentifier() for x in (*place.split("."), attribute)):
            return name
        raise self.error(self._unknown(name))

    def where(self, name: str, folder: str | Path = ".") -> str:
        """Return the module or the file that holds a name, without importing it; see :meth:`target`."""
        return self.target(name, folder).rpartition(":")[0]

    def get(self, name: str, folder: str | Path = ".") -> T:
        """Return what a name stands for; see :meth:`target` for the forms of a name.

        Raises
        ------
        CodeNotAllowedError
            If it is the user's own code and nobody allowed it to run.
        CmbfitError
            Of the registry's type, if there is nothing of that name, or its module lacks the attribute.
        """
        place, _, attribute = self.target(name, folder).rpartition(":")
        if place.endswith(".py"):
            module = load_file(place)
        else:
            if name not in self and name not in self._registered():
                require_code_allowed(f"{self.what} {name!r}")
            module = self._imported(place, name)
        if not hasattr(module, attribute):
            raise self.error(f"{self.what} {name!r}: {place} defines no {attribute}")
        return getattr(module, attribute)

    def _imported(self, place: str, name: str) -> ModuleType:
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            if error.name and (place == error.name or place.startswith(f"{error.name}.")):
                raise self.error(f"{self.what} {name!r}: there is no module {error.name}") from error
            raise  # the module is there and lacks one of its own imports

    def _registered(self) -> set[str]:
        """Return the import paths that installed packages register."""
        return {point.value for points in entry_points(self.group).values() for point in points}

    def _refuse_clash(self, name: str) -> None:
        points = entry_points(self.group).get(name, ())
        packages = [*(["cmbfit"] if name in self.builtin else []), *(_package(p) for p in points)]
        if len(packages) > 1:
            raise ConfigError(
                f"{self.what} {name!r} (entry points {self.group}): expected one package of that name, found "
                f"{' and '.join(packages)}; uninstall one, or ask its authors for another name"
            )

    def _unknown(self, name: str) -> str:
        own = f"./FILE.py{'' if self.attribute else ':NAME'}"
        return f"{unknown_name(self.what, name, self.names())}; your own: {own} or package.module:NAME"


def _package(point: metadata.EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


@functools.cache
def entry_points(group: str) -> Mapping[str, tuple[metadata.EntryPoint, ...]]:
    """Return the entry points of a group by name; one package installed twice on the path counts once."""
    found: dict[str, dict[str, metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=group):
        found.setdefault(point.name, {}).setdefault(_package(point), point)
    return {name: tuple(points.values()) for name, points in found.items()}


def module_place(module: str) -> ModuleSpec | None:
    """Return where a module or package lies, without importing it or the packages above it; None if there is none."""
    path: Sequence[str] | None = None
    parts, spec = module.split("."), None
    for i in range(len(parts)):
        name = ".".join(parts[: i + 1])
        finders = (f for f in sys.meta_path if hasattr(f, "find_spec"))
        spec = next((s for f in finders if (s := f.find_spec(name, path, None))), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations or []
    return spec


def load_file(path: str | Path) -> ModuleType:
    """Run a Python file of the user's, if that is allowed, and return it as a module.

    The bytes that were checked are the ones that run. They run once in a process. The file's folder is not put on
    Python's path: a neighbour that it imported would be code that nobody allowed.

    Raises
    ------
    CodeNotAllowedError
        See :func:`cmbfit.trust.require_allowed`.
    ConfigError
        If the file fails when it is run.
    """
    raw = require_allowed(path)
    name = f"cmbfit_user_{hashlib.sha256(raw).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    try:
        exec(compile(raw, str(path), "exec"), module.__dict__)  # noqa: S102 (the user's own code, allowed above)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"{path}: failed when it was run: {type(error).__name__}: {error}") from error
    return module


THEORIES: Registry[Any] = Registry(
    "theory",
    "cmbfit.theories",
    {
        "background": "cmbfit.theory.background.theory:BackgroundTheory",
        "camb": "cmbfit.theory.camb_code:camb_theory",
        "rotated": "cmbfit.theory.birefringence.theory:RotatedTheory",
    },
)
"""Classes of other theories, ``theory: {class: ...}`` of a fit."""

LIKELIHOODS: Registry[Any] = Registry("likelihood", "cmbfit.likelihoods", {})
"""Classes of other likelihoods, ``{likelihood: ...}`` among a fit's data."""
