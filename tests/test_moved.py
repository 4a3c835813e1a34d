"""Modules that have moved say where to; the public names of the package are those of its modules."""

from __future__ import annotations

import importlib

import pytest

import cmbfit
from cmbfit._moved import MOVED


@pytest.mark.parametrize("old", ["cmbfit.cli_fit", "cmbfit.theory.featured", "cmbfit.theory.extension"])
def test_an_old_module_names_the_new_one(old: str) -> None:
    with pytest.raises(ImportError, match=f"{old} has moved: import {MOVED[old]}"):
        importlib.import_module(old)
    package, _, name = old.rpartition(".")
    with pytest.raises(ImportError, match=f"import {MOVED[old]}"):
        exec(f"from {package} import {name}", {})  # noqa: S102 (the statement that a user has)


def test_every_new_name_is_a_module() -> None:
    for new in MOVED.values():
        importlib.import_module(new)


def test_a_module_that_never_was_is_pythons_own_error() -> None:
    with pytest.raises(ModuleNotFoundError, match="No module named"):
        importlib.import_module("cmbfit.theory.nothing_such")


def test_public_names_are_what_they_say() -> None:
    for name in cmbfit.__all__:
        assert getattr(cmbfit, name).__name__ == name
    assert set(cmbfit.__all__) <= set(dir(cmbfit))
