"""Which data a fit uses: names, combinations, cuts, and files of the user's, as a configuration says it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cmbfit.errors import ConfigError, DataError, LikelihoodError, shown, unknown_name
from cmbfit.io import reading, sha256_file
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.candl_definition import outside_files
from cmbfit.likelihood.datasets.catalog import dataset_names, description, own_files, registry_group
from cmbfit.likelihood.datasets.kinds import KINDS
from cmbfit.likelihood.datasets.load import load_likelihood, options_from_config
from cmbfit.likelihood.datasets.source import Options, file_of, joint_priors, nuisance_priors
from cmbfit.likelihood.priors import JointGaussian, Prior, prior_from_config
from cmbfit.registry import LIKELIHOODS, Registry

OWN = "own_spectra"
"""The run's own spectra, in a fit's list of data."""

FORMATS: Registry[Callable[..., Likelihood]] = Registry(
    "format of data",
    "cmbfit.data_formats",
    {
        "candl": "cmbfit.likelihood.user_files:read_user_candl",
        "sacc": "cmbfit.likelihood.user_files:read_user_sacc",
    },
)
"""Formats of the user's own files, ``{FORMAT: FILE, ...}``, to a function of the file and options by name."""

_CODE = "likelihood"


@dataclass(frozen=True)
class Selection:
    """One data set of a fit.

    Attributes
    ----------
    kind : {"dataset", "candl", "sacc", "likelihood", "own"}
    name : str
        Of the data set, or the path of the user's file as it was written, or where a likelihood's class lies.
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
        if self.kind in FORMATS or (self.kind == "dataset" and file_of(self.name)):
            return Path(self.name)
        where = LIKELIHOODS.where(self.name) if self.kind == _CODE else ""
        return Path(where) if where.endswith(".py") else None

    def user_hashes(self) -> dict[str, str]:
        """Return sha256 of the user's files by path: of a candl data set, its whole folder and what it names outside."""
        path = self.path
        if path is None:
            return {}
        if not path.is_file():
            raise DataError(f"data: {{{self.kind}: {path}}}: no such file")
        files = [path]
        if self.kind == "dataset":
            files += own_files(self.name).values()
            if (reader := KINDS.where(description(self.name)["kind"], path.parent)).endswith(".py"):
                files.append(Path(reader))
        elif self.kind == "sacc":
            from cmbfit.spectra.product import leakage_path  # noqa: PLC0415 (sacc imports pandas)

            files += [x for x in [leakage_path(path)] if x.is_file()]
        elif self.kind == "candl":
            files = [x for x in sorted(path.parent.rglob("*")) if x.is_file()]
            files += outside_files(path, self.options.get("variant"))
        return {str(x): sha256_file(x) for x in files}

    @property
    def nuisance_priors(self) -> dict[str, Prior] | None:
        """Nuisance parameters with the data set's own priors; None where only a user's code knows them.

        Of a data set that has a ``dataset.yaml`` its data are not read. A parameter of a joint prior comes with its
        marginal, see :attr:`joint_priors`.
        """
        match self.kind:
            case "dataset":
                options = Options(
                    rename=self.options.get("rename", {}),
                    priors=options_from_config(self.name, self.options).get("priors", {}),
                )
                return nuisance_priors(self.name, description(self.name), options)
            case "sacc":
                given = self._checked().get("calibration", {})
                for parameter, spec in given.items():
                    if not isinstance(spec, Mapping) or "prior" not in spec:
                        raise ConfigError(
                            f"data: {{sacc: {self.name}}}: calibration: {parameter}: expected {{prior: ..., powers: ...}}, "
                            f"found {shown(spec)}"
                        )
                return {p: prior_from_config(p, spec["prior"]) for p, spec in given.items()}
            case "own":
                return {}
            case _ if self.kind in FORMATS:
                return dict(self.load().info.nuisance)
            case _:
                return None

    @property
    def joint_priors(self) -> tuple[JointGaussian, ...]:
        """Correlated priors, which stand in place of the single ones of the same names."""
        if self.kind == "dataset":
            return joint_priors(description(self.name))
        return self.load().info.joint_priors if self.kind == "candl" else ()

    @property
    def nuisance_names(self) -> list[str] | None:
        """Names of :attr:`nuisance_priors`; None where only a user's code knows them."""
        priors = self.nuisance_priors
        return None if priors is None else list(priors)

    def load(self) -> Likelihood:
        """Return the likelihood of anything but the run's own spectra.

        Raises
        ------
        ConfigError
            For an option that the data set, the format or the class does not have.
        CodeNotAllowedError
            If it is the user's own code and nobody allowed it to run.
        """
        if self.kind == "dataset":
            return load_likelihood(self.name, **options_from_config(self.name, self.options))
        if self.kind == _CODE:
            return _called(LIKELIHOODS.get(self.name), self)
        return FORMATS.get(self.kind)(self.name, **self._checked())

    def _checked(self) -> Mapping[str, Any]:
        """Return the options, all of which the format's reader has."""
        _, *known = inspect.signature(FORMATS.get(self.kind)).parameters
        if unknown := [k for k in self.options if k not in known]:
            raise ConfigError(
                f"data: {{{self.kind}: {self.name}}}: {unknown_name('option', unknown[0], known)}"
            )
        return self.options


