"""Turn a data set's folder into a Likelihood."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import yaml

from cmbfit import data
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.base import DataSetInfo, Likelihood
from cmbfit.likelihood.datasets import planck_files
from cmbfit.likelihood.datasets.candl_format import read_candl
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.priors import JointGaussian, prior_from_config
from cmbfit.likelihood.simall import TabulatedSpectrum
from cmbfit.theory.parameters import unknown_name

_FOLDER = resources.files("cmbfit.likelihood.datasets")


@cache
def dataset_names() -> tuple[str, ...]:
    """Names of all data sets, sorted."""
    return tuple(sorted(f.name for f in _FOLDER.iterdir() if f.joinpath("dataset.yaml").is_file()))


def _description(name: str) -> dict[str, Any]:
    if name not in dataset_names():
        raise LikelihoodError(unknown_name("data set", name, dataset_names()))
    return yaml.safe_load(_FOLDER.joinpath(name, "dataset.yaml").read_text(encoding="utf-8"))


def reference_of(name: str) -> dict[str, Any]:
    """Return the published number a data set checks itself against: spectrum, nuisance, log_like."""
    return dict(_description(name)["reference"])


def nuisance_names(name: str) -> list[str]:
    """Return the nuisance parameters of a data set without loading its data."""
    spec = _description(name)
    return [*spec["nuisance"], *(n for row in spec.get("joint_priors", []) for n in row["names"])]


def registry_group(name: str) -> str:
    """Return the registry group of a data set's files."""
    return str(_description(name)["files"])


def _info(name: str, spec: dict[str, Any], n_data: int, files: Mapping[str, bytes]) -> DataSetInfo:
    joint = tuple(_joint_prior(row, files) for row in spec.get("joint_priors", []))
    single = {k: prior_from_config(k, v) for k, v in spec["nuisance"].items()}
    return DataSetInfo(
        name=name,
        title=spec["title"],
        sky={survey: {p: (a, b) for p, (a, b) in ranges.items()} for survey, ranges in spec["sky"].items()},
        n_data=n_data,
        citation=spec["citation"],
        approximation=spec.get("approximation", ""),
        nuisance=single | {n: prior.marginal(n) for prior in joint for n in prior.names},
        joint_priors=joint,
    )


def _joint_prior(spec: Mapping[str, Any], files: Mapping[str, bytes]) -> JointGaussian:
    names = tuple(spec["names"])
    file = spec["covariance_file"]
    covariance = planck_files.read_table(files[file], file, (len(names), len(names)))
    return JointGaussian(names, tuple(spec["mean"]), tuple(tuple(row) for row in covariance.tolist()))


def _files(group: str) -> dict[str, bytes]:
    """Return the verified contents of every file of a registry group, by file name."""
    return {file: data.read_bytes(entry.name) for file, entry in data.load_registry().select(group).items()}


def load_likelihood(name: str) -> Likelihood:
    """Load a data set by name; its files are verified against the registry.

    Parameters
    ----------
    name : str
        One of :func:`dataset_names`.

    Raises
    ------
    LikelihoodError
        For an unknown name.
    DataError
        If a file is missing, altered or malformed.

    Examples
    --------
    >>> load_likelihood("planck2018_plik_lite_ttteee").info.n_data
    613
    """
    spec = _description(name)
    files = _files(spec["files"])
    sums = {file: hashlib.sha256(raw).hexdigest() for file, raw in files.items()}
    match spec["kind"]:
        case "plik_lite":
            windows, bandpowers, covariance = planck_files.plik_lite(files, spec["pairs"])
        case "lowl_tt_bins":
            windows, bandpowers, covariance = planck_files.lowl_tt_bins(files)
        case "simall":
            table = planck_files.simall_table(files["prob_table.txt"], "prob_table.txt")
            return TabulatedSpectrum(
                _info(name, spec, 0, files), spec["pair"], spec["lmin"], spec["step"], table, sums
            )
        case "candl":
            got = read_candl(files, spec["definition"])
            info = _info(name, spec, len(got.data), files)
            return GaussianBandpowers(info, got.windows, got.data, got.covariance, got.calibration, sums)
        case other:
            raise LikelihoodError(f"{name}: unknown kind of data set {other!r}")
    return GaussianBandpowers(
        _info(name, spec, len(bandpowers), files), windows, bandpowers, covariance, spec["calibration"], sums
    )
