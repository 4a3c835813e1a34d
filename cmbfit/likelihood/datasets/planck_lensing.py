"""Planck 2018 lensing in the form that Cobaya and CosmoMC publish.

Planck Collaboration VIII 2020, A&A 641, A8 (arXiv:1807.06210), section 2.3 and eqs. 9-11: bandpowers
of [L(L+1)]^2 C_L^phiphi / 2pi, and the linear response of normalisation and N1 bias to the spectra
that were assumed:

    model_b = W_b pp + sum_X M_bX D^X - fiducial_b,   X = TT, EE, TE, PP.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cmbfit.errors import DataError
from cmbfit.likelihood.bandpower_model import pair_blocks
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, calibration_of, data_set_info, refuse_idle
from cmbfit.likelihood.datasets.tables import embed, read_numbers
from cmbfit.likelihood.gaussian import GaussianBandpowers

_SOURCES = ("tt", "ee", "te", "pp")  # columns of the response files, after l


@dataclass(frozen=True)
class LensingData:
    """Windows on pp, responses (pp, source), data with the fiducial correction added, covariance."""

    windows: dict[str, np.ndarray]
    leakage: dict[tuple[str, str], np.ndarray]
    data: np.ndarray
    covariance: np.ndarray


def _columns(
    files: Mapping[str, bytes], name: str, n_columns: int, *, zeros_left_out: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Return l and the other columns, shape (n_columns, n), of a window file."""
    table = read_numbers(files, name)
    if table.ndim != 2 or table.shape[1] != n_columns + 1 or not len(table):
        raise DataError(f"{name}: expected l and {n_columns} columns, found shape {table.shape}")
    ell = table[:, 0].astype(int)
    step = np.diff(ell)
    if wrong := np.flatnonzero(step < 1 if zeros_left_out else step != 1).tolist():
        raise DataError(
            f"{name}: row {wrong[0] + 2}: expected l {'>' if zeros_left_out else '='} "
            f"{ell[wrong[0]] + (not zeros_left_out)}, found {ell[wrong[0] + 1]}"
        )
    return ell, table[:, 1:].T


def planck_lensing(files: Mapping[str, bytes], n_bins: int, *, with_cmb: bool) -> LensingData:
    """Read a Planck lensing data set.

    Parameters
    ----------
    files : mapping of str to bytes
        ``bandpowers.dat``, ``cov.dat``, ``lensing_fiducial_correction.dat``, ``window/window<b>.dat``,
        ``lens_delta_window/window<b>.dat``.
    n_bins : int
    with_cmb : bool
        The responses include the CMB's; without, they are of PP alone (the CMB is marginalised in the
        covariance).

    Raises
    ------
    DataError
        If a file is missing or has another shape.
    """
    bandpowers = read_numbers(files, "bandpowers.dat")
    covariance = read_numbers(files, "cov.dat")
    fiducial = read_numbers(files, "lensing_fiducial_correction.dat")
    for name, table, shape in (
        ("bandpowers.dat", bandpowers, (n_bins, 7)),
        ("cov.dat", covariance, (n_bins, n_bins)),
        ("lensing_fiducial_correction.dat", fiducial, (n_bins, 2)),
    ):
        if table.shape != shape:
            raise DataError(f"{name}: expected shape {shape}, found {table.shape}")
    sources = _SOURCES if with_cmb else ("pp",)
    own = [_columns(files, f"window/window{b + 1}.dat", 1) for b in range(n_bins)]
    lmax = max(int(ell[-1]) for ell, _ in own)
    windows = np.zeros((n_bins, lmax + 1))
    for row, (ell, weight) in zip(windows, own, strict=True):
        row[ell] = weight[0]
    # PR4 leaves rows of zeros out
    responses = [
        _columns(files, f"lens_delta_window/window{b + 1}.dat", len(sources), zeros_left_out=True)
        for b in range(n_bins)
    ]
    full = np.zeros((len(sources), n_bins, max(int(ell[-1]) for ell, _ in responses) + 1))
    for b, (ell, columns) in enumerate(responses):
        full[:, b, ell] = columns
    leakage = {
        ("pp", source): embed(x, np.arange(x.shape[1])) for source, x in zip(sources, full, strict=True)
    }
    return LensingData({"pp": windows}, leakage, bandpowers[:, 4] + fiducial[:, 1], covariance)


def read(source: Source, options: Options) -> Likelihood:
    """Return the lensing likelihood, with or without the CMB's corrections (``with_cmb``)."""
    spec = source.spec
    got = planck_lensing(source.files, spec["n_bins"], with_cmb=spec["with_cmb"])
    info = data_set_info(source, len(got.data), options.without_cuts(source.name))
    calibration = calibration_of(source, options, {})
    refuse_idle(info, calibration)
    blocks = pair_blocks(got.windows, got.leakage)
    return GaussianBandpowers(info, blocks, got.data, got.covariance, calibration, source.sums)
