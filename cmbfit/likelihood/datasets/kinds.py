"""What each kind of ``dataset.yaml`` is read by; a reader is imported when a data set asks for it."""

from __future__ import annotations

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood.datasets.source import Reader
from cmbfit.registry import Registry

KINDS: Registry[Reader] = Registry(
    "kind of data set",
    "cmbfit.dataset_kinds",
    {
        "plik_lite": "cmbfit.likelihood.datasets.planck_lite:read_plik_lite",
        "lowl_tt_bins": "cmbfit.likelihood.datasets.planck_lite:read_lowl_tt_bins",
        "lognormal_bins": "cmbfit.likelihood.datasets.planck_lognormal:read",
        "simall": "cmbfit.likelihood.datasets.planck_simall:read",
        "candl": "cmbfit.likelihood.datasets.candl:read",
        "planck_lensing": "cmbfit.likelihood.datasets.planck_lensing:read",
        "parameter": "cmbfit.likelihood.datasets.parameter:read",
        "bao": "cmbfit.likelihood.datasets.bao:read",
        "bao_tables": "cmbfit.likelihood.datasets.bao_tables:read",
        "supernovae": "cmbfit.likelihood.datasets.supernovae:read",
        "bicep": "cmbfit.likelihood.datasets.bicep:read",
        "aps_lensing": "cmbfit.likelihood.datasets.aps_lensing:read",
        "lollipop": "cmbfit.likelihood.datasets.lollipop:read",
        "elica": "cmbfit.likelihood.datasets.elica:read",
        "mock": "cmbfit.likelihood.datasets.mock:read",
        "wmap7_pixels": "cmbfit.likelihood.pixel.datasets:read_wmap7_pixels",
        "wmap9_lowl": "cmbfit.likelihood.pixel.datasets:read_wmap9_polarisation",
    },
    attribute="read",
    error=LikelihoodError,
)
"""Kind to a function of (:class:`~cmbfit.likelihood.datasets.source.Source`, Options) that returns the likelihood."""
