"""Modules of earlier versions: their import says where they are now.

The last finder on Python's path of imports, so that it is asked only for modules that nobody else finds. (A package's
``__getattr__`` is not asked by ``import cmbfit.theory.featured``.)
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

MOVED = {
    "cmbfit.cli_compare": "cmbfit.cli.compare",
    "cmbfit.cli_data": "cmbfit.cli.data",
    "cmbfit.cli_early": "cmbfit.cli.hawking",
    "cmbfit.cli_emulator": "cmbfit.cli.emulator",
    "cmbfit.cli_fit": "cmbfit.cli.fit",
    "cmbfit.cli_primordial": "cmbfit.theory.primordial_spectra",
    "cmbfit.cli_provenance": "cmbfit.cli.provenance",
    "cmbfit.cli_spectra": "cmbfit.cli.spectra",
    "cmbfit.inference.checkpoint": "cmbfit.checkpoint",
    "cmbfit.inference.closed_tables": "cmbfit.inference.analytic_models",
    "cmbfit.likelihood.build": "cmbfit.fit.build",
    "cmbfit.likelihood.device": "cmbfit.device",
    "cmbfit.likelihood.featured": "cmbfit.likelihood.folded_primordial",
    "cmbfit.likelihood.leaky": "cmbfit.likelihood.bandpower_model",
    "cmbfit.likelihood.model_defaults": "cmbfit.fit.complete",
    "cmbfit.theory.birefringence_bandpowers": "cmbfit.theory.birefringence.bandpowers",
    "cmbfit.theory.birefringence_fit": "cmbfit.theory.birefringence.channels",
    "cmbfit.theory.extension": "cmbfit.theory.extrapolation",
    "cmbfit.theory.featured": "cmbfit.theory.primordial_theory",
    "cmbfit.theory.featured_exact": "cmbfit.theory.primordial_exact",
    "cmbfit.theory.select": "cmbfit.fit.build",
}
"""Old name of a module to the module that holds its contents now."""


class Finder:
    """Refuses the old names."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        """Raise :class:`ImportError` for a module that has moved."""
        del path, target
        if name in MOVED:
            raise ImportError(f"{name} has moved: import {MOVED[name]}", name=name)


def watch() -> None:
    """Put the finder at the end, once."""
    if Finder not in sys.meta_path:
        sys.meta_path.append(Finder)
