"""Turn a data set's folder into a Likelihood."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmbfit.errors import ConfigError, shown, unknown_name
from cmbfit.io import reading
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.catalog import (
    dataset_names,
    description,
    description_file,
    read_files,
    registry_group,
)
from cmbfit.likelihood.datasets.kinds import KINDS
from cmbfit.likelihood.datasets.source import Options, Source, file_of
from cmbfit.likelihood.priors import Prior, prior_from_config

__all__ = ["dataset_names", "description", "load_likelihood", "options_from_config", "registry_group"]


def load_likelihood(
    name: str,
    *,
    cuts: Mapping[str, tuple[int, int]] | None = None,
    rename: Mapping[str, str] | None = None,
    priors: Mapping[str, Prior] | None = None,
    allow_overlap: str = "",
) -> Likelihood:
    """Load a data set by name; its files are verified against the registry.

    Parameters
    ----------
    name : str
        One of :func:`dataset_names`, or the path of a ``dataset.yaml``.
    cuts : mapping of str to (int, int), optional
        Pair to the first and last multipole that are kept; [0, 0] drops the pair. Bins with edges
        (plik-lite) are kept when they lie inside as a whole, windows with tails when their centre does.
    rename : mapping of str to str, optional
        Nuisance parameter to a new name, so that data sets share it. `priors` gives the prior that
        then holds, if the new name is not the data set's own.
    priors : mapping of str to Prior, optional
        Replaces the data set's recommended priors.
    allow_overlap : str, optional
        Why this data set may be used beside another that counts the same multipoles.

    Raises
    ------
    LikelihoodError
        For an unknown name, an option that the data set does not have, or cuts that leave nothing.
    DataError
        If a file is missing, altered or malformed.

    Examples
    --------
    >>> load_likelihood("planck2018_plik_lite_ttteee").info.n_data
    613
    >>> load_likelihood("planck2018_plik_lite_tt", cuts={"tt": (30, 999)}).info.sky
    {'planck': {'tt': (30, 999)}}
    """
    spec, path = description(name), description_file(name)
    read = KINDS.get(spec["kind"], path.parent)
    files = read_files(name)
    sums = {file: hashlib.sha256(raw).hexdigest() for file, raw in files.items()}
    label = name
    if file_of(name):
        label = spec.get("name", path.resolve().parent.name)
        sums[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    options = Options(
        cuts={pair: (int(a), int(b)) for pair, (a, b) in (cuts or {}).items()},
        rename=dict(rename or {}),
        priors=dict(priors or {}),
        allow_overlap=allow_overlap,
    )
    # a key that a kind needs and a description lacks, a file of another name
    with reading(Path(name), f"a data set of kind {spec['kind']}"):
        return read(Source(label, spec, files, sums), options)


def options_from_config(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Check a configuration's options of a data set and turn them into keywords.

    Parameters
    ----------
    given : mapping
        ``cuts``, ``rename``, ``priors``, ``allow_overlap``.

    Raises
    ------
    ConfigError
        For an unknown key or a malformed value.
    """
    known = ("cuts", "rename", "priors", "allow_overlap")
    out = dict(given)
    if unknown := [k for k in out if k not in known]:
        raise ConfigError(unknown_name(f"option of {name}", unknown[0], known))
    for key in ("cuts", "rename", "priors"):
        if not isinstance(out.get(key, {}), Mapping):
            raise ConfigError(f"{name}: {key}: expected {{NAME: ...}}, found {shown(out[key])}")
    for pair, limits in out.get("cuts", {}).items():
        if not isinstance(limits, list | tuple) or len(limits) != 2 or any(int(x) != x for x in limits):
            raise ConfigError(
                f"{name}: cuts: {pair}: expected two whole numbers [lmin, lmax], found {limits!r}"
            )
    if not isinstance(out.get("allow_overlap", ""), str):
        raise ConfigError(
            f"{name}: allow_overlap: expected the reason in words, found {out['allow_overlap']!r}"
        )
    if "priors" in out:
        out["priors"] = {p: prior_from_config(p, spec) for p, spec in out["priors"].items()}
    return out
