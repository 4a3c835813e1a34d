from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from cmbfit.io import copy_file, write_json
from cmbfit.likelihood import load_likelihood
from cmbfit.theory.base import Theory
from cmbfit.theory.emulator.accuracy import spectra_of
from cmbfit.theory.emulator.bundle import load_emulator, read_arrays
from cmbfit.theory.emulator.train import split_by_background
from cmbfit.theory.emulator.trainingset import TrainingSet, read_training_set


def ship_emulator(
    *, emulator: Path, chunks: list[Path], held_out: float, data: list[str], output: Path
) -> None:
    """Put a trained emulator into the package, with what its errors do to chi2 over the box on record.

    Not a rule: a likelihood in the training rule's code would train the emulator again at each edit of it.

    Parameters
    ----------
    emulator
        Folder of the trained bundle.
    chunks
        Training set (compute_theory).
    held_out
        As in training.
    data
        Data sets whose chi2 error is recorded.
    output
        Folder in the package.
    """
    theory, (manifest, _) = load_emulator(emulator), read_arrays(emulator)
    _, held = split_by_background(read_training_set(chunks, unlensed=False), held_out)
    manifest["accuracy"]["chi2"] = {name: _chi2_error(name, theory, held) for name in data}
    copy_file(Path(emulator) / "arrays.safetensors", Path(output) / "arrays.safetensors")
    write_json(Path(output) / "manifest.json", manifest)
    load_emulator(output)
    print(manifest["accuracy"]["chi2"])


def _chi2_error(name: str, emulator: Theory, held_out: TrainingSet) -> dict[str, float]:
    """Percentiles of |delta chi2| over the held-out points, and the size of chi2 itself there."""
    like, one = load_likelihood(name), torch.ones(len(held_out.theta), dtype=torch.float64)
    nuisance = dict.fromkeys(like.info.nuisance, one)
    truth = -2 * like.log_prob(spectra_of(held_out), nuisance)
    guess = -2 * like.log_prob(emulator.spectra(torch.from_numpy(held_out.theta)), nuisance)
    p50, p95, p100 = np.percentile((guess - truth).abs().numpy(), [50, 95, 100])
    return {
        "median": float(p50),
        "p95": float(p95),
        "max": float(p100),
        "median_chi2": float(truth.median()),
    }
