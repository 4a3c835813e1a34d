"""Reader of candl-format data sets: a YAML definition and text files (Balkenhol et al. 2024, arXiv:2401.13433).

What is read here are foreground-marginalised ("lite") sets of one effective frequency: bandpowers,
covariance, windows and a data model made of aberration and calibration. A data model with any other
step is refused by name.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml

from cmbfit.errors import DataError, LikelihoodError


@dataclass(frozen=True)
class CandlData:
    """Numbers of a candl-format data set.

    Attributes
    ----------
    windows : dict of str to numpy.ndarray, shape (n_bins, lmax + 1)
        On D_l [uK^2] from l = 0; aberration is folded in.
    data : numpy.ndarray, shape (n,)
    covariance : numpy.ndarray, shape (n, n)
    calibration : dict
        Nuisance name to pair to power, as :class:`~cmbfit.likelihood.gaussian.GaussianBandpowers` wants.
    """

    windows: dict[str, np.ndarray]
    data: np.ndarray
    covariance: np.ndarray
    calibration: dict[str, dict[str, float]]


def _table(files: Mapping[str, bytes], name: str) -> np.ndarray:
    if name not in files:
        raise DataError(f"{name}: named by the data set's definition, but not among its files")
    try:
        return np.loadtxt(io.BytesIO(files[name]))
    except ValueError as error:
        raise DataError(f"{name}: expected a table of numbers ({error})") from error


def aberration_matrix(lmax: int, coefficient: float) -> np.ndarray:
    """Return the matrix that adds aberration to D_l given from l = 2 to `lmax`.

    C_l -> C_l - coefficient l dC_l/dl (Jeong et al. 2014, PRD 89, 023003, eq. 23), with central
    differences, one-sided at the ends, as candl computes it.

    Parameters
    ----------
    lmax : int
    coefficient : float
        beta <cos theta> of the survey's patch.

    Returns
    -------
    numpy.ndarray, shape (lmax - 1, lmax - 1)
    """
    ell = np.arange(2, lmax + 1.0)
    to_dl = ell * (ell + 1) / (2 * np.pi)
    derivative = np.gradient(np.eye(len(ell)), axis=0)
    return np.eye(len(ell)) - coefficient * (to_dl * ell)[:, None] * derivative / to_dl


def _windows(table: np.ndarray, name: str, n_bins: int, coefficient: float) -> np.ndarray:
    ell = table[:, 0]
    if table.shape[1] != n_bins + 1 or not np.array_equal(ell, np.arange(2, 2 + len(ell))):
        raise DataError(
            f"{name}: expected l from 2 and {n_bins} columns of windows, found shape {table.shape}"
        )
    windows = table[:, 1:].T
    if coefficient:
        windows = windows @ aberration_matrix(int(ell[-1]), coefficient)
    used = int(np.flatnonzero(np.abs(windows).max(0))[-1]) + 1  # zeros beyond ask no theory for those l
    return np.pad(windows[:, :used], ((0, 0), (2, 0)))


def _calibration(step: Mapping[str, Any], spectra: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """Powers of one calibration step; `spectra` maps candl's names to pairs."""
    match step["Module"]:
        case "common.CalibrationSingleScalarSquared":
            return {step["cal_param"]: dict.fromkeys(spectra.values(), -2.0)}
        case "common.PolarisationCalibrationDivision":
            return {step["cal_param"]: {p: -float(p.count("e")) for p in spectra.values() if "e" in p}}
        case "common.CalibrationCross":
            # the model is divided by the mean of (c1 c2, c3 c4), here equal products of two factors
            powers: dict[str, dict[str, float]] = {}
            for spectrum, (a, b, c, d) in step["spec_param_dict"].items():
                if {a, b} != {c, d}:
                    raise LikelihoodError(
                        f"{spectrum}: calibration with {a}, {b}, {c}, {d} is not a simple product"
                    )
                for name in (a, b):
                    row = powers.setdefault(name, {})
                    row[spectra[spectrum]] = row.get(spectra[spectrum], 0.0) - 1.0
            return powers
        case other:
            raise LikelihoodError(f"the data model step {other!r} is not supported")


def read_candl(files: Mapping[str, bytes], definition: str) -> CandlData:
    """Read a data set.

    Parameters
    ----------
    files : mapping of str to bytes
        All files by their path relative to the definition.
    definition : str
        Name of the YAML file.

    Raises
    ------
    DataError
        If a file is missing or malformed.
    LikelihoodError
        If the data model has a step that is not supported.
    """
    try:
        spec = yaml.safe_load(files[definition])
        spectra = {name: int(n) for row in spec["spectra_info"] for name, n in row.items()}
        folder, model = spec["window_functions_folder"], spec.get("data_model", [])
        data_file, covariance_file = spec["band_power_file"], spec["covariance_file"]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{definition}: not a candl data set definition ({error!r})") from error
    pairs = {name: name.split()[0].lower() for name in spectra}
    if len(set(pairs.values())) != len(pairs):
        raise LikelihoodError(
            f"{definition}: several spectra of one pair (several frequencies) are not supported"
        )
    coefficient, calibration = 0.0, dict[str, dict[str, float]]()
    for step in model:
        if step["Module"] == "common.AberrationCorrection":
            # it acts on the CMB, before calibration; multiplying factors commute with it
            coefficient = float(step["aberration_coefficient"])
        else:
            for name, powers in _calibration(step, pairs).items():
                calibration.setdefault(name, {}).update(powers)
    windows = {}
    for name, n_bins in spectra.items():
        file = f"{folder.rstrip('/')}/{name.replace(' ', '_')}_window_functions.txt"
        windows[pairs[name]] = _windows(_table(files, file), file, n_bins, coefficient)
    return CandlData(windows, _table(files, data_file), _table(files, covariance_file), calibration)
