"""Which data a fit uses: names, combinations, cuts, and files of the user's, as a configuration says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cmbfit.errors import ConfigError, DataError, LikelihoodError, shown
from cmbfit.io import sha256_file
from cmbfit.likelihood.datasets.load import dataset_names, nuisance_names, registry_group
from cmbfit.theory.parameters import unknown_name

OWN = "own_spectra"
"""The run's own spectra, in a fit's list of data."""

_FORMATS = ("candl", "sacc")


@dataclass(frozen=True)
class Selection:
    """One data set of a fit.

    Attributes
    ----------
    kind : {"dataset", "candl", "sacc", "own"}
    name : str
        Of the data set, or the path of the user's file.
    options : mapping
        As the configuration gives them.
    """

    kind: str
    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def registry_group(self) -> str:
        """Group of the registry that holds the files; empty if none does."""
        return registry_group(self.name) if self.kind == "dataset" else ""

    @property
    def path(self) -> Path | None:
        """The user's file, if it is one."""
        return Path(self.name) if self.kind in _FORMATS else None

    def user_hashes(self) -> dict[str, str]:
        """Return sha256 of the user's files by path: of a candl data set, its whole folder."""
        path = self.path
        if path is None:
            return {}
        files = [path] if self.kind == "sacc" else [x for x in sorted(path.parent.rglob("*")) if x.is_file()]
        if not path.is_file():
            raise DataError(f"data: {{{self.kind}: {path}}}: no such file")
        return {str(x): sha256_file(x) for x in files}

    @property
    def nuisance_names(self) -> list[str]:
        """Nuisance parameters, without loading data where the data set's description says them."""
        match self.kind:
            case "dataset":
                rename = self.options.get("rename", {})
                own = [rename.get(n, n) for n in nuisance_names(self.name)]
                return list(dict.fromkeys([*own, *self.options.get("priors", {})]))
            case "candl":
                from cmbfit.likelihood.user_files import read_user_candl  # noqa: PLC0415  reads files

                return list(read_user_candl(self.name, **self.options).info.nuisance)
            case "sacc":
                return list(self.options.get("calibration", {}))
            case _:
                return []


@cache
def combinations() -> dict[str, dict[str, Any]]:
    """Return the named combinations: name to title and data."""
    file = resources.files("cmbfit.likelihood.datasets") / "combinations.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def select(items: Sequence[str | Mapping[str, Any]]) -> list[Selection]:
    """Read the list of data of a fit.

    Parameters
    ----------
    items : sequence
        Each a name of a data set or combination, ``own_spectra``, ``{NAME: {cuts: ..., rename: ...,
        priors: ..., allow_overlap: ...}}``, ``{candl: FILE.yaml, ...}`` or ``{sacc: FILE.fits, survey:
        ..., unit: ...}``.

    Raises
    ------
    LikelihoodError
        For an unknown name.
    ConfigError
        For an item of another form.

    Examples
    --------
    >>> [s.name for s in select(["planck_act_spt"])][-2:]
    ['act_dr6_cmb_only', 'spt3g_2018_lite']
    """
    out: list[Selection] = []
    for item in items:
        if isinstance(item, str):
            if item == OWN:
                out.append(Selection("own", OWN))
            elif item in combinations():
                out += select(combinations()[item]["data"])
            elif item in dataset_names():
                out.append(Selection("dataset", item))
            else:
                raise LikelihoodError(unknown_name("data set", item, (*dataset_names(), *combinations())))
        elif isinstance(item, Mapping) and (kind := next((k for k in _FORMATS if k in item), None)):
            out.append(Selection(kind, str(item[kind]), {k: v for k, v in item.items() if k != kind}))
        elif isinstance(item, Mapping) and len(item) == 1:
            ((name, options),) = item.items()
            if name in combinations():
                raise ConfigError(f"data: {name} is a combination and takes no options; list its data sets")
            if name not in dataset_names():
                raise LikelihoodError(unknown_name("data set", name, dataset_names()))
            if not isinstance(options, Mapping):
                raise ConfigError(
                    f"data: {name}: expected options such as {{cuts: ...}}, found {shown(options)}"
                )
            out.append(Selection("dataset", name, options))
        else:
            raise ConfigError(
                f"data: expected a name, {{NAME: {{cuts: ...}}}}, {{candl: FILE}} or {{sacc: FILE}}, found {shown(item)}"
            )
    return out


def read_words(words: Sequence[str], unit: str | None = None) -> list[str | Mapping[str, Any]]:
    """Turn words of the command line into items for :func:`select`.

    Parameters
    ----------
    words : sequence of str
        Names, paths of files (.yaml: candl, .fits: SACC), or items in YAML.
    unit : str, optional
        Of SACC files given by path.

    Raises
    ------
    ConfigError
        If a word in braces is not YAML.
    """
    out: list[str | Mapping[str, Any]] = []
    for word in words:
        if word.lstrip().startswith("{"):
            try:
                out.append(yaml.safe_load(word))
            except yaml.YAMLError as error:
                raise ConfigError(
                    f"--data: expected YAML such as {{NAME: {{cuts: ...}}}}, found {word!r}"
                ) from error
        elif word.endswith((".yaml", ".yml")):
            out.append({"candl": word})
        elif word.endswith((".fits", ".fits.gz", ".sacc")):
            out.append({"sacc": word, "unit": unit})
        else:
            out.append(word)
    return out
