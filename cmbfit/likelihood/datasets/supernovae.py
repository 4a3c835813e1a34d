"""Files of supernovae: a table whose columns have names, and the covariance of its magnitudes in one of four forms."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from cmbfit.errors import DataError, LikelihoodError, unknown_name
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info
from cmbfit.likelihood.datasets.tables import lookup, read_numbers
from cmbfit.likelihood.low_redshift.supernovae import Supernovae, check_magnitude_names


def read_columns(files: Mapping[str, bytes], name: str, wanted: Mapping[str, str]) -> dict[str, list[str]]:
    """Return columns of a text table by what they are.

    Its first line, or the one that begins with ``VARNAMES:`` (SNANA), names the columns; commas or blanks separate.

    Parameters
    ----------
    wanted : mapping of str to str
        What a column is to its name in the file.

    Raises
    ------
    DataError
        If a column is not there, or a row has another length.
    """
    lines = [x.strip() for x in lookup(files, name).decode("utf-8", "replace").splitlines() if x.strip()]
    snana = next((i for i, x in enumerate(lines) if x.startswith("VARNAMES:")), None)
    head, rows = (
        (lines[snana], [x for x in lines[snana:] if x.startswith("SN:")])
        if snana is not None
        else ((lines[0].lstrip("# "), [x for x in lines[1:] if not x.startswith("#")]) if lines else ("", []))
    )
    separator = "," if "," in head else None
    columns = [x.strip() for x in head.split(separator)]
    at = {}
    for what, column in wanted.items():
        if column not in columns:
            raise DataError(f"{name}: {what}: {unknown_name('column', column, columns)}")
        at[what] = columns.index(column)
    out: dict[str, list[str]] = {what: [] for what in wanted}
    for i, row in enumerate(rows, 1):
        words = [x.strip() for x in row.split(separator)]
        # Union3's rows lack the last of the columns that their header names
        if not max(at.values()) < len(words) <= len(columns):
            raise DataError(f"{name}: row {i}: expected {len(columns)} values, found {len(words)}")
        for what, j in at.items():
            out[what].append(words[j])
    if not rows:
        raise DataError(f"{name}: expected a row for each supernova, found none")
    return out


def numbers(name: str, what: str, words: list[str]) -> np.ndarray:
    """Return a column as numbers."""
    try:
        return np.array(words, dtype=float)
    except ValueError as error:
        raise DataError(f"{name}: {what}: expected numbers ({error})") from error


def read_covariance(files: Mapping[str, bytes], name: str) -> tuple[np.ndarray, list[str]]:
    """Return a covariance and the objects that its file names, none if it names none.

    Text: the matrix, or its length and then all of its elements; a first line that begins with # may name the objects.
    npz: ``nsn`` and, under ``cov``, the upper triangle of the *inverse* (DES).

    Raises
    ------
    DataError
        If it is neither.
    """
    raw = lookup(files, name)
    if name.endswith(".npz"):
        return _inverse_of_triangle(raw, name), []
    first = raw[: raw.find(b"\n")].decode("utf-8", "replace")
    names = first.lstrip("# ").split() if first.startswith("#") else []
    flat = read_numbers(files, name).ravel()
    n = int(np.sqrt(flat.size))
    if flat.size == n * n + 1 and flat[0] == n:
        flat = flat[1:]
    if flat.size != n * n:
        raise DataError(f"{name}: expected n x n numbers, or n and n x n numbers, found {flat.size}")
    return flat.reshape(n, n), names


def _inverse_of_triangle(raw: bytes, name: str) -> np.ndarray:
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
            n, triangle = int(archive["nsn"][0]), archive["cov"].astype(float)
    except (ValueError, KeyError, IndexError, OSError, zipfile.BadZipFile) as error:
        raise DataError(f"{name}: expected an npz with nsn and cov ({error})") from error
    if triangle.size != n * (n + 1) // 2:
        raise DataError(
            f"{name}: expected {n * (n + 1) // 2} elements of the triangle of {n}, found {triangle.size}"
        )
    precision = np.zeros((n, n))
    precision[np.triu_indices(n)] = triangle
    precision = precision + np.triu(precision, 1).T
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(precision))
    except np.linalg.LinAlgError as error:
        raise LikelihoodError(f"{name}: the inverse covariance is not positive definite") from error
    return inverse.T @ inverse


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of a ``table``, its ``columns`` and a ``covariance``.

    ``columns``: z, z_hel, magnitude, and where they are wanted name (compared with the covariance's) and error (added to
    its diagonal in quadrature). ``above``: the redshift below which supernovae are left out.
    """
    spec, name = source.spec, source.name
    wanted = spec["columns"]
    if missing := [x for x in ("z", "z_hel", "magnitude") if x not in wanted]:
        raise DataError(f"{name}: columns: expected z, z_hel and magnitude, found no {missing[0]}")
    if unknown := [x for x in wanted if x not in ("z", "z_hel", "magnitude", "name", "error")]:
        raise DataError(
            f"{name}: columns: {unknown_name('column', unknown[0], ('z', 'z_hel', 'magnitude', 'name', 'error'))}"
        )
    table = read_columns(source.files, spec["table"], wanted)
    values = {what: numbers(spec["table"], what, x) for what, x in table.items() if what != "name"}
    covariance, objects = read_covariance(source.files, spec["covariance"])
    n = len(values["z"])
    if covariance.shape != (n, n):
        raise LikelihoodError(
            f"{name}: the covariance {spec['covariance']} is of {len(covariance)} supernovae, the table {spec['table']} of {n}"
        )
    if objects:
        if "name" not in table:
            raise DataError(
                f"{name}: the covariance names its objects: say which column of the table is their name"
            )
        check_magnitude_names(name, table["name"], objects)
    if "error" in values:
        covariance = covariance + np.diag(values["error"] ** 2)
    keep = values["z"] > float(spec.get("above", -np.inf))
    if not keep.any():
        raise LikelihoodError(f"{name}: above: no supernova is left")
    info = data_set_info(source, int(keep.sum()), options.without_cuts(name))
    offsets = list(info.nuisance)
    if len(offsets) > 1:
        raise LikelihoodError(f"{name}: expected one absolute magnitude, found {', '.join(offsets)}")
    z, z_hel, magnitudes = (values[what][keep] for what in ("z", "z_hel", "magnitude"))
    offset = offsets[0] if offsets else None
    return Supernovae(info, z, z_hel, magnitudes, covariance[np.ix_(keep, keep)], offset, source.sums)
