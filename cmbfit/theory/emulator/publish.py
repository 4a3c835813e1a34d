"""From chunks to a bundle with its measured errors: training and fine-tuning end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cmbfit.errors import DataError
from cmbfit.theory.emulator.accuracy import Accuracy, measure
from cmbfit.theory.emulator.bundle import Emulator, load_emulator, read_arrays, write_bundle
from cmbfit.theory.emulator.finetune import FineTuneSettings, fine_tune
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import (
    FitSettings,
    fit_emulator,
    focus_rows,
    split_by_background,
    training_settings,
)
from cmbfit.theory.emulator.trainingset import TrainingSet


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
    """Extend a base emulator by some Boltzmann runs and publish the result; returns as :func:`train_bundle`."""
    training, held_out = split_by_background(runs, held_out_fraction)
    emulator, _ = fine_tune(base, training, settings, _box(runs))
    write_bundle(
        folder,
        emulator.base_arrays,
        emulator.settings,
        _measure(emulator, held_out),
        correction=emulator.correction,
    )
    return _published(folder)


def _published(folder: str | Path) -> dict[str, Any]:
    load_emulator(folder)
    manifest, _ = read_arrays(folder)
    return dict(manifest["accuracy"])
