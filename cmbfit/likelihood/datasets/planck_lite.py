"""Planck's plik-lite and the two bins of low-l TT."""

from __future__ import annotations

from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.cuts import Bandpowers
from cmbfit.likelihood.datasets import planck_files
from cmbfit.likelihood.datasets.bandpowers import gaussian_bandpowers
from cmbfit.likelihood.datasets.source import Options, Source


def read_plik_lite(source: Source, options: Options) -> Likelihood:
    """Return plik-lite of the ``pairs`` that ``dataset.yaml`` names."""
    bandpowers = Bandpowers(*planck_files.plik_lite(dict(source.files), source.spec["pairs"]))
    return gaussian_bandpowers(source, options, bandpowers, whole=True)


def read_lowl_tt_bins(source: Source, options: Options) -> Likelihood:
    """Return the two bins of low-l TT."""
    bandpowers = Bandpowers(*planck_files.lowl_tt_bins(dict(source.files)))
    return gaussian_bandpowers(source, options, bandpowers, whole=True)
