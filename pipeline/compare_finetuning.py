from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np

from cmbfit.checkpoint import own_checkpoint
from cmbfit.errors import BundleError
from cmbfit.figures.style import save_figure
from cmbfit.figures.training import finetuning_table, plot_finetuning
from cmbfit.io import sha256_file, write_json
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.comparison import finetuning_curve
from cmbfit.theory.emulator.finetune import METHODS, FineTuneSettings
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import split_by_background
from cmbfit.theory.emulator.trainingset import read_training_set


def compare_finetuning(
    *,
    base: Path,
    chunks: list[Path],
    held_out: float,
    code: str,
    checkpoint: Path,
    table: Path,
    output: Path,
    methods: list[str] | None = None,
) -> None:
    """Measure the methods of fine-tuning against the number of Boltzmann runs, and plot the learning curve.

    It resumes from its checkpoint.

    Parameters
    ----------
    base
        Manifest of the emulator that is extended.
    chunks
        Training set (compute_theory).
    held_out
        Fraction of backgrounds kept for the test.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints.
    table
        All numbers, JSON.
    output
        Stem of the figure: .png, .pdf and .csv are added.
    methods
        Of fine-tuning; all of them when omitted.
    """
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cmbfit").setLevel(logging.INFO)
    start = load_emulator(base.parent)
    if not isinstance(start, LinearEmulator):
        raise BundleError(f"{base} is itself corrected; start from a base emulator")
    runs = read_training_set(chunks)
    pool, held = split_by_background(runs, held_out)
    design = runs.settings["design"]
    box = {**design["box"], **design["extension"]}
    n = len(np.unique(pool.background))
    sizes = sorted({max(10, n // k) for k in (8, 4, 2, 1)})
    settings = FineTuneSettings()
    identity = {
        "emulator": sha256_file(base),
        "chunks": [sha256_file(path) for path in chunks],
        "settings": asdict(settings),
        "held_out": held_out,
        "code": code,
    }
    store = own_checkpoint(checkpoint, identity)
    curve = finetuning_curve(start, pool, held, box, methods or METHODS, sizes, settings, store)
    write_json(table, curve)
    extension = ", ".join(design["extension"])
    save_figure(plot_finetuning(curve, extension), output.with_suffix(""), finetuning_table(curve))
