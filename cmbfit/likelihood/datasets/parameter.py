"""A Gaussian measurement of one parameter."""

from __future__ import annotations

from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.datasets.source import Options, Source, data_set_info, refuse_idle
from cmbfit.likelihood.tau_prior import ParameterGaussian


def read(source: Source, options: Options) -> Likelihood:
    """Return the measurement of ``parameter``, ``gaussian: [mean, std]``."""
    mean, std = source.spec["gaussian"]
    info = data_set_info(source, 1, options.without_cuts(source.name))
    refuse_idle(info, ())
    return ParameterGaussian(info, source.spec["parameter"], mean, std)
