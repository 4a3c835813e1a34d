"""CMB-only bandpowers as files: a candl data set, whose calibrations are left to vary, and SACC, which has none."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sacc
import yaml

from cmbfit.folders import atomic_folder
from cmbfit.io import atomic_path, provenance, write_json, write_text
from cmbfit.likelihood.lite import Lite
from cmbfit.likelihood.lite_nuisance import CALIBRATIONS

_TYPES = {"tt": "cl_00", "te": "cl_0e", "ee": "cl_ee"}
FILES = ("bandpowers.txt", "covariance.txt", "calibration_covariance.txt", "record.json", "windows")
"""What lies in the folder beside ``NAME.yaml`` and ``NAME.sacc.fits``."""


def write_lite(
    folder: str | Path, lite: Lite, name: str, title: str, settings: Mapping[str, Any] | None = None
) -> None:
    """Publish a folder whole: ``NAME.yaml`` and the files of a candl data set, ``NAME.sacc.fits``, ``record.json``.

    Parameters
    ----------
    name : str
        Of the data set and its files.
    title : str
        One line.
    settings : mapping, optional
        JSON-able facts of how it was made, for the record.
    """
    ours = {*FILES, f"{name}.yaml", f"{name}.sacc.fits"}
    with atomic_folder(folder, lambda file: file in ours) as tmp:
        _text(tmp / "bandpowers.txt", lite.data[:, None])
        _text(tmp / "covariance.txt", lite.covariance)
        if lite.calibrations:
            _text(tmp / "calibration_covariance.txt", lite.calibration_covariance)
        for pair, window in lite.windows.items():
            ell = np.arange(2, window.shape[1])
            # candl's name of a spectrum of no single frequency
            file = tmp / "windows" / f"{pair.upper()}_lxl_window_functions.txt"
            _text(file, np.column_stack([ell, window[:, 2:].T]), "%.12g")
        write_text(tmp / f"{name}.yaml", yaml.safe_dump(_definition(lite, title), sort_keys=False))
        _write_sacc(tmp / f"{name}.sacc.fits", lite, title)
        left = {k: {"mean": v, "std": e} for k, (v, e) in lite.nuisance.items()}
        write_json(tmp / "record.json", provenance(settings=settings, marginalised=left))


def _text(path: Path, table: np.ndarray, form: str = "%.17g") -> None:
    buffer = io.BytesIO()
    np.savetxt(buffer, table, fmt=form)
    path.parent.mkdir(exist_ok=True)
    write_text(path, buffer.getvalue().decode())


def _definition(lite: Lite, title: str) -> dict[str, Any]:
    """Return candl's definition."""
    model, priors = [], []
    legs = {
        f"{pair.upper()} lxl": [
            c for c in lite.calibrations for _ in range(int(CALIBRATIONS[c].get(pair, 0)))
        ]
        for pair in lite.windows
    }
    if lite.calibrations:
        model = [{"Module": "common.CalibrationAuto", "spec_param_dict": legs}]
        priors = [
            {
                "par_names": list(lite.calibrations),
                "central_value": [1.0] * len(lite.calibrations),
                "prior_covariance": "calibration_covariance.txt",
            }
        ]
    return {
        "name": title,
        "likelihood_form": "gaussian",
        "band_power_file": "bandpowers.txt",
        "covariance_file": "covariance.txt",
        "window_functions_folder": "windows/",
        "spectra_info": [{f"{p.upper()} lxl": len(w)} for p, w in lite.windows.items()],
        "data_model": model,
        "priors": priors,
    }


def calibrated_covariance(lite: Lite) -> np.ndarray:  # shape: (n, n)
    """Return the covariance with the calibrations marginalised too, to first order around the fiducial model."""
    response = np.array(
        [[-CALIBRATIONS[c].get(p, 0.0) for c in lite.calibrations] for p in lite.pairs]
    ).reshape(len(lite.pairs), len(lite.calibrations))
    response *= lite.fiducial[:, None]
    return lite.covariance + response @ lite.calibration_covariance @ response.T


def _write_sacc(path: Path, lite: Lite, title: str) -> None:
    out = sacc.Sacc()
    ell = np.arange(max(w.shape[1] for w in lite.windows.values()))
    for letter, quantity, spin in (("T", "cmb_temperature", 0), ("E", "cmb_polarization", 2)):
        if any(letter.lower() in pair for pair in lite.windows):
            out.add_tracer(
                "Map",
                f"cmb_{letter}",
                quantity=quantity,
                spin=spin,
                ell=ell,
                beam=np.ones(ell.size),
                map_unit="uK_CMB",
            )
    start = 0
    for pair, window in lite.windows.items():
        rows = slice(start, start + len(window))
        start = rows.stop
        middle = window @ np.arange(window.shape[1]) / window.sum(axis=1)
        out.add_ell_cl(
            _TYPES[pair],
            *(f"cmb_{x.upper()}" for x in pair),
            middle,
            lite.data[rows],
            window=sacc.BandpowerWindow(np.arange(window.shape[1]), window.T),
        )
    out.add_covariance(calibrated_covariance(lite))
    out.metadata["title"] = title[:60]  # a FITS card is short
    out.metadata["units"] = "D_l = l(l+1)C_l/2pi in uK_CMB^2"
    with atomic_path(path) as tmp:  # SACC takes only names
        out.save_fits(str(tmp), overwrite=True)
