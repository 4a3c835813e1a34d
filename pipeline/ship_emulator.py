from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmbfit.io import copy_file, write_json
from cmbfit.likelihood import load_likelihood
from cmbfit.theory.emulator.accuracy import spectra_of
from cmbfit.theory.emulator.bundle import Emulator, load_emulator, read_arrays
from cmbfit.theory.emulator.correction import CorrectedEmulator
from cmbfit.theory.emulator.finetune import FineTuneSettings
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import NetworkSettings
from cmbfit.theory.emulator.publish import held_out_spectra
from cmbfit.theory.emulator.train import focus_rows, split_by_background
from cmbfit.theory.emulator.trainingset import TrainingSet, read_training_set
from cmbfit.theory.spectra import Spectra


def ship_emulator(
    *,
    emulator: Path,
    chunks: list[Path],
    held_out: float,
    data: list[str],
    output: Path,
    cpu_seconds: float | None = None,
) -> None:
    """Put a trained emulator into the package, with what its errors do to chi2 over box and focus on record.

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
    cpu_seconds
        What the Boltzmann runs cost (benchmarks/compute_theory, compute_extension).
    """
    theory, (manifest, _) = load_emulator(emulator), read_arrays(emulator)
    # a correction learns anew what its base has of unlensed spectra
    unlensed = isinstance(theory, CorrectedEmulator) and "unlensed" in theory.base_arrays.blocks
    runs = read_training_set(chunks, unlensed=unlensed)
    manifest["accuracy"]["chi2"] = {}
    if data:
        held, guess = _held_out(theory, runs, held_out)
        manifest["accuracy"]["chi2"] = {name: _chi2_error(name, guess, held) for name in data}
    if cpu_seconds is not None:
        manifest["settings"]["cpu_seconds"] = cpu_seconds
    copy_file(Path(emulator) / "arrays.safetensors", Path(output) / "arrays.safetensors")
    write_json(Path(output) / "manifest.json", manifest)
    load_emulator(output)
    print(manifest["accuracy"]["chi2"])


def _held_out(emulator: Emulator, runs: TrainingSet, fraction: float) -> tuple[TrainingSet, Spectra]:
    """Return runs and their spectra by an emulator that has not seen them: all in turn for a correction."""
    if not isinstance(emulator, CorrectedEmulator):
        _, held = split_by_background(runs, fraction)
        return held, emulator.spectra(torch.from_numpy(held.theta))
    fields: dict[str, Any] = dict(emulator.settings["fine_tuning"])
    network, weights = NetworkSettings(**fields.pop("network")), tuple(fields.pop("weights"))
    settings = FineTuneSettings(**fields, weights=weights, network=network)
    return runs, held_out_spectra(_base(emulator), runs, settings, fraction)


def _base(emulator: CorrectedEmulator) -> LinearEmulator:
    """Return the emulator that a correction was made for, as it was loaded then."""
    return LinearEmulator(emulator.base_arrays, emulator.settings["trained_on"]["base"])


def _chi2_error(name: str, spectra: Spectra, held_out: TrainingSet) -> dict[str, float]:
    """Percentiles of |delta chi2| over the held-out points, and the size of chi2 itself there.

    Over the focus also about the mean, since a constant drops out of a fit.
    """
    like, one = load_likelihood(name), torch.ones(len(held_out.theta), dtype=torch.float64)
    nuisance = dict.fromkeys(like.info.nuisance, one)
    truth, guess = (-2 * like.log_prob(x, nuisance) for x in (spectra_of(held_out), spectra))
    # where a likelihood is zero (low-l EE beyond the end of its table) there is no difference to speak of
    possible = torch.isfinite(truth) & torch.isfinite(guess)
    truth, error = truth[possible], (guess - truth)[possible].numpy()
    p50, p95, p100 = np.percentile(np.abs(error), [50, 95, 100])
    out = {
        "median": float(p50),
        "p95": float(p95),
        "max": float(p100),
        "median_chi2": float(truth.median()),
    }
    near = focus_rows(held_out)[possible.numpy()]
    if near.any():
        about = np.abs(error[near] - error[near].mean())
        out["focus_p95_about_mean"] = float(np.percentile(about, 95))
        out["focus_mean"] = float(error[near].mean())
    return out
