"""Log-normal bins of Planck's low-l TT and EE, in the form of planck-low-py."""

from __future__ import annotations

import numpy as np

from cmbfit.errors import DataError
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, calibration_of, data_set_info, refuse_idle
from cmbfit.likelihood.datasets.tables import read_numbers
from cmbfit.likelihood.lognormal_bins import LogNormalBins


def read(source: Source, options: Options) -> Likelihood:
    """Return the bins of a ``pair`` from the table ``bins``: lmin, lmax, mu, sigma and, of EE, a shift."""
    pair, name = source.spec["pair"], source.spec["bins"]
    table = np.atleast_2d(read_numbers(source.files, name))
    if table.shape[1] not in (4, 5):
        raise DataError(
            f"{name}: expected lmin, lmax, mu, sigma and perhaps a shift, found shape {table.shape}"
        )
    bins = np.zeros((len(table), 5))
    bins[:, : table.shape[1]] = table
    # chi2 has no meaning here: no data point is counted
    info = data_set_info(source, 0, options.without_cuts(source.name))
    powers = calibration_of(source, options, {})
    refuse_idle(info, powers)
    own = tuple((n, row[pair]) for n, row in powers.items() if row.get(pair))
    return LogNormalBins(info, pair, bins, own, source.sums)
