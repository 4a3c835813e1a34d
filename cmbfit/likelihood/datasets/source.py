"""What a reader of data sets is given, and what all readers share: a name, a description, files, the user's options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmbfit.errors import LikelihoodError, unknown_name
from cmbfit.likelihood.base import DataSetInfo, Likelihood
from cmbfit.likelihood.cuts import Ranges
from cmbfit.likelihood.priors import JointGaussian, Prior, prior_from_config

Powers = dict[str, dict[str, float]]
"""Nuisance parameter to pair to the power of the parameter that multiplies the pair's model."""


@dataclass(frozen=True)
class Source:
    """A data set's name, its ``dataset.yaml``, its files and their sha256."""

    name: str
    spec: Mapping[str, Any]
    files: Mapping[str, bytes]
    sums: Mapping[str, str]


@dataclass(frozen=True)
class Options:
    """What a user may change about a data set; see :func:`~cmbfit.likelihood.datasets.load_likelihood`."""

    cuts: Ranges = field(default_factory=dict)
    rename: Mapping[str, str] = field(default_factory=dict)
    priors: Mapping[str, Prior] = field(default_factory=dict)
    allow_overlap: str = ""

    def without_cuts(self, name: str) -> Options:
        """Return itself, or refuse cuts where they have no meaning."""
        if self.cuts:
            raise LikelihoodError(
                f"{name}: this data set cannot be cut in multipole; use it whole or leave it"
            )
        return self


Reader = Callable[[Source, Options], Likelihood]
"""What stands behind a kind of data set."""


def joint_priors(spec: Mapping[str, Any]) -> tuple[JointGaussian, ...]:
    """Return the correlated priors of a ``dataset.yaml``."""
    return tuple(
        JointGaussian(tuple(row["names"]), tuple(row["mean"]), tuple(tuple(x) for x in row["covariance"]))
        for row in spec.get("joint_priors", [])
    )


def nuisance_priors(name: str, spec: Mapping[str, Any], options: Options) -> dict[str, Prior]:
    """Return the nuisance parameters of a data set under their final names, each with its prior.

    A parameter of a joint prior comes with its marginal.

    Raises
    ------
    LikelihoodError
        If `options` names an unknown nuisance parameter, or a new name has no prior.
    """
    joint = joint_priors(spec)
    own = {k: prior_from_config(k, v) for k, v in spec["nuisance"].items()}
    own |= {n: prior.marginal(n) for prior in joint for n in prior.names}
    # a parameter that is fixed by default varies when it is given a prior
    own |= {n: p for n, p in options.priors.items() if n in spec.get("fixed", {})}
    if unknown := [n for n in options.rename if n not in own]:
        raise LikelihoodError(f"{name}: rename: {unknown_name('nuisance parameter', unknown[0], own)}")
    if correlated := [n for p in joint for n in p.names if n in options.rename or n in options.priors]:
        raise LikelihoodError(
            f"{name}: {correlated[0]} has a joint prior and cannot be renamed or replaced alone; give "
            "priors for all of its parameters in the fit's configuration"
        )
    nuisance: dict[str, Prior] = {}
    for old, prior in own.items():
        new = options.rename.get(old, old)
        if new != old and new not in options.priors:
            raise LikelihoodError(
                f"{name}: {old} is renamed to {new}, which has no prior here; add priors: {{{new}: ...}}"
            )
        nuisance[new] = options.priors.get(new, prior)
    if unknown := [n for n in options.priors if n not in nuisance]:
        raise LikelihoodError(f"{name}: priors: {unknown_name('nuisance parameter', unknown[0], nuisance)}")
    return nuisance


def data_set_info(source: Source, n_data: int, options: Options) -> DataSetInfo:
    """Describe a data set: sky, citation, and nuisance parameters under their final names.

    Raises
    ------
    LikelihoodError
        As :func:`nuisance_priors`.
    """
    spec = source.spec
    return DataSetInfo(
        name=source.name,
        title=spec["title"],
        sky={survey: {p: (a, b) for p, (a, b) in ranges.items()} for survey, ranges in spec["sky"].items()},
        n_data=n_data,
        citation=spec["citation"],
        approximation=spec.get("approximation", ""),
        nuisance=nuisance_priors(source.name, spec, options),
        joint_priors=joint_priors(spec),
        allow_overlap=options.allow_overlap,
        redshifts={sample: (float(a), float(b)) for sample, (a, b) in spec.get("redshifts", {}).items()},
    )


def calibration_of(source: Source, options: Options, own: Mapping[str, Mapping[str, float]]) -> Powers:
    """Return calibration powers under their final names; two that become one add.

    Parameters
    ----------
    own : mapping
        Powers that the data set's own files give; those of ``calibration:`` in ``dataset.yaml`` come first.
    """
    out: Powers = {}
    for name, powers in {**own, **source.spec.get("calibration", {})}.items():
        row = out.setdefault(options.rename.get(name, name), {})
        for pair, power in powers.items():
            row[pair] = row.get(pair, 0.0) + power
    return out


def refuse_idle(info: DataSetInfo, used: Iterable[str]) -> None:
    """Raise :class:`LikelihoodError` for a nuisance parameter that acts on nothing: its prior would be the answer."""
    if idle := [n for n in info.nuisance if n not in set(used)]:
        raise LikelihoodError(
            f"{info.name}: the nuisance parameter {idle[0]} acts on nothing; say how in its dataset.yaml: calibration: "
            f"{{{idle[0]}: {{tt: -2}}}}"
        )


def file_of(path: str | Path) -> bool:
    """Return whether a data set's name is the path of a user's ``dataset.yaml``."""
    return Path(path).suffix in (".yaml", ".yml")
