"""A fit's theory by the Boltzmann code itself, at points of its chain."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import camb
import numpy as np

from cmbfit.checkpoint import Checkpoint, own_folder
from cmbfit.fit.build import build_theory
from cmbfit.fit.description import Fit
from cmbfit.theory.base import Theory
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.bundle import read_arrays
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.emulator.trainingset import TrainingSet, compute_points
from cmbfit.theory.hawking.exact import with_holes
from cmbfit.theory.hawking.response import EvaporationTheory
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.primordial_exact import compute_primordial
from cmbfit.theory.primordial_theory import PrimordialTheory


class ExactTheory:
    """What computes exact spectra of a fit's points, with the settings that its emulator was trained with.

    Parameters
    ----------
    fit : Fit
    code : str
        Hash of the code; part of a checkpoint's identity.
    """

    def __init__(self, fit: Fit, code: str) -> None:
        self._fit, self._code = fit, code
        manifest, _ = read_arrays(bundle_folder(fit.theory["emulator"]))
        trained = json.loads(json.dumps(manifest["settings"]["trained_on"]["camb"]))
        trained.pop("version")
        self.settings = CambSettings(**trained)

    @cached_property
    def theory(self) -> Theory:
        """The fit's own theory, whose parameters the points have."""
        return build_theory(self._fit)

    def identity(self, theta: np.ndarray) -> dict[str, Any]:
        """Return what decides the spectra of some points."""
        return {
            "theta": hashlib.sha256(np.ascontiguousarray(theta).tobytes()).hexdigest(),
            "theory": self.theory.settings,
            "camb": {"version": camb.__version__, **asdict(self.settings)},
            "code": self._code,
        }

    def spectra(
        self,
        theta: np.ndarray,  # shape: (n, n_parameters)
        checkpoint: Path,
        log: Callable[[str], None] = print,
    ) -> TrainingSet:
        """Compute the spectra of some points; resumes from a folder of checkpoints."""
        identity = self.identity(theta)
        store = Checkpoint(own_folder(checkpoint, identity), identity)
        theory = self.theory
        if isinstance(theory, PrimordialTheory):
            return compute_primordial(theory, theta, self.settings, log=log, store=store)
        if isinstance(theory, EvaporationTheory):
            points = compute_points(theta[:, : len(LCDM)], self.settings, log, store)
            return with_holes(points, theory, theta)
        return compute_points(theta, self.settings, log, store)
