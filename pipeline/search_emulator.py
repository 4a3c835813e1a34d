from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from cmbfit.checkpoint import own_checkpoint
from cmbfit.io import read_json, sha256_file, write_json
from cmbfit.theory.emulator.search import learning_curve, power_law, search
from cmbfit.theory.emulator.train import fit_settings, held_out_rows, prepare, split_by_background
from cmbfit.theory.emulator.trainingset import read_training_set


def search_emulator(
    *,
    chunks: list[Path],
    candidates: Path,
    held_out: float,
    code: str,
    checkpoint: Path,
    output: Path,
    fit: Path | None = None,
) -> None:
    """Choose the emulator's polynomials on validation backgrounds, and measure the learning curve.

    It resumes from its checkpoint.

    Parameters
    ----------
    chunks
        Training set (compute_theory).
    candidates
        JSON: list of degree, weights.
    held_out
        As in training; never looked at.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints.
    output
        Where the record goes (JSON).
    fit
        JSON: fields of FitSettings.
    """
    section = read_json(fit) if fit else {}
    table = read_json(candidates)
    settings = fit_settings(section)
    identity = {
        "chunks": [sha256_file(path) for path in chunks],
        "candidates": table,
        "fit": asdict(settings),
        "held_out": held_out,
        "code": code,
    }
    store = own_checkpoint(checkpoint, identity)
    runs = read_training_set(chunks, unlensed=settings.unlensed_components > 0)
    box = runs.settings["design"]["box"]
    training, _ = split_by_background(runs, held_out)
    del runs  # gigabytes
    prepared = prepare(training, settings, training.dl.shape[2] - 1)
    held = held_out_rows(training, held_out)
    learned, validation = prepared.select(~held), prepared.select(held)
    chosen, table = search(learned, validation, settings, table, box, store)
    curve = learning_curve(learned, validation, chosen, box, store=store)
    laws = {
        source: dict(zip(("exponent", "spectra_to_halve"), power_law(curve, source), strict=True))
        for source in curve[0]["errors"]
    }
    record = {"chosen": asdict(chosen), "candidates": table, "learning_curve": curve, "power_law": laws}
    write_json(output, record)
    print(json.dumps(asdict(chosen)))
