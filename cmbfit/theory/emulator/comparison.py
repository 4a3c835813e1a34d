"""What measures best: polynomials, a network, or a network on the polynomials' residual; and how to extend them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from cmbfit.checkpoint import Checkpoint, kept_value
from cmbfit.theory.emulator.accuracy import errors_in_sigma
from cmbfit.theory.emulator.base_network import constant_emulator, train_network
from cmbfit.theory.emulator.correction import CorrectedEmulator
from cmbfit.theory.emulator.finetune import FineTuneSettings, fine_tune
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import NetworkSettings
from cmbfit.theory.emulator.train import focus_rows
from cmbfit.theory.emulator.trainingset import TrainingSet

log = logging.getLogger(__name__)

PERCENTILES = (95, 99, 100)


def held_out_errors(
    emulator: LinearEmulator | CorrectedEmulator, held: TrainingSet
) -> dict[str, list[float]]:
    """Return |delta D_l| / sigma_CV at :data:`PERCENTILES` over models and l >= 2, by pair."""
    errors = errors_in_sigma(emulator.spectra(torch.from_numpy(held.theta)), held.dl)
    return {pair: np.percentile(e[:, 2:], PERCENTILES).tolist() for pair, e in errors.items()}


def compare_models(
    base: LinearEmulator,
    training: TrainingSet,
    held: TrainingSet,
    settings: Mapping[str, NetworkSettings],
    device: torch.device | str = "cpu",
    store: Checkpoint | None = None,
) -> dict[str, Any]:
    """Measure polynomials, a network alone, and a network on their residual, on the same held-out spectra.

    Parameters
    ----------
    base : LinearEmulator
        The polynomials.
    training, held : TrainingSet
        Without a common background; the held-out errors are given apart for the design's box and focus.
    settings : mapping of str to NetworkSettings
        Of ``network`` and ``polynomial + network``.
    device : torch.device or str
        Where networks are trained.
    store : Checkpoint, optional
        Where what is known of each network is kept.

    Returns
    -------
    dict
        By model: errors in sigma_CV at :data:`PERCENTILES` by part and pair, and the networks' loss curves.
    """
    near = focus_rows(held)
    parts = {"box": held.select(~near)} | ({"focus": held.select(near)} if near.any() else {})
    starts = {
        "network": LinearEmulator(constant_emulator(base.arrays), base.settings),
        "polynomial + network": base,
    }
    found: dict[str, Any] = {
        "polynomial": {"errors": {k: held_out_errors(base, p) for k, p in parts.items()}}
    }

    def measured(name: str) -> dict[str, Any]:
        emulator, history = train_network(starts[name], training, settings[name], device)
        errors = {k: held_out_errors(emulator, p) for k, p in parts.items()}
        return {"errors": errors, "history": asdict(history)}

    for name in starts:
        found[name] = kept_value(store, name.replace(" ", "_"), partial(measured, name))
        log.info("%s: %s", name, found[name]["errors"])
    return found


def finetuning_curve(
    base: LinearEmulator,
    pool: TrainingSet,
    held: TrainingSet,
    box: dict[str, Any],
    methods: Sequence[str],
    n_backgrounds: Sequence[int],
    settings: FineTuneSettings,
    store: Checkpoint | None = None,
) -> list[dict[str, Any]]:
    """Return test errors of an extension against the number of Boltzmann runs, for each method.

    Parameters
    ----------
    base : LinearEmulator
    pool, held : TrainingSet
        Runs to learn from, the first backgrounds first; and to test on.
    box : dict of str to (low, high)
        Where the runs lie.
    methods : sequence of str
        Of :data:`~cmbfit.theory.emulator.finetune.METHODS`.
    n_backgrounds : sequence of int
        Sizes of the parts of `pool`.
    settings : FineTuneSettings
        Whose method is replaced.
    store : Checkpoint, optional
        Where the errors of each method and part are kept.
    """
    order = np.unique(pool.background)
    table = []

    def errors(part: TrainingSet, method: str) -> dict[str, list[float]]:
        emulator, _ = fine_tune(base, part, replace(settings, method=method), box)
        return held_out_errors(emulator, held)

    for n in n_backgrounds:
        part = pool.select(np.isin(pool.background, order[:n]))
        for method in methods:
            row = {"runs": len(part.theta), "backgrounds": int(n), "method": method}
            table.append({**row, "errors": kept_value(store, f"{method}_{n}", partial(errors, part, method))})
            log.info("%d runs, %s: %s", len(part.theta), method, table[-1]["errors"])
    return table
