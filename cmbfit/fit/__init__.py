"""One fit: what it is, how it is completed, and the posterior that it stands for. Every door goes through here."""

from cmbfit.fit.build import build_likelihoods, build_posterior, build_theory, start_point
from cmbfit.fit.complete import complete_fit
from cmbfit.fit.description import Fit, Gate, Reference
from cmbfit.fit.run import Run, load_run

__all__ = [
    "Fit",
    "Gate",
    "Reference",
    "Run",
    "build_likelihoods",
    "build_posterior",
    "build_theory",
    "complete_fit",
    "load_run",
    "start_point",
]
