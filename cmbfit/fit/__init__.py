"""One fit: what it is, how it is completed, and the posterior that it stands for. Every door goes through here."""

from typing import TYPE_CHECKING

from cmbfit._lazy import lazy_names

if TYPE_CHECKING:
    from cmbfit.fit.build import build_likelihoods, build_posterior, build_theory, load_data, start_point
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
    "load_data",
    "load_run",
    "start_point",
]

__getattr__ = lazy_names(
    __name__,
    dict.fromkeys(("Fit", "Gate", "Reference"), "cmbfit.fit.description")
    | dict.fromkeys(("Run", "load_run"), "cmbfit.fit.run")
    | dict.fromkeys(
        ("build_likelihoods", "build_posterior", "build_theory", "load_data", "start_point"),
        "cmbfit.fit.build",
    )
    | {"complete_fit": "cmbfit.fit.complete"},
)
