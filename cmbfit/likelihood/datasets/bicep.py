"""BICEP/Keck B-mode data sets in CosmoMC's form: bandpowers of several maps, dust and synchrotron.

BICEP2/Keck and Planck Collaborations 2015, PRL 114, 101301 (arXiv:1502.00612), section III.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from cmbfit.errors import DataError
from cmbfit.likelihood.archive import folder_of_archive
from cmbfit.likelihood.base import DataSetInfo, Likelihood
from cmbfit.likelihood.datasets.cosmomc import CosmoMCFile, read_cosmomc, read_spectra_table, sub_covariance
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info
from cmbfit.likelihood.datasets.tables import read_numbers
from cmbfit.likelihood.foregrounds import Bandpass, DustAndSynchrotron
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis


def _windows(files: Mapping[str, bytes], file: CosmoMCFile, bins: list[int]) -> np.ndarray:
    """Return windows on D_l from l = 0, shape (n_elements, n_bins, lmax + 1)."""
    order = file.value("bin_window_in_order").split()
    lmin, lmax = int(file.value("cl_lmin")), int(file.value("cl_lmax"))
    columns = file.columns(order)
    out = np.zeros((len(columns), len(bins), lmax + 1))
    for b, number in enumerate(bins):
        name = file.value("bin_window_files").replace("%u", str(number))
        table = read_numbers(files, name)
        if table.ndim != 2 or table.shape[1] != len(order) + 1:
            raise DataError(f"{name}: expected l and {len(order)} windows, found shape {table.shape}")
        ell = table[:, 0].astype(int)
        if wrong := np.flatnonzero(np.diff(ell) != 1).tolist():
            raise DataError(
                f"{name}: row {wrong[0] + 2}: expected l = {ell[wrong[0]] + 1}, found {ell[wrong[0] + 1]}"
            )
        inside = (ell >= lmin) & (ell <= lmax)
        if ell[0] > lmin or ell[-1] < lmax:
            raise DataError(f"{name}: windows of l = {ell[0]}-{ell[-1]} miss some of l = {lmin}-{lmax}")
        out[:, b, ell[inside]] = table[inside][:, 1:][:, columns].T
    return out


def read_bicep(
    info: DataSetInfo,
    files: Mapping[str, bytes],
    spec: Mapping[str, Any],
    sums: Mapping[str, str] | None = None,
) -> HamimecheLewis:
    """Build the likelihood of a B-mode data set.

    Parameters
    ----------
    info : DataSetInfo
        Its nuisance parameters are the foreground parameters that vary.
    spec : mapping
        ``definition`` (the ``.dataset`` file), ``maps``, ``bins`` (first and last, from 1), ``fixed``
        (foreground parameters that do not vary, with their values).

    Raises
    ------
    DataError
        If a file is missing or malformed.
    LikelihoodError
        For an unknown map.
    """
    file = read_cosmomc(files, spec["definition"], spec["maps"])
    first, last = spec["bins"]
    bins = list(range(first, last + 1))
    n_bins = int(file.value("nbins"))
    if not 1 <= first <= last <= n_bins:
        raise DataError(f"{file.name}: bins {first}-{last}: it has 1-{n_bins}")
    index = [b - 1 for b in bins]
    hat, noise, fiducial = (
        read_spectra_table(files, file, stem)[index] for stem in ("cl_hat", "cl_noise", "cl_fiducial")
    )
    # the likelihood adds the noise to both
    hat = hat - noise if file.flag("cl_hat_includes_noise") else hat
    fiducial = fiducial - noise if file.flag("cl_fiducial_includes_noise") else fiducial
    order = file.value("covmat_cl").split()
    name = file.value("covmat_fiducial")
    covariance = sub_covariance(
        read_numbers(files, name), name, n_bins, index, file.columns(order), len(order)
    )
    bandpasses = []
    for used in file.maps:
        band = file.value(f"bandpass[{used}]")
        table = read_numbers(files, band)
        if table.ndim != 2 or table.shape[1] != 2:
            raise DataError(f"{band}: expected frequency [GHz] and response, found shape {table.shape}")
        bandpasses.append(Bandpass(table[:, 0], table[:, 1]))
    windows = _windows(files, file, bins)
    foregrounds = DustAndSynchrotron(
        file.fields,
        bandpasses,
        windows,
        pivot_dust=float(file.value("fpivot_dust", "353")),
        pivot_synchrotron=float(file.value("fpivot_sync", "23")),
        fixed={k: float(v) for k, v in spec["fixed"].items() if k not in info.nuisance},
    )
    return HamimecheLewis(
        info, file.fields, windows, hat, fiducial, noise, covariance, files=sums, foregrounds=foregrounds
    )


def read(source: Source, options: Options) -> Likelihood:
    """Return a B-mode data set, released as files or as an ``archive`` with a ``folder``."""
    info = data_set_info(source, source.spec["n_data"], options.without_cuts(source.name))
    files, spec = source.files, source.spec
    if "archive" in spec:
        files = folder_of_archive(files[spec["archive"]], spec["archive"], spec["folder"])
    return read_bicep(info, files, spec, source.sums)
