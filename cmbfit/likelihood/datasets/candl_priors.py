"""Priors of a candl definition on its own parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from cmbfit.errors import DataError, LikelihoodError, shown, unknown_name
from cmbfit.likelihood.datasets.candl_files import DefinitionFiles
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Prior

_KEYS = ("par_names", "central_value", "prior_std", "prior_covariance", "multiplicative_par")


def read_priors(
    files: DefinitionFiles, rows: Any, own: Collection[str], idle: Collection[str]
) -> tuple[dict[str, Prior], tuple[JointGaussian, ...], tuple[str, ...]]:
    """Return single and joint priors of a data set's own parameters, and the names of the rest.

    Parameters
    ----------
    own : collection of str
        Parameters of the data model.
    idle : collection of str
        Parameters that it names and that act on nothing that is left after cuts. Of a prior together with others
        they are integrated out.

    Raises
    ------
    LikelihoodError
        For a key that is unknown or not supported, a parameter with two priors, or a prior that ties an own parameter to
        one that is not.
    """
    where = f"{files.definition}: priors"
    single: dict[str, Prior] = {}
    joint: list[JointGaussian] = []
    others: list[str] = []
    for row in rows or []:
        names, mean, covariance = _numbers(files, where, row)
        if twice := [n for n in names if n in single or names.count(n) > 1]:
            raise LikelihoodError(f"{where}: two priors on {twice[0]}; give one, or one joint prior")
        mine = [n for n in names if n in own]
        if foreign := [n for n in names if n not in own and n not in idle]:
            if mine:
                raise LikelihoodError(
                    f"{where}: {mine[0]} has a prior together with {foreign[0]}, which is not a parameter of the data model"
                )
            others += foreign
        others += [n for n in names if n in idle]
        at = [names.index(n) for n in mine]
        covariance = covariance[np.ix_(at, at)]
        if len(mine) == 1:
            std = float(row["prior_std"]) if "prior_std" in row else float(covariance[0, 0]) ** 0.5
            single[mine[0]] = Gaussian(float(mean[at[0]]), std)
        elif mine:
            together = JointGaussian(
                tuple(mine), tuple(mean[at].tolist()), tuple(tuple(x) for x in covariance.tolist())
            )
            joint.append(together)
            single |= {name: together.marginal(name) for name in mine}
    return single, tuple(joint), tuple(others)


def _numbers(files: DefinitionFiles, where: str, row: Any) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return names, means and covariance of one entry."""
    if not isinstance(row, Mapping) or "par_names" not in row:
        raise DataError(f"{where}: expected par_names, central_value and prior_std, found {shown(row)}")
    if unknown := [k for k in row if k not in _KEYS]:
        raise LikelihoodError(f"{where}: {unknown_name('key', str(unknown[0]), _KEYS)}")
    names = [row["par_names"]] if isinstance(row["par_names"], str) else list(row["par_names"])
    if row.get("multiplicative_par"):
        raise LikelihoodError(
            f"{where}: {names[0]}: multiplicative_par, a prior on the logarithm, is not supported"
        )
    try:
        mean = np.atleast_1d(np.array(row.get("central_value", [0.0] * len(names)), dtype=np.float64))
        covariance = _covariance(files, row, len(names))
    except (TypeError, ValueError, KeyError) as error:
        raise DataError(f"{where}: {', '.join(map(str, names))}: expected numbers ({error!r})") from error
    if mean.shape != (len(names),) or covariance.shape != (len(names), len(names)):
        raise DataError(
            f"{where}: {', '.join(map(str, names))}: expected {len(names)} means and a covariance of as many rows and "
            f"columns, found shapes {mean.shape} and {covariance.shape}"
        )
    if not (np.isfinite(covariance).all() and (covariance.diagonal() > 0).all()):
        raise DataError(f"{where}: {', '.join(map(str, names))}: expected variances above zero")
    return names, mean, covariance


def _covariance(files: DefinitionFiles, row: Mapping[str, Any], n: int) -> np.ndarray:
    if "prior_std" in row:
        std = np.atleast_1d(np.array(row["prior_std"], dtype=np.float64))
        return np.diag(std**2) if std.shape == (n,) else std[:, None]
    given: str | float | Sequence[Sequence[float]] = row["prior_covariance"]
    if isinstance(given, str) and "." in given and not _is_number(given):
        return np.atleast_2d(files.table(given))
    return np.atleast_2d(np.array(given, dtype=np.float64))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
