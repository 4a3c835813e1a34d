from __future__ import annotations

from pathlib import Path

from cmbfit.checkpoint import discard
from cmbfit.errors import BundleError
from cmbfit.io import read_json
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.design import Design
from cmbfit.theory.emulator.finetune import FineTuneSettings
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.publish import finetune_bundle
from cmbfit.theory.emulator.trainingset import read_training_set, require_design


def finetune_emulator(
    *,
    base: Path,
    chunks: list[Path],
    held_out: float,
    output: Path,
    design: Path | None = None,
    camb: Path | None = None,
    checkpoints: list[Path] | None = None,
) -> None:
    """Extend the trained emulator by the Boltzmann runs of an extension and measure it on held-out backgrounds.

    Parameters
    ----------
    base
        Manifest of the emulator that is extended.
    chunks
        Training set (compute_theory).
    held_out
        Fraction of backgrounds kept for the test.
    output
        Where the bundle's manifest goes; its arrays beside it.
    design
        JSON: fields of Design: which training set this must be.
    camb
        JSON: fields of CambSettings, likewise.
    checkpoints
        Folders of the chunks' checkpoints, which have served when the emulator is there.
    """
    start = load_emulator(base.parent)
    if not isinstance(start, LinearEmulator):
        raise BundleError(f"{base} is itself corrected; start from a base emulator")
    runs = read_training_set(chunks)
    if design and camb:
        require_design(runs, chunks[0], Design(**read_json(design)), CambSettings(**read_json(camb)))
    accuracy = finetune_bundle(output.parent, start, runs, FineTuneSettings(), held_out)
    for pair, (p68, p95, p99, worst) in accuracy["overall"].items():
        print(f"{pair}: 68% {p68:.4f}, 95% {p95:.4f}, 99% {p99:.4f}, max {worst:.3f} sigma_CV")
    discard(*checkpoints or [])
