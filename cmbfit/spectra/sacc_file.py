"""SACC files: loading FITS and HDF5, and telling our own products from other people's."""

from __future__ import annotations

import warnings
from pathlib import Path

import sacc

from cmbfit.errors import CmbfitError, SpectrumError
from cmbfit.fits_structure import check_structure
from cmbfit.io import reading

FORMAT = "cmbfit-spectra-1"
"""What the metadata of our own products say under "format"."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


def load_sacc(path: str | Path, kind: type[CmbfitError] = SpectrumError) -> sacc.Sacc:
    """Return a SACC file, FITS or HDF5.

    Raises
    ------
    CmbfitError
        Of the given kind, when the file is missing, damaged or no SACC file.
    """
    path = Path(path)
    with reading(path, "a SACC file", kind), path.open("rb") as f:
        is_hdf5 = f.read(len(_HDF5)) == _HDF5
    if is_hdf5 and not hasattr(sacc.Sacc, "load_hdf5"):
        raise kind(
            f"{path}: SACC as HDF5, which sacc {sacc.__version__} does not read: install a newer sacc, or save it as FITS"
        )
    if not is_hdf5:
        check_structure(path, kind=kind)
    with reading(path, "a SACC file", kind), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy's remarks on units and long keywords
        return (sacc.Sacc.load_hdf5 if is_hdf5 else sacc.Sacc.load_fits)(str(path))


def is_own(file: sacc.Sacc) -> bool:
    """Return whether cmbfit wrote a file: its windows are not all, leakage lies beside it."""
    return bool(file.metadata.get("format") == FORMAT)
