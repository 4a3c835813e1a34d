"""Linear corrections of a lensing spectrum for the CMB that its estimator assumed.

A quadratic estimator is normalised, and its N1 bias subtracted, with fiducial spectra. To first order
in the difference of the true spectra from these, the estimate responds linearly (Planck 2015 XV,
arXiv:1502.01591, appendix C; Madhavacheril et al. 2024, arXiv:2304.05203, section 5):

    model_b = W_b C^kk + sum_X M_bX (D^X - D^X_fid).
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbfit.errors import DataError
from cmbfit.fits_structure import check_structure
from cmbfit.io import reading
from cmbfit.likelihood.datasets.tables import embed, lookup, read_numbers
from cmbfit.units import dl_over_cl

# columns of candl's response files; the last one is of kk or pp, as the step says
_COLUMNS = ("TT", "TE", "EE", "BB")

Correction = tuple[dict[str, np.ndarray], np.ndarray]


def response_correction(
    files: Mapping[str, bytes], step: Mapping[str, Any], windows: np.ndarray
) -> Correction:
    """Read the responses M of candl's `ResponseFunctionM`.

    Parameters
    ----------
    windows : numpy.ndarray, shape (n_bins, lmax + 1)
        Of the lensing spectrum, for the number of bins.

    Returns
    -------
    windows : dict of str to numpy.ndarray, shape (n_bins, lmax + 1)
        Source (tt, te, ee, bb, pp) to response to our D_l.
    constant : numpy.ndarray, shape (n_bins,)
        Value of the correction at the fiducial model, to be added to the data.
    """
    n_bins = len(windows)
    folder = step["M_matrices_folder"].rstrip("/")
    tables = [read_numbers(files, f"{folder}/window_{b}.txt") for b in range(n_bins)]
    for b, table in enumerate(tables):
        if table.ndim != 2 or table.shape[1] != len(_COLUMNS) + 2 or table.shape != tables[0].shape:
            raise DataError(
                f"{folder}/window_{b}.txt: expected l and {len(_COLUMNS) + 1} columns, found {table.shape}"
            )
    ell = tables[0][:, 0].astype(int)
    out = {}
    for mode in step["Mmodes"]:
        column = _COLUMNS.index(mode) if mode in _COLUMNS else len(_COLUMNS)
        factor = np.pi / 2 if mode == "kk" else 1.0  # C^kk = pi/2 pp
        source = "pp" if mode in ("kk", "pp") else mode.lower()
        out[source] = factor * embed(np.stack([t[:, column + 1] for t in tables]), ell)
    fiducial = read_numbers(files, step["fiducial_correction_file"])
    if fiducial.shape != (n_bins,):
        raise DataError(
            f"{step['fiducial_correction_file']}: expected {n_bins} numbers, found shape {fiducial.shape}"
        )
    return out, fiducial


def norm_correction(files: Mapping[str, bytes], step: Mapping[str, Any], windows: np.ndarray) -> Correction:
    """Read the normalisation's dependence on the CMB, candl's `NormCorr`.

    -2 C^kk_fid / A_L dA_L/dC_l C_l, binned. Arguments and returns as for :func:`response_correction`.
    """

    def local(key: str) -> str:
        # the definition names files from the root of the package that ships them
        return str(step[f"template_file_{key}"]).rsplit("/", 1)[-1]

    norm, kappa = read_numbers(files, local("fAL")), read_numbers(files, local("fiducial_Cl_kk"))
    ell = np.arange(2, 2 + len(norm))
    binning = np.zeros((len(windows), len(norm)))
    width = min(len(norm), windows.shape[1] - 2)
    binning[:, :width] = windows[:, 2 : 2 + width]
    to_dl = dl_over_cl(ell)
    out = {}
    for spectrum in _COLUMNS:
        name = local(f"dAL_dC_{spectrum}")
        derivative = _image(lookup(files, name), name, len(norm))
        out[spectrum.lower()] = embed(-2 * (binning * (kappa / norm)) @ derivative / to_dl, ell)
    return out, read_numbers(files, local("fiducial_correction"))


def _image(raw: bytes, name: str, n: int) -> np.ndarray:
    from astropy.io import fits  # noqa: PLC0415  a second to import, for one data set only

    check_structure(raw, name)
    with reading(name, "a FITS image"), fits.open(io.BytesIO(raw)) as hdus:
        image = np.asarray(hdus[1].data, dtype=np.float64)
    if image.shape != (n, n):
        raise DataError(f"{name}: expected {n} x {n} numbers, found {image.shape}")
    return image
