"""Modules of earlier versions: importing one says where its contents are now."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

MOVED = {
    "cmbfit.cli_compare": "cmbfit.cli.compare",
    "cmbfit.cli_data": "cmbfit.cli.data",
    "cmbfit.cli_early": "cmbfit.cli.early",
    "cmbfit.cli_emulator": "cmbfit.cli.emulator",
    "cmbfit.cli_fit": "cmbfit.cli.fit",
    "cmbfit.cli_primordial": "cmbfit.theory.primordial_spectra",
    "cmbfit.cli_provenance": "cmbfit.cli.provenance",
    "cmbfit.cli_spectra": "cmbfit.cli.spectra",
    "cmbfit.inference.closed_tables": "cmbfit.inference.analytic_models",
    "cmbfit.likelihood.build": "cmbfit.fit",
    "cmbfit.likelihood.featured": "cmbfit.likelihood.folded_primordial",
    "cmbfit.likelihood.leaky": "cmbfit.likelihood.gaussian",
    "cmbfit.likelihood.model_defaults": "cmbfit.fit",
    "cmbfit.report.models": "cmbfit.inference.model_text",
    "cmbfit.theory.birefringence_bandpowers": "cmbfit.theory.birefringence.bandpowers",
    "cmbfit.theory.birefringence_fit": "cmbfit.theory.birefringence.channels",
    "cmbfit.theory.extension": "cmbfit.theory.extrapolation",
    "cmbfit.theory.featured": "cmbfit.theory.primordial_theory",
    "cmbfit.theory.featured_exact": "cmbfit.theory.primordial_exact",
    "cmbfit.theory.select": "cmbfit.fit",
}
"""Old name to new; a name that is still a module is never looked up here."""


class _Signpost:
    """The last of Python's finders: it is asked only for what none of the others has."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name in MOVED:
            raise ImportError(f"{name} has moved: import {MOVED[name]}", name=name)


def put_up_signpost() -> None:
    """Make imports of :data:`MOVED` raise ImportError with the new name."""
    if _Signpost not in sys.meta_path:
        sys.meta_path.append(_Signpost)  # type: ignore[arg-type]  # (a class serves as well as an instance)
