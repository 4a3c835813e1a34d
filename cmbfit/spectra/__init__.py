"""Power spectra of masked maps: spin-2 MASTER on ducc0, bandpower windows, Gaussian covariance, SACC."""

from cmbfit.spectra.binning import Bins
from cmbfit.spectra.checks import check_bandpowers
from cmbfit.spectra.estimate import Estimate, cross_spectra
from cmbfit.spectra.master import Master, Transfer, prepare
from cmbfit.spectra.product import Bandpowers, read_spectra, write_spectra
from cmbfit.spectra.transforms import SPECTRA

__all__ = [
    "SPECTRA",
    "Bandpowers",
    "Bins",
    "Estimate",
    "Master",
    "Transfer",
    "check_bandpowers",
    "cross_spectra",
    "prepare",
    "read_spectra",
    "write_spectra",
]
