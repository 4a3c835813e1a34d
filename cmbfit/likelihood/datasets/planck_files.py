"""Readers of the Planck 2018 likelihood files in the form that planck-lite-py and Cobaya publish."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from cmbfit.errors import DataError

# plik-lite's bins: 215 of them per pair in the files, of which TE and EE use the first 199
N_BINS = {"tt": 215, "te": 199, "ee": 199}
LMIN = 30  # offset 0 of blmin/blmax and of the weights
LMAX = 2508


def read_table(raw: bytes, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Parse a text table and insist on its shape; -1 leaves an axis free."""
    try:
        table = np.loadtxt(io.BytesIO(raw), ndmin=1 if len(shape) == 1 else 2)
    except ValueError as error:
        raise DataError(f"{name}: expected a table of numbers ({error})") from error
    if table.ndim != len(shape) or any(
        want not in (-1, got) for want, got in zip(shape, table.shape, strict=True)
    ):
        raise DataError(f"{name}: expected shape {shape}, found {table.shape}")
    return table


def read_triangle(raw: bytes, name: str, n: int) -> np.ndarray:
    """Read plik-lite's covariance: one Fortran record of n x n doubles that holds one triangle.

    Returns
    -------
    numpy.ndarray, shape (n, n)
        The symmetric matrix.
    """
    size = 8 * n * n
    if len(raw) != size + 8 or int.from_bytes(raw[:4], "little") != size:
        raise DataError(
            f"{name}: expected one Fortran record of {n}x{n} doubles, {size + 8} bytes; found {len(raw)}"
        )
    triangle = np.frombuffer(raw[4:-4], dtype="<f8").reshape(n, n)
    upper, lower = np.triu(triangle, 1), np.tril(triangle, -1)
    if upper.any() and lower.any():
        raise DataError(f"{name}: expected one triangle, found both")
    half = upper if upper.any() else lower
    return np.diag(np.diag(triangle)) + half + half.T


def binned_windows(
    first: np.ndarray, last: np.ndarray, weights: np.ndarray, lmin: int, lmax: int
) -> np.ndarray:
    """Return windows on D_l from Planck's bins, whose weights act on C_l.

    Parameters
    ----------
    first, last : numpy.ndarray, shape (n_bins,)
        Offsets from `lmin`, both included.
    weights : numpy.ndarray
        Weight of C_l at each offset.
    lmin, lmax : int

    Returns
    -------
    numpy.ndarray, shape (n_bins, lmax + 1)
        Rows act on D_l [uK^2] from l = 0.
    """
    windows = np.zeros((len(first), lmax + 1))
    for row, (a, b) in enumerate(zip(first.astype(int), last.astype(int), strict=True)):
        ell = np.arange(lmin + a, lmin + b + 1)
        windows[row, ell] = weights[a : b + 1] * 2 * np.pi / (ell * (ell + 1.0))
    return windows


def plik_lite(
    files: dict[str, bytes], pairs: Sequence[str]
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return windows by pair, data vector [uK^2 in C_l] and covariance of plik-lite."""
    n = sum(N_BINS.values())
    first = read_table(files["blmin.dat"], "blmin.dat", (-1,))
    last = read_table(files["blmax.dat"], "blmax.dat", (-1,))
    weights = read_table(files["bweight.dat"], "bweight.dat", (-1,))
    data = read_table(files["cl_cmb_plik_v22.dat"], "cl_cmb_plik_v22.dat", (n, 3))[:, 1]
    covariance = read_triangle(files["c_matrix_plik_v22.dat"], "c_matrix_plik_v22.dat", n)
    windows: dict[str, np.ndarray] = {}
    keep: list[int] = []
    start = 0
    for pair, count in N_BINS.items():
        if pair in pairs:
            # the same bins serve the three pairs, TE and EE stop earlier
            windows[pair] = binned_windows(first[:count], last[:count], weights, LMIN, LMAX)
            keep += range(start, start + count)
        start += count
    return windows, data[keep], covariance[np.ix_(keep, keep)]


def lowl_tt_bins(files: dict[str, bytes]) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return windows, data and covariance of the two low-l TT bins."""
    first = read_table(files["blmin_low_ell.dat"], "blmin_low_ell.dat", (2,))
    last = read_table(files["blmax_low_ell.dat"], "blmax_low_ell.dat", (2,))
    weights = read_table(files["bweight_low_ell.dat"], "bweight_low_ell.dat", (28,))
    bins = read_table(files["CTT_bin_low_ell_2018.dat"], "CTT_bin_low_ell_2018.dat", (2, 3))
    windows = {"tt": binned_windows(first, last, weights, 2, 29)}
    return windows, bins[:, 1].copy(), np.diag(bins[:, 2] ** 2)


def simall_table(raw: bytes, name: str) -> np.ndarray:
    """Return the table of ln P, shape (3000, 28): rows D_l in steps of 1e-4 uK^2, columns l = 2-29."""
    return read_table(raw, name, (3000, 28))
