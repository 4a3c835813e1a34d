"""ELiCA: low-l EE from cross-spectra of Planck HFI 100 and 143 GHz and of WMAP + LFI.

Genesini, Galloni, Pagano, Campeti & Lattanzi 2026 (arXiv:2603.22454): the Hamimeche-Lewis form with
offsets and both signs of eigenvalues (Mangilli et al. 2015, arXiv:1503.01347), a covariance of 500
simulations with Sellentin & Heavens' t-distribution, and only some spectra of the matrix in the vector.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from cmbfit.likelihood.base import DataSetInfo, Likelihood
from cmbfit.likelihood.datasets.cosmomc import read_cosmomc, read_spectra_table, sub_covariance
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info
from cmbfit.likelihood.datasets.tables import read_numbers
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis


def read_elica(
    info: DataSetInfo, files: Mapping[str, bytes], definition: str, sums: Mapping[str, str] | None = None
) -> HamimecheLewis:
    """Build one of ELiCA's likelihoods.

    Parameters
    ----------
    files : mapping of str to bytes
        The package's ``data`` folder.
    definition : str
        ``elica.dataset``, ``cross.dataset``, ``full.dataset``, ``EE_100x143.dataset``, ...

    Raises
    ------
    DataError
        If a file is missing or malformed.
    """
    file = read_cosmomc(files, definition)
    lmin, lmax = int(file.value("cl_lmin")), int(file.value("cl_lmax"))
    hat, noise, fiducial, offset = (
        read_spectra_table(files, file, stem) for stem in ("cl_hat", "cl_noise", "cl_fiducial", "offset")
    )
    n_bins, n_elements = lmax - lmin + 1, len(file.elements)
    name = file.value("covmat_fiducial")
    order = file.value("covmat_cl").split()
    used = [i for i, element in enumerate(file.elements) if element in order]
    columns = [order.index(file.elements[i]) for i in used]
    covariance = sub_covariance(read_numbers(files, name), name, n_bins, range(n_bins), columns, len(order))
    windows = np.zeros((n_elements, n_bins, lmax + 1))
    windows[:, np.arange(n_bins), np.arange(lmin, lmax + 1)] = 1.0
    return HamimecheLewis(
        info,
        file.fields,
        windows,
        hat - noise,  # the class adds the offset, here noise and offset, to all three
        fiducial,
        noise + offset,
        covariance,
        files=sums,
        elements=used,
        signed=True,
        n_simulations=int(file.value("number_simulations")),
    )


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of a ``definition`` of the package."""
    info = data_set_info(source, 0, options.without_cuts(source.name))
    return read_elica(info, source.files, source.spec["definition"], source.sums)
