"""From chunks to a bundle with its measured errors: training and fine-tuning end to end."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.errors import DataError
from cmbfit.theory.emulator.accuracy import Accuracy, measure, measure_spectra
from cmbfit.theory.emulator.bundle import Emulator, load_emulator, read_arrays, write_bundle
from cmbfit.theory.emulator.finetune import FineTuneSettings, fine_tune
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.stored_correction import base_of
from cmbfit.theory.emulator.train import (
    FitSettings,
    fit_emulator,
    focus_rows,
    split_by_background,
    training_settings,
)
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.spectra import Spectra

log = logging.getLogger(__name__)


def _box(runs: TrainingSet) -> dict[str, Any]:
    try:
        design = runs.settings["design"]
        return {**design["box"], **design.get("extension", {})}
    except KeyError as error:
        raise DataError(
            "the chunks do not name the box of their design; were they made by cmbfit?"
        ) from error


def _measure(emulator: Emulator, held_out: TrainingSet) -> Accuracy:
    return measure(emulator, held_out.theta, held_out.dl, held_out.derived)


def train_bundle(
    folder: str | Path, spectra: TrainingSet, settings: FitSettings, held_out_fraction: float
) -> dict[str, Any]:
    """Train a base emulator and publish it.

    Returns
    -------
    dict
        The manifest's measured errors, over the box and (where the design has one) the focus.
    """
    training, held_out = split_by_background(spectra, held_out_fraction)
    arrays = fit_emulator(training, settings, _box(training))
    record = training_settings(training, settings)
    emulator = LinearEmulator(arrays, record)
    near = focus_rows(held_out)
    focus = _measure(emulator, held_out.select(near)) if near.any() else None
    write_bundle(folder, arrays, record, _measure(emulator, held_out.select(~near)), focus=focus)
    return _published(folder)


def finetune_bundle(
    folder: str | Path,
    base: LinearEmulator,
    runs: TrainingSet,
    settings: FineTuneSettings,
    held_out_fraction: float,
) -> dict[str, Any]:
    """Extend a base emulator by some Boltzmann runs and publish the result; returns as :func:`train_bundle`.

    All runs are learned from; the errors are those of emulators that had not seen the background, one for each part of
    `held_out_fraction` (:func:`held_out_spectra`). The correction of a shipped base is stored without it.
    """
    got = held_out_spectra(base, runs, settings, held_out_fraction)
    near = focus_rows(runs)
    accuracy, focus = (
        measure_spectra(_rows(got, rows), runs.dl[rows], runs.derived[rows]) if rows.any() else None
        for rows in (~near, near)
    )
    emulator, _ = fine_tune(base, runs, settings, _box(runs))
    emulator.settings["held_out"] = (
        "each background in turn, by emulators trained without it and its part of the others"
    )
    write_bundle(
        folder,
        emulator.base_arrays,
        emulator.settings,
        accuracy or measure_spectra(got, runs.dl, runs.derived),
        correction=emulator.correction,
        focus=focus,
        base=base_of(base.settings),
    )
    return _published(folder)


def held_out_spectra(
    base: LinearEmulator, runs: TrainingSet, settings: FineTuneSettings, fraction: float
) -> Spectra:
    """Return the spectra of all runs by emulators that have not seen their backgrounds.

    Backgrounds of box and focus are dealt, in turn, to round(1 / fraction) parts; each part is predicted from the others.
    """
    focus, part = focus_rows(runs), np.zeros(len(runs.theta), dtype=int)
    n_parts = max(2, round(1 / fraction))
    for rows in (focus, ~focus):
        part[rows] = np.unique(runs.background[rows], return_inverse=True)[1] % n_parts
    got: list[tuple[np.ndarray, Spectra]] = []
    for i in range(n_parts):
        held = np.flatnonzero(part == i)
        emulator, _ = fine_tune(base, runs.select(part != i), settings, _box(runs))
        with torch.no_grad():
            got.append((held, emulator.spectra(torch.from_numpy(runs.theta[held]))))
        log.info("part %d of %d: predicted %d runs from the others", i + 1, n_parts, len(held))
    order = torch.from_numpy(np.argsort(np.concatenate([held for held, _ in got])))
    first = got[0][1]
    return Spectra(
        {p: torch.cat([s.dl[p] for _, s in got])[order] for p in first.dl},
        {p: torch.cat([s.parameters[p] for _, s in got])[order] for p in first.parameters},
    )


def _rows(spectra: Spectra, rows: np.ndarray) -> Spectra:
    chosen = torch.from_numpy(rows)
    return Spectra(
        {p: x[chosen] for p, x in spectra.dl.items()}, {p: x[chosen] for p, x in spectra.parameters.items()}
    )


def _published(folder: str | Path) -> dict[str, Any]:
    load_emulator(folder)
    manifest, _ = read_arrays(folder)
    return dict(manifest["accuracy"])
