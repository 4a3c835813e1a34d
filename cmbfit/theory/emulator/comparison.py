"""What measures best: polynomials, a network, or a network on the polynomials' residual; and how to extend them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from cmbfit.theory.emulator.accuracy import errors_in_sigma
from cmbfit.theory.emulator.arrays import Block, EmulatorArrays
from cmbfit.theory.emulator.correction import CorrectedEmulator, Correction
from cmbfit.theory.emulator.finetune import FineTuneSettings, Problem, fine_tune, residual_problem
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import History, Mlp, NetworkSettings, minimise
from cmbfit.theory.emulator.trainingset import TrainingSet

log = logging.getLogger(__name__)

PERCENTILES = (95, 99, 100)


def constant_emulator(arrays: EmulatorArrays) -> EmulatorArrays:
    """Return the emulator without its polynomials: the constant terms alone, for a network to start from."""
    keep = (arrays.degrees == 0).all(1)[:, None]

    def flat(block: Block) -> Block:
        return replace(block, coefficients=block.coefficients * keep)

    blocks = {name: flat(block) for name, block in arrays.blocks.items()}
    return replace(
        arrays,
        cmb=blocks.pop("cmb"),
        lensing=blocks.pop("lensing"),
        more=blocks,
        lowl_ee=arrays.lowl_ee * keep,
        derived=arrays.derived * keep,
    )


def _scaled(base: LinearEmulator, problem: Problem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return inputs in [-1, 1], outputs of comparable size, and those sizes."""
    low, high = torch.tensor(list(base.box.values()), dtype=torch.float64).T
    x = ((problem.theta - (low + high) / 2) / ((high - low) / 2)).float()
    y = torch.from_numpy(problem.y)
    # a compromise between what a likelihood sees and what an optimiser can: sizes differ by 1e4
    size = y.square().mean(0).sqrt().clamp(min=1e-4).sqrt()
    return x, (y / size).float(), size


def train_network(
    base: LinearEmulator, training: TrainingSet, settings: NetworkSettings
) -> tuple[CorrectedEmulator, History]:
    """Train a network on what `base` leaves of the training set.

    Parameters
    ----------
    base : LinearEmulator
        With its polynomials (the network learns their residual) or from :func:`constant_emulator`.
    training : TrainingSet
    settings : NetworkSettings
    """
    problem = residual_problem(base, training, FineTuneSettings(more_components=0, network=settings))
    x, y, size = _scaled(base, problem)
    net = Mlp(x.shape[1], y.shape[1], settings)
    history = minimise(net, list(net.parameters()), x, y, problem.validation, settings)
    weight, bias = (p.detach().double().numpy() * s for p, s in zip(
        (net.weights[-1], net.biases[-1]), (size.numpy()[:, None], size.numpy()), strict=True
    ))  # fmt: skip
    head = np.concatenate([weight.T, bias[None]])
    correction = Correction(
        box=base.box,
        base_values={},
        layers=tuple((w.detach().double().numpy(), b.detach().double().numpy()) for w, b in net.hidden),
        degrees=np.empty((0, len(base.box)), dtype=np.int64),
        heads={name: head[:, where] * problem.unit[name] for name, where in problem.edges.items()},
    )
    record = {**base.settings, "network": asdict(settings)}
    return CorrectedEmulator(base.arrays, correction, record), history


def tune_network(
    base: LinearEmulator, training: TrainingSet, settings: NetworkSettings, trials: int
) -> tuple[NetworkSettings, list[dict[str, Any]]]:
    """Search width, depth, learning rate and weight decay with optuna's seeded TPE sampler.

    Returns
    -------
    NetworkSettings
        Those of the least validation loss.
    list of dict
        Every trial's parameters and loss.
    """
    import optuna  # noqa: PLC0415 (an optional dependency)

    problem = residual_problem(base, training, FineTuneSettings(more_components=0, network=settings))
    x, y, _ = _scaled(base, problem)

    def objective(trial: optuna.Trial) -> float:
        tried = replace(
            settings,
            width=trial.suggest_categorical("width", [64, 128, 256]),
            depth=trial.suggest_int("depth", 1, 3),
            learning_rate=trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        )
        net = Mlp(x.shape[1], y.shape[1], tried)
        return min(minimise(net, list(net.parameters()), x, y, problem.validation, tried).validation)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=settings.seed))
    study.optimize(objective, n_trials=trials)
    table = [{**t.params, "loss": t.value} for t in study.trials]
    return replace(settings, **study.best_params), table


def _errors(emulator: LinearEmulator | CorrectedEmulator, held: TrainingSet) -> dict[str, list[float]]:
    errors = errors_in_sigma(emulator.spectra(torch.from_numpy(held.theta)), held.dl)
    return {pair: np.percentile(e[:, 2:], PERCENTILES).tolist() for pair, e in errors.items()}


def compare_models(
    base: LinearEmulator, training: TrainingSet, held: TrainingSet, settings: NetworkSettings
) -> dict[str, Any]:
    """Measure polynomials, a network alone, and a network on their residual, on the same held-out spectra.

    Returns
    -------
    dict
        By model: errors in sigma_CV at :data:`PERCENTILES` by pair, and the networks' loss curves.
    """
    alone, history_alone = train_network(
        LinearEmulator(constant_emulator(base.arrays), base.settings), training, settings
    )
    both, history_both = train_network(base, training, settings)
    return {
        "polynomial": {"errors": _errors(base, held)},
        "network": {"errors": _errors(alone, held), "history": asdict(history_alone)},
        "polynomial + network": {"errors": _errors(both, held), "history": asdict(history_both)},
    }


def finetuning_curve(
    base: LinearEmulator,
    pool: TrainingSet,
    held: TrainingSet,
    box: dict[str, Any],
    methods: Sequence[str],
    n_backgrounds: Sequence[int],
    settings: FineTuneSettings,
) -> list[dict[str, Any]]:
    """Return test errors of an extension against the number of Boltzmann runs, for each method."""
    order = np.unique(pool.background)
    table = []
    for n in n_backgrounds:
        part = pool.select(np.isin(pool.background, order[:n]))
        for method in methods:
            emulator, _ = fine_tune(base, part, replace(settings, method=method), box)
            table.append(
                {
                    "runs": len(part.theta),
                    "backgrounds": int(n),
                    "method": method,
                    "errors": _errors(emulator, held),
                }
            )
            log.info("%d runs, %s: %s", len(part.theta), method, table[-1]["errors"])
    return table
