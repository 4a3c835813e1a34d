"""A fit's theory by the Boltzmann code itself, at points of its chain."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import camb
import numpy as np

from cmbfit.checkpoint import own_checkpoint, require_made_of
from cmbfit.errors import DataError
from cmbfit.fit.build import build_theory
from cmbfit.fit.description import Fit
from cmbfit.inference.products import Samples
from cmbfit.inference.sequential import chosen_rows, in_order
from cmbfit.theory.base import Theory
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.bundle import read_arrays
from cmbfit.theory.emulator.manifest import bundle_folder
from cmbfit.theory.emulator.trainingset import TrainingSet, compute_points, read_training_set
from cmbfit.theory.hawking.exact import with_holes
from cmbfit.theory.hawking.response import EvaporationTheory
from cmbfit.theory.parameters import LCDM
from cmbfit.theory.primordial_exact import compute_primordial
from cmbfit.theory.primordial_theory import PrimordialTheory


def settings_of(fit: Fit) -> CambSettings:
    """Return what exact spectra of a fit are computed with: as its emulator's were."""
    manifest, _ = read_arrays(bundle_folder(fit.theory["emulator"]))
    trained = dict(manifest["settings"]["trained_on"]["camb"])
    trained.pop("version")
    return CambSettings(**trained)


def read_exact(
    parts: Sequence[Path],
    samples: Samples,
    fit: Fit,
    parameters: Sequence[str],
    draws: int,
    seed: list[int],
    first: int | None = None,
) -> tuple[TrainingSet, np.ndarray]:
    """Read exact spectra part by part; return them and the rows of the chain that they are of.

    Parameters
    ----------
    parts, samples, fit, parameters, draws, seed
    first : int, optional
        Points that are cut into parts, where a last file goes on after them; by default all are.

    Raises
    ------
    DataError, ResumeError
        If they are of other points than this chain's, or made with other settings: an orphan of a killed driver may
        publish its own, of an earlier configuration, over those that were made since.
    """
    computed = read_training_set(parts)
    n, n_parts = len(computed.theta), len(parts) - (first is not None)
    order = np.concatenate(
        [in_order(n if first is None else first, n_parts), np.arange(n if first is None else first, n)]
    )
    chosen = chosen_rows(samples, draws, seed)
    rows = chosen[order] if n and order.max() < len(chosen) and len(order) == n else chosen[:0]
    columns = [samples.names.index(name) for name in parameters]
    if not np.array_equal(computed.theta, samples.joined[rows][:, columns]):
        raise DataError(f"{parts[0]}: exact spectra of other points than this chain's; compute them again")
    camb_settings = {"version": camb.__version__, **asdict(settings_of(fit))}
    require_made_of(parts[0], computed.settings, {"camb": camb_settings})
    return computed, rows


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
        self.settings = settings_of(fit)

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
        store = own_checkpoint(checkpoint, identity)
        theory = self.theory
        if isinstance(theory, PrimordialTheory):
            return compute_primordial(theory, theta, self.settings, log=log, store=store)
        if isinstance(theory, EvaporationTheory):
            points = compute_points(theta[:, : len(LCDM)], self.settings, log, store)
            return with_holes(points, theory, theta)
        return compute_points(theta, self.settings, log, store, tuple(theory.parameters))
