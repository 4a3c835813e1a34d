"""Likelihoods, priors and data sets; :class:`Posterior` joins them with a theory."""

from typing import TYPE_CHECKING

from cmbfit._lazy import lazy_names

if TYPE_CHECKING:
    from cmbfit.device import pick_device
    from cmbfit.likelihood.datasets.load import dataset_names, load_likelihood
    from cmbfit.likelihood.gaussian import GaussianBandpowers
    from cmbfit.likelihood.posterior import Posterior
    from cmbfit.likelihood.priors import Gaussian, Uniform, prior_from_config
    from cmbfit.likelihood.simall import TabulatedSpectrum

__all__ = [
    "Gaussian",
    "GaussianBandpowers",
    "Posterior",
    "TabulatedSpectrum",
    "Uniform",
    "dataset_names",
    "load_likelihood",
    "pick_device",
    "prior_from_config",
]

__getattr__ = lazy_names(
    __name__,
    dict.fromkeys(("dataset_names", "load_likelihood"), "cmbfit.likelihood.datasets.load")
    | {"Posterior": "cmbfit.likelihood.posterior", "pick_device": "cmbfit.device"}
    | dict.fromkeys(("Gaussian", "Uniform", "prior_from_config"), "cmbfit.likelihood.priors")
    | {
        "GaussianBandpowers": "cmbfit.likelihood.gaussian",
        "TabulatedSpectrum": "cmbfit.likelihood.simall",
    },
)
