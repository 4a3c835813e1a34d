"""Power spectra of masked maps: spin-2 MASTER on ducc0, windows, covariance, null tests, SACC.

Two maps under one mask: :func:`cross_spectra`. Any list of fields, masks and splits:
:class:`Field`, :func:`make_plan`, :func:`estimate_bandpowers`, :func:`multi_covariance`,
:func:`combine`, :func:`write_combined`.
"""

from cmbfit.spectra.binning import Bins
from cmbfit.spectra.checks import check_bandpowers
from cmbfit.spectra.combination import combine
from cmbfit.spectra.covariance import multi_covariance
from cmbfit.spectra.estimate import Estimate, cross_spectra
from cmbfit.spectra.fields import Field, Noise, noise_from_hits
from cmbfit.spectra.master import Master, Transfer, prepare
from cmbfit.spectra.multi import Entry, Plan, estimate_bandpowers, field_alms, make_plan, noise_from_splits
from cmbfit.spectra.product import Bandpowers, read_spectra, write_combined, write_spectra
from cmbfit.spectra.simulated_covariance import SimulatedCovariance
from cmbfit.spectra.templates import Templates, deproject, monopole_dipole
from cmbfit.spectra.transforms import SPECTRA

__all__ = [
    "SPECTRA",
    "Bandpowers",
    "Bins",
    "Entry",
    "Estimate",
    "Field",
    "Master",
    "Noise",
    "Plan",
    "SimulatedCovariance",
    "Templates",
    "Transfer",
    "check_bandpowers",
    "combine",
    "cross_spectra",
    "deproject",
    "estimate_bandpowers",
    "field_alms",
    "make_plan",
    "monopole_dipole",
    "multi_covariance",
    "noise_from_hits",
    "noise_from_splits",
    "prepare",
    "read_spectra",
    "write_combined",
    "write_spectra",
]
