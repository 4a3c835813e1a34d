"""Likelihoods, priors and data sets; :class:`Posterior` joins them with a theory."""

from cmbfit.likelihood.datasets import dataset_names, load_likelihood
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.posterior import Posterior, pick_device
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
