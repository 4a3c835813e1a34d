"""Files of baryon acoustic oscillations: Gaussian values as Cobaya and DESI write them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbfit.errors import DataError, shown
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info
from cmbfit.likelihood.datasets.tables import lookup, read_numbers
from cmbfit.likelihood.low_redshift.bao import BaoGaussian


def read_rows(files: Mapping[str, bytes], name: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Parse rows of ``z value quantity``; a # starts a comment.

    Raises
    ------
    DataError
        If a row is another, with its number.
    """
    z, values, quantities = [], [], []
    lines = lookup(files, name).decode("utf-8", "replace").splitlines()
    for i, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            at, value, quantity = words
            z.append(float(at))
            values.append(float(value))
        except ValueError as error:
            raise DataError(
                f"{name}: line {i}: expected z, value and quantity, found {line.strip()!r}"
            ) from error
        quantities.append(quantity)
    if not z:
        raise DataError(f"{name}: expected rows of z, value and quantity, found none")
    return np.array(z), np.array(values), quantities


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of ``values`` (a file, or rows [z, value, quantity]) with ``covariance`` or ``sigma``."""
    spec, name = source.spec, source.name
    if isinstance(spec["values"], str):
        z, values, quantities = read_rows(source.files, spec["values"])
    else:
        rows = [_row(name, row) for row in spec["values"]]
        z, values = (np.array([row[i] for row in rows]) for i in (0, 1))
        quantities = [row[2] for row in rows]
    if ("covariance" in spec) == ("sigma" in spec):
        raise DataError(f"{name}: expected covariance (a file) or sigma (a list), one of them")
    if "covariance" in spec:
        covariance = np.atleast_2d(read_numbers(source.files, spec["covariance"]))
    else:
        covariance = np.diag(np.array(spec["sigma"], dtype=float) ** 2)
    info = data_set_info(source, len(z), options.without_cuts(name))
    scale = float(spec.get("horizon_scale", 1.0))
    return BaoGaussian(info, z, values, quantities, covariance, horizon_scale=scale, files=source.sums)


def _row(name: str, row: Any) -> tuple[float, float, str]:
    if not isinstance(row, list) or len(row) != 3 or not isinstance(row[2], str):
        raise DataError(f"{name}: values: expected rows [z, value, quantity], found {shown(row)}")
    return float(row[0]), float(row[1]), row[2]
