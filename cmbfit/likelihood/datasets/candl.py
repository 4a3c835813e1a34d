"""Data sets in candl's format."""

from __future__ import annotations

from cmbfit.likelihood.bandpower_model import pair_blocks
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.cuts import Bandpowers
from cmbfit.likelihood.datasets.bandpowers import gaussian_bandpowers
from cmbfit.likelihood.datasets.candl_format import read_candl
from cmbfit.likelihood.datasets.reference import held_correction
from cmbfit.likelihood.datasets.source import Options, Source, calibration_of, data_set_info, refuse_idle
from cmbfit.likelihood.gaussian import GaussianBandpowers


def read(source: Source, options: Options) -> Likelihood:
    """Return the likelihood of a ``definition``; ``calibration`` adds to what the definition calibrates.

    ``hold`` keeps the lensing correction of a pair at one spectrum.
    """
    got = read_candl(source.files, source.spec["definition"])
    if not (got.leakage or got.templates):
        bandpowers = Bandpowers(got.windows, got.data, got.covariance)
        return gaussian_bandpowers(source, options, bandpowers, got.calibration, whole=False)
    leakage, data = dict(got.leakage), got.data
    for pair, where in source.spec.get("hold", {}).items():
        data = data - held_correction(leakage.pop(("pp", pair)), pair, where)
    info = data_set_info(source, len(data), options.without_cuts(source.name))
    calibration = calibration_of(source, options, got.calibration)
    templates = {options.rename.get(name, name): t for name, t in got.templates.items()}
    refuse_idle(info, (*calibration, *templates))
    blocks = pair_blocks(got.windows, leakage)
    return GaussianBandpowers(info, blocks, data, got.covariance, calibration, source.sums, templates)
