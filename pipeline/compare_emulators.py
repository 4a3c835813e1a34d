from __future__ import annotations

import logging
from dataclasses import asdict, replace
from pathlib import Path

import torch

from cmbfit.checkpoint import own_checkpoint
from cmbfit.errors import BundleError
from cmbfit.io import read_json, sha256_file, write_json
from cmbfit.theory.emulator.base_network import constant_emulator, tune_network
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.comparison import compare_models
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import NetworkSettings
from cmbfit.theory.emulator.train import split_by_background
from cmbfit.theory.emulator.trainingset import read_training_set


def compare_emulators(
    *,
    emulator: Path,
    chunks: list[Path],
    held_out: float,
    network: Path,
    code: str,
    checkpoint: Path,
    output: Path,
) -> None:
    """Train networks beside the polynomials, alone and on their residual, and measure all three on held-out spectra.

    It resumes from its checkpoint.

    Parameters
    ----------
    emulator
        Manifest of the emulator's bundle.
    chunks
        Training set (compute_theory).
    held_out
        As in training.
    network
        JSON: fields of NetworkSettings, and trials and trial_steps of the search.
    code
        Hash of the code; part of the checkpoint's identity.
    checkpoint
        Folder of the checkpoints.
    output
        Where the record goes (JSON).
    """
    spec = read_json(network)
    logging.basicConfig(format="%(message)s")
    logging.getLogger("cmbfit").setLevel(logging.INFO)
    base = load_emulator(emulator.parent)
    if not isinstance(base, LinearEmulator):
        raise BundleError(f"{emulator} is itself corrected; compare a base emulator")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    identity = {
        "emulator": sha256_file(emulator),
        "chunks": [sha256_file(path) for path in chunks],
        "network": dict(spec),
        "held_out": held_out,
        "device": device,
        "code": code,
    }
    store = own_checkpoint(checkpoint, identity)
    runs = read_training_set(chunks, unlensed="unlensed" in base.blocks)
    training, held = split_by_background(runs, held_out)
    del runs  # gigabytes
    trials, trial_steps = spec.pop("trials"), spec.pop("trial_steps")
    settings = NetworkSettings(**spec)
    starts = {
        "network": LinearEmulator(constant_emulator(base.arrays), base.settings),
        "polynomial + network": base,
    }
    chosen, searches = {}, {}
    for name, start in starts.items():
        short = replace(settings, steps=trial_steps)
        piece = name.replace(" ", "_")
        best, searches[name] = tune_network(start, training, short, trials, device, store, piece)
        chosen[name] = replace(best, steps=settings.steps)
    models = compare_models(base, training, held, chosen, device, store)
    record = {"models": models, "chosen": {k: asdict(x) for k, x in chosen.items()}, "trials": searches}
    write_json(output, {**record, "n_training": len(training.theta), "n_held_out": len(held.theta)})
