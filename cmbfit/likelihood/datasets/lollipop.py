"""LoLLiPoP: low-l EE from cross-spectra of Planck PR4's detector splits.

Tristram et al. 2021, A&A 647, A128 (arXiv:2010.01139) and Tristram et al. 2024, A&A 682, A37 (arXiv:2309.10034): the Hamimeche-Lewis
form with offsets and both signs (Mangilli et al. 2015, arXiv:1503.01347), a covariance of simulations with Sellentin & Heavens'
t-distribution.
"""

from __future__ import annotations

import io
from collections.abc import Mapping

import numpy as np
from astropy.io import fits

from cmbfit.errors import DataError
from cmbfit.likelihood.archive import folder_of_archive
from cmbfit.likelihood.base import DataSetInfo, Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info, refuse_idle
from cmbfit.likelihood.datasets.tables import lookup, read_numbers
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis
from cmbfit.units import dl_over_cl

_ROUNDS = 10  # of the offsets, as in the published code


def offsets(
    ell: np.ndarray, variance: np.ndarray, fiducial: np.ndarray, fsky: float
) -> np.ndarray:  # shape: (n_ell,)
    """Return what keeps cross-spectra positive: the noise N of an auto-spectrum of that variance, times sqrt(l + 1/2).

    Var = 2 / ((2l + 1) fsky) (C^2 + 2 N C) + N^2 with the fiducial C, in as many rounds as the published code takes.
    """
    modes = 2 / ((2 * ell + 1) * fsky)
    noise = np.sqrt(np.abs(variance - modes * fiducial**2))
    for _ in range(_ROUNDS):
        noise = np.sqrt(np.abs(variance - modes * (fiducial**2 + 2 * noise * fiducial)))
    return noise * np.sqrt((2 * ell + 1) / 2)


def read_lollipop(
    info: DataSetInfo,
    files: Mapping[str, bytes],
    spec: Mapping[str, object],
    sums: Mapping[str, str] | None = None,
) -> HamimecheLewis:
    """Build the likelihood of EE.

    Parameters
    ----------
    files : mapping of str to bytes
        The tables of C_l [uK^2] (l, EE, BB, EB) of ``data`` and ``fiducial``, and the covariance of EE, BB, EB from l = 2 (FITS).
    spec : mapping
        ``data``, ``fiducial``, ``covariance`` (names), ``lmin``, ``lmax``, ``fsky``, ``n_simulations``.

    Raises
    ------
    DataError
        If a file is missing or malformed.
    """
    lmin, lmax = int(str(spec["lmin"])), int(str(spec["lmax"]))
    ell = np.arange(lmin, lmax + 1)
    data, fiducial = (_spectrum(files, str(spec[name]), ell) for name in ("data", "fiducial"))
    name = str(spec["covariance"])
    try:
        matrix = np.array(fits.getdata(io.BytesIO(lookup(files, name))), dtype=np.float64)
    except (OSError, TypeError, ValueError) as error:
        raise DataError(f"{name}: expected a FITS image ({error})") from error
    n = len(matrix) // 3
    if matrix.ndim != 2 or matrix.shape != (3 * n, 3 * n) or n < lmax - 1 or not np.isfinite(matrix).all():
        raise DataError(
            f"{name}: expected the finite covariance of EE, BB and EB from l = 2 to at least {lmax}, found shape {matrix.shape}"
        )
    covariance = matrix[lmin - 2 : lmax - 1, lmin - 2 : lmax - 1]
    offset = offsets(ell, np.diag(covariance), fiducial, float(str(spec["fsky"])))
    scale = dl_over_cl(ell)
    windows = np.zeros((1, len(ell), lmax + 1))
    windows[0, np.arange(len(ell)), ell] = 1.0

    def matrices(cl: np.ndarray) -> np.ndarray:
        return (scale * cl)[:, None, None]

    return HamimecheLewis(
        info,
        ("e",),
        windows,
        matrices(data),
        matrices(fiducial),
        matrices(offset),
        covariance * np.outer(scale, scale),
        files=sums,
        signed=True,
        n_simulations=int(str(spec["n_simulations"])),
    )


def _spectrum(files: Mapping[str, bytes], name: str, ell: np.ndarray) -> np.ndarray:
    table = read_numbers(files, name)
    if table.ndim != 2 or table.shape[1] < 2:
        raise DataError(f"{name}: expected l and C_l of EE, BB, EB, found shape {table.shape}")
    found = {int(row[0]): row[1] for row in table}
    if lacking := [int(x) for x in ell if int(x) not in found]:
        raise DataError(f"{name}: l = {lacking[0]} is missing")
    return np.array([found[int(x)] for x in ell])


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of the released ``archive``, whose files lie in its ``folder``."""
    spec = source.spec
    info = data_set_info(source, 0, options.without_cuts(source.name))
    refuse_idle(info, ())
    files = folder_of_archive(source.files[spec["archive"]], spec["archive"], spec["folder"])
    return read_lollipop(info, files, spec, source.sums)
