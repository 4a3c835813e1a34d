"""Networks for the base model: alone, or on the residual of the polynomials."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from cmbfit.checkpoint import Checkpoint, kept_value
from cmbfit.errors import DataError, MissingCodeError
from cmbfit.theory.emulator.arrays import Block, EmulatorArrays
from cmbfit.theory.emulator.correction import CorrectedEmulator, Correction
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import History, Mlp, NetworkSettings, minimise
from cmbfit.theory.emulator.residual import Problem, residual_problem
from cmbfit.theory.emulator.trainingset import TrainingSet

_VALIDATION = 0.15  # of the training backgrounds; they stop the training and choose the settings


class _OverflowedError(Exception):
    """A trial has no loss; not a DataError, which a damaged checkpoint is."""


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


def _problem(base: LinearEmulator, training: TrainingSet, seed: int) -> Problem:
    return residual_problem(base, training, more_components=0, validation=_VALIDATION, seed=seed)


def _scaled(base: LinearEmulator, problem: Problem) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return parameters in [-1, 1], outputs of comparable size, and those sizes."""
    low, high = torch.tensor(list(base.box.values()), dtype=torch.float64).T
    x = ((problem.theta - (low + high) / 2) / ((high - low) / 2)).float()
    y = torch.from_numpy(problem.y)
    # a compromise between what a likelihood sees and what an optimiser can: sizes differ by 1e4
    size = y.square().mean(0).sqrt().clamp(min=1e-4).sqrt()
    return x, (y / size).float(), size


def train_network(
    base: LinearEmulator, training: TrainingSet, settings: NetworkSettings, device: torch.device | str = "cpu"
) -> tuple[CorrectedEmulator, History]:
    """Train a network on what `base` leaves of the training set.

    Parameters
    ----------
    base : LinearEmulator
        With its polynomials (the network learns their residual) or from :func:`constant_emulator`.
    training : TrainingSet
    settings : NetworkSettings
    device : torch.device or str
        Where the network is trained; the emulator that comes back is on the CPU.
    """
    problem = _problem(base, training, settings.seed)
    x, y, size = _scaled(base, problem)
    net = Mlp(x.shape[1], y.shape[1], settings).to(device)
    history = minimise(net, list(net.parameters()), x.to(device), y.to(device), problem.validation, settings)
    layers = [(w.detach().cpu().double(), b.detach().cpu().double()) for w, b in net.layers]
    weight, bias = (layers[-1][0] * size[:, None]).numpy(), (layers[-1][1] * size).numpy()
    head = np.concatenate([weight.T, bias[None]])
    correction = Correction(
        box=base.box,
        base_values={},
        layers=tuple((w.numpy(), b.numpy()) for w, b in layers[:-1]),
        degrees=np.empty((0, len(base.box)), dtype=np.int64),
        heads={name: head[:, where] * problem.unit[name] for name, where in problem.edges.items()},
    )
    record = {**base.settings, "network": asdict(settings)}
    return CorrectedEmulator(base.arrays, correction, record), history


def tune_network(
    base: LinearEmulator,
    training: TrainingSet,
    settings: NetworkSettings,
    trials: int,
    device: torch.device | str = "cpu",
    store: Checkpoint | None = None,
    name: str = "network",
) -> tuple[NetworkSettings, list[dict[str, Any]]]:
    """Search width, depth, learning rate and weight decay with optuna's seeded TPE sampler.

    Parameters
    ----------
    base, training, device
        As in :func:`train_network`.
    settings : NetworkSettings
        What the search does not vary.
    trials : int
    store : Checkpoint, optional
        Where each trial's loss is kept: a search that was killed asks for the same trials again.
    name : str
        Of its pieces there.

    Returns
    -------
    NetworkSettings
        Those of the least validation loss.
    list of dict
        Every trial's parameters and loss.
    """
    try:
        import optuna  # noqa: PLC0415 (an optional dependency)
    except ImportError as error:
        raise MissingCodeError(
            "the search for a network needs optuna; pip install 'cmbfit[search]'"
        ) from error
    problem = _problem(base, training, settings.seed)
    x, y, _ = _scaled(base, problem)
    x, y = x.to(device), y.to(device)

    def objective(trial: optuna.Trial) -> float:
        tried = replace(
            settings,
            width=trial.suggest_categorical("width", [64, 128, 256]),
            depth=trial.suggest_int("depth", 1, 3),
            learning_rate=trial.suggest_float("learning_rate", 5e-4, 1e-2, log=True),
            weight_decay=trial.suggest_float("weight_decay", 1e-6, 1e-2, log=True),
        )

        def loss() -> float | None:
            net = Mlp(x.shape[1], y.shape[1], tried).to(device)
            with contextlib.suppress(DataError):  # a rate so high that the loss overflows
                return min(minimise(net, list(net.parameters()), x, y, problem.validation, tried).validation)
            return None

        found = kept_value(store, f"{name}_trial_{trial.number}", loss)
        if found is None:
            raise _OverflowedError
        return float(found)

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=settings.seed))
    study.optimize(objective, n_trials=trials, catch=(_OverflowedError,))
    table = [{**t.params, "loss": t.value} for t in study.trials if t.value is not None]
    if not table:
        raise DataError(
            f"network search: none of {trials} trials gave a finite loss; are the spectra finite?"
        )
    return replace(settings, **study.best_params), table