def _called(kind: Callable[..., Any], selection: Selection) -> Likelihood:
    """Return the likelihood that a user's class makes of its options."""
    where = f"data: {{likelihood: {selection.name}}}"
    try:
        inspect.signature(kind).bind_partial(**selection.options)  # an unknown one before a missing one
        inspect.signature(kind).bind(**selection.options)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}; it takes {inspect.signature(kind)}") from error
    like = kind(**selection.options)
    needed = ("info", "pairs", "lmax", "log_prob", "to", "settings")
    if lacking := [x for x in needed if not hasattr(like, x)]:
        raise ConfigError(
            f"{where}: expected the interface of cmbfit.likelihood.base.Likelihood, found a {type(like).__name__} "
            f"without {', '.join(lacking)}"
        )
    return like


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
        Each a name of a data set or combination, the path of a ``dataset.yaml``, ``own_spectra``, ``{NAME or PATH: {cuts:
        ..., rename: ..., priors: ..., allow_overlap: ...}}``, ``{candl: FILE.yaml, ...}``, ``{sacc: FILE.fits, survey:
        ..., unit: ...}`` or ``{likelihood: ./FILE.py:CLASS, OPTION: ...}``.

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
            else:
                out.append(_dataset(item, {}))
        elif isinstance(item, Mapping) and (kind := next((k for k in _formats() if k in item), None)):
            if not isinstance(item[kind], str):
                raise ConfigError(f"data: {kind}: expected a path, found {shown(item[kind])}")
            out.append(Selection(kind, item[kind], {k: v for k, v in item.items() if k != kind}))
        elif isinstance(item, Mapping) and len(item) == 1:
            ((name, options),) = item.items()
            if name in combinations():
                raise ConfigError(f"data: {name} is a combination and takes no options; list its data sets")
            if not isinstance(options, Mapping):
                raise ConfigError(
                    f"data: {name}: expected options such as {{cuts: ...}}, found {shown(options)}"
                )
            out.append(_dataset(str(name), options))
        else:
            raise ConfigError(
                f"data: expected a name, {{NAME: {{cuts: ...}}}}, {{candl: FILE}} or {{sacc: FILE}}, found {shown(item)}"
            )
    return out


def measures_distances(items: Sequence[str | Mapping[str, Any]]) -> bool:
    """Return whether a list of data has values of distances, by galaxies or supernovae, without reading their files.

    Examples
    --------
    >>> measures_distances(["planck2018"]), measures_distances(["planck2018", "desi_dr2"])
    (False, True)
    """
    kinds = ("bao", "supernovae")
    return any(s.kind == "dataset" and description(s.name)["kind"] in kinds for s in select(items))


def has_foregrounds(items: Sequence[str | Mapping[str, Any]]) -> bool:
    """Return whether a list of data has a registered set of several frequencies (``frequencies:``), without reading its files.

    Examples
    --------
    >>> has_foregrounds(["planck2018"]), has_foregrounds(["planck2018", "spt3g_2018_ttteee"])
    (False, True)
    """
    return any(s.kind == "dataset" and description(s.name).get("frequencies") for s in select(items))


def _formats() -> tuple[str, ...]:
    return (*FORMATS.names(), _CODE)


def _dataset(name: str, options: Mapping[str, Any]) -> Selection:
    if name not in dataset_names() and not file_of(name):
        raise LikelihoodError(unknown_name("data set", name, (*dataset_names(), *combinations())))
    return Selection("dataset", name, options)


def read_words(words: Sequence[str], unit: str | None = None) -> list[str | Mapping[str, Any]]:
    """Turn words of the command line into items for :func:`select`.

    Parameters
    ----------
    words : sequence of str
        Names, paths of files (a .yaml that says its ``kind``: a data set; another: candl; .fits: SACC), or items in YAML.
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
            with reading(f"--data: {word!r}", "YAML such as {NAME: {cuts: ...}}", ConfigError):
                out.append(yaml.safe_load(word))
        elif file_of(word) and not _describes_data_set(Path(word)):
            out.append({"candl": word})
        elif word.endswith((".fits", ".fits.gz", ".sacc", ".h5", ".hdf5")):
            out.append({"sacc": word, "unit": unit})
        else:
            out.append(word)
    return out


def _describes_data_set(path: Path) -> bool:
    """Return whether a YAML file is a data set's description, and no candl definition: it says its kind."""
    if not path.is_file():
        return path.stem == "dataset"
    try:
        with reading(path, "YAML"):
            spec = yaml.safe_load(path.read_text(encoding="utf-8"))
    except DataError:
        return path.stem == "dataset"  # whoever reads it says what is wrong
    return path.stem == "dataset" or (isinstance(spec, dict) and "kind" in spec)
