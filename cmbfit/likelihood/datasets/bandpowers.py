"""Gaussian data sets: cut, described, calibrated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from cmbfit.likelihood.cuts import Bandpowers, cut, cut_sky
from cmbfit.likelihood.datasets.source import Options, Source, calibration_of, data_set_info, refuse_idle
from cmbfit.likelihood.gaussian import GaussianBandpowers


def gaussian_bandpowers(
    source: Source,
    options: Options,
    bandpowers: Bandpowers,
    calibration: Mapping[str, Mapping[str, float]] | None = None,
    *,
    whole: bool,
) -> GaussianBandpowers:
    """Cut and build.

    Parameters
    ----------
    calibration : mapping, optional
        Powers that the data set's own files give.
    whole : bool
        As for :func:`~cmbfit.likelihood.cuts.cut`.
    """
    kept = cut(source.name, bandpowers, options.cuts, whole=whole)
    info = data_set_info(source, len(kept.data), options)
    info = replace(info, sky=cut_sky(info.sky, kept, options.cuts, whole=whole))
    powers = calibration_of(source, options, calibration or {})
    refuse_idle(info, powers)
    return GaussianBandpowers(info, kept.windows, kept.data, kept.covariance, powers, source.sums)
