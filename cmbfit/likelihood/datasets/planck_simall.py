"""Planck's simulation-based low-l EE."""

from __future__ import annotations

from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.planck_files import simall_table
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info
from cmbfit.likelihood.simall import TabulatedSpectrum


def read(source: Source, options: Options) -> Likelihood:
    """Return the table; each nuisance parameter divides the model by its square."""
    spec = source.spec
    table = simall_table(source.files["prob_table.txt"], "prob_table.txt")
    info = data_set_info(source, 0, options.without_cuts(source.name))
    return TabulatedSpectrum(info, spec["pair"], spec["lmin"], spec["step"], table, source.sums)
