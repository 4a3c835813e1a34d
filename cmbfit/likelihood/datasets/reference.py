"""The published number that a data set checks itself against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from cmbfit import data
from cmbfit.errors import DataError, LikelihoodError
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.catalog import description
from cmbfit.likelihood.datasets.tables import read_numbers
from cmbfit.theory.spectra import Spectra


def read_reference_spectrum(name: str, columns: Sequence[str] | None) -> Spectra:
    """Read a registered file of spectra whose columns the data set names.

    Parameters
    ----------
    name : str
        Of the registry.
    columns : sequence of str, optional
        ``ell`` and pairs; ``kk`` is turned into pp, ``-`` is passed over. ell tt te ee when omitted.

    Returns
    -------
    Spectra
        A batch of one.

    Raises
    ------
    DataError
        If the file has another number of columns or does not start at l = 2.
    """
    columns = columns or ("ell", "tt", "te", "ee")
    table = np.atleast_2d(read_numbers({name: data.read_bytes(name)}, name))
    if table.shape[1] != len(columns) or table[0, 0] != 2:
        raise DataError(
            f"{name}: expected columns {' '.join(columns)} from l = 2, found {table.shape[1]} columns from "
            f"l = {table[0, 0]:g}"
        )
    dl = {}
    for i, column in enumerate(columns):
        if column not in ("ell", "-"):
            values = table[:, i] * (2 / np.pi if column == "kk" else 1.0)
            dl["pp" if column == "kk" else column] = torch.from_numpy(np.concatenate([[0.0, 0.0], values]))[
                None
            ]
    return Spectra(dl)


def reference_dl(pair: str, where: Mapping[str, Any]) -> np.ndarray:  # shape: (lmax + 1,)
    """Return the spectrum of a pair, D_l [uK^2] from l = 0, of a registered file: ``spectrum`` and ``columns``."""
    return read_reference_spectrum(where["spectrum"], where.get("columns")).dl[pair][0].numpy()


def check_reference(like: Likelihood, reference: Mapping[str, Any]) -> float | None:
    """Compare a data set with its published number.

    Parameters
    ----------
    like : Likelihood
        The whole data set, not cut.
    reference : mapping
        ``spectrum`` (registered file), ``columns``, ``nuisance``, ``log_like``, ``tolerance`` (1e-7 if
        not given: rounding of double sums in two codes); may be empty.

    Returns
    -------
    float or None
        ln L minus the published one; None if the data set has no such number.

    Raises
    ------
    LikelihoodError
        If they differ by more than the tolerance.
    """
    if not reference:
        return None
    spectra = read_reference_spectrum(reference["spectrum"], reference.get("columns"))
    nuisance = {k: torch.tensor([float(v)], dtype=torch.float64) for k, v in reference["nuisance"].items()}
    got = float(like.log_prob(spectra, nuisance))
    difference = got - float(reference["log_like"])
    if not abs(difference) < float(reference.get("tolerance", 1e-7)):
        raise LikelihoodError(
            f"{like.info.name}: self-check failed: ln L = {got!r} at {reference['spectrum']}, published is "
            f"{reference['log_like']!r}. Its files were verified, so the code or a library has changed; do not use it"
        )
    return difference


def reference_of(name: str) -> dict[str, Any]:
    """Return the published number a data set checks itself against: spectrum, nuisance, log_like."""
    return dict(description(name).get("reference", {}))


def self_check(name: str) -> float | None:
    """Compare a data set with its published number; see :func:`check_reference`."""
    from cmbfit.likelihood.datasets.load import load_likelihood  # noqa: PLC0415 (whose readers need this module)

    return check_reference(load_likelihood(name), reference_of(name))
