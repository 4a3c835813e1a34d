from __future__ import annotations

import logging
from pathlib import Path

from cmbfit.checkpoint import discard
from cmbfit.io import read_json
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.design import Design
from cmbfit.theory.emulator.publish import train_bundle
from cmbfit.theory.emulator.train import fit_settings
from cmbfit.theory.emulator.trainingset import read_training_set, require_design


def train_emulator(
    *,
    chunks: list[Path],
    held_out: float,
    output: Path,
    fit: Path | None = None,
    search: Path | None = None,
    design: Path | None = None,
    camb: Path | None = None,
    checkpoints: list[Path] | None = None,
) -> None:
    """Train the emulator from the chunks of Boltzmann spectra and measure it on held-out backgrounds.

    Parameters
    ----------
    chunks
        Training set (compute_theory).
    held_out
        Fraction of backgrounds kept for the test.
    output
        Where the bundle's manifest goes; its arrays beside it.
    fit
        JSON: fields of FitSettings.
    search
        Product of search_emulator: its choice instead of --fit.
    design
        JSON: fields of Design: which training set this must be.
    camb
        JSON: fields of CambSettings, likewise.
    checkpoints
        Folders of the chunks' checkpoints, which have served when the emulator is there.
    """
    section = read_json(fit) if fit else {}
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    settings = fit_settings(read_json(search)["chosen"] if search else section)
    runs = read_training_set(chunks, unlensed=settings.unlensed_components > 0)
    if design and camb:
        require_design(runs, chunks[0], Design(**read_json(design)), CambSettings(**read_json(camb)))
    accuracy = train_bundle(output.parent, runs, settings, held_out)
    for where, part in (("box", accuracy), ("focus", accuracy.get("focus"))):
        for pair, (p68, p95, p99, worst) in (part["overall"] if part else {}).items():
            print(f"{where} {pair}: 68% {p68:.4f}, 95% {p95:.4f}, 99% {p99:.4f}, max {worst:.3f} sigma_CV")
    discard(*checkpoints or [])
