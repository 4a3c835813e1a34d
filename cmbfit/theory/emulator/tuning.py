"""Networks for an extension: from random weights, or from a network that knows the base model.

The column of the new parameter starts where the base's own derivatives say that it acts like a shift of
the old ones. Then the head alone is fitted, or it and rank-4 adapters of the hidden layers (Hu et al.
2021), or everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch

from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import History, Mlp, NetworkSettings, hidden_features, minimise
from cmbfit.theory.emulator.residual import Problem
from cmbfit.theory.parameters import LCDM

RANK = 4
_GENTLY = 0.3  # learning rate of pretrained weights, relative to random ones
_N_PRETRAINING = 4096
_STEP = 0.05  # of the base's derivatives, in half-widths of the box

Box = Mapping[str, Sequence[float]]


def _scale(box: Box) -> tuple[torch.Tensor, torch.Tensor]:
    """Return centre and half-width of a box, each of shape (n_parameters,)."""
    low, high = torch.tensor(list(box.values()), dtype=torch.float64).T
    return (low + high) / 2, (high - low) / 2


def _in_columns(components: Mapping[str, torch.Tensor], problem: Problem) -> np.ndarray:  # shape: (n, n_out)
    """Return components of the base where they stand in the problem's outputs and in its units; else 0."""
    n = next(iter(components.values())).shape[1]
    y = np.zeros((n, problem.y.shape[1]))
    for name, where in problem.edges.items():
        values = components[name].T.numpy()
        y[:, where.start : where.start + values.shape[1]] = values / problem.unit[name][: values.shape[1]]
    return y


def _pretrained(base: LinearEmulator, box: Box, problem: Problem, settings: NetworkSettings) -> Mlp:
    """Teach a network the base emulator's components over the box, from the emulator itself."""
    rng = np.random.default_rng(settings.seed)
    inner = {p: box[p] for p in LCDM}
    low, high = np.array(list(inner.values())).T
    theta = torch.from_numpy(rng.uniform(low, high, (_N_PRETRAINING, len(LCDM))))
    y = _in_columns(base.components(theta), problem)
    centre, half = _scale(inner)
    net = Mlp(len(LCDM), y.shape[1], settings)
    target = torch.from_numpy(y - y.mean(0)).float()
    # outputs differ by four orders of magnitude; without this the first ones are all it learns
    size = target.square().mean(0).sqrt().clamp(min=1e-3) ** 0.5
    minimise(
        lambda rows: net(rows) / size,
        list(net.parameters()),
        ((theta - centre) / half).float(),
        target / size,
        np.arange(len(theta)) % 10 == 0,
        replace(settings, batch=256),
    )
    return net


def _like_a_shift(
    base: LinearEmulator, box: Box, problem: Problem, zero: torch.Tensor
) -> np.ndarray:  # shape: (n_base, n_extra)
    """Return the shift of the scaled base parameters that acts most like a scaled unit of each extension.

    Parameters
    ----------
    zero : torch.Tensor, shape (n, n_extra)
        The extension's base values at the runs.
    """
    n = len(LCDM)
    _, half = _scale(box)
    point = problem.theta[:, :n]
    now = _in_columns(base.components(point), problem)
    columns = []
    for j, name in enumerate(LCDM):
        step = torch.zeros_like(point)
        step[:, j] = _STEP * half[j]
        step = torch.where(point + step > box[name][1], -step, step)
        change = _in_columns(base.components(point + step), problem) - now
        columns.append(torch.sign(step[:, j]).numpy()[:, None] * change / _STEP)
    shifts = []
    for k in range(zero.shape[1]):
        e = ((problem.theta[:, n + k] - zero[:, k]) / half[n + k]).numpy()[:, None]
        design = np.stack([(c * e).ravel() for c in columns], axis=1)
        shifts.append(np.linalg.lstsq(design, problem.y.ravel(), rcond=None)[0])
    return np.array(shifts).T


def _start(
    base: LinearEmulator, box: Box, problem: Problem, settings: NetworkSettings, zero: torch.Tensor
) -> Mlp:
    """Return a network of all parameters that repeats the pretrained one, moved as :func:`_like_a_shift` says."""
    n = len(LCDM)
    centre, half = _scale(box)
    net = Mlp(len(box), problem.y.shape[1], settings)
    source = _pretrained(base, box, problem, settings)
    shift = torch.from_numpy(_like_a_shift(base, box, problem, zero)).float()
    at_zero = ((zero.mean(0) - centre[n:]) / half[n:]).float()
    with torch.no_grad():
        for mine, theirs in zip(list(net.parameters()), list(source.parameters()), strict=True):
            if mine.shape == theirs.shape:
                mine.copy_(theirs)
        net.weights[0].copy_(torch.cat([source.weights[0], source.weights[0] @ shift], dim=1))
        # the hidden layers must stay where they were at the base value
        net.biases[0].sub_(net.weights[0][:, n:] @ at_zero)
    return net


def tuned_network(
    base: LinearEmulator,
    box: Box,
    problem: Problem,
    method: str,
    settings: NetworkSettings,
    zero: torch.Tensor,
) -> tuple[Mlp, History | None]:
    """Return a network of the base's and the extension's parameters whose hidden layers are ready for a head.

    Parameters
    ----------
    base : LinearEmulator
    box : mapping of str to (low, high)
        LCDM's parameters and the extension's.
    problem : Problem
    method : str
        ``scratch``, ``last_layer``, ``low_rank`` or ``all_weights``.
    settings : NetworkSettings
    zero : torch.Tensor, shape (n, n_extra)
        The extension's base values at the problem's points.

    Returns
    -------
    Mlp
    History or None
        Losses; None where nothing but the head is to be fitted.
    """
    n = len(LCDM)
    if method == "scratch":
        net = Mlp(len(box), problem.y.shape[1], settings)
    else:
        net = _start(base, box, problem, settings, zero)
        settings = replace(settings, learning_rate=_GENTLY * settings.learning_rate)
    if method == "last_layer":
        return net, None
    adapters: list[torch.nn.Parameter] = []
    if method == "low_rank":
        generator = torch.Generator().manual_seed(settings.seed + 1)
        for weight in net.weights[:-1]:
            adapters.append(torch.nn.Parameter(torch.zeros(weight.shape[0], RANK)))
            start = torch.randn(RANK, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5
            adapters.append(torch.nn.Parameter(start))

    def layers() -> list[tuple[torch.Tensor, torch.Tensor]]:
        if not adapters:
            return net.hidden
        pairs = zip(adapters[::2], adapters[1::2], strict=True)
        return [
            (weight + up @ down, bias) for (weight, bias), (up, down) in zip(net.hidden, pairs, strict=True)
        ]

    def predict(rows: torch.Tensor) -> torch.Tensor:  # rows: the point, then the same point in the base model
        here, there = rows[:, : len(box)], rows[:, len(box) :]
        return (hidden_features(here, layers()) - hidden_features(there, layers())) @ net.weights[-1].T

    centre, half = _scale(box)
    in_base = torch.cat([problem.theta[:, :n], zero], dim=1)
    x = torch.cat([(problem.theta - centre) / half, (in_base - centre) / half], dim=1).float()
    trained = [*adapters, net.weights[-1]] if adapters else [*net.weights, *net.biases[:-1]]
    history = minimise(predict, trained, x, torch.from_numpy(problem.y).float(), problem.validation, settings)
    with torch.no_grad():
        for i, (weight, _) in enumerate(layers()):
            net.weights[i].copy_(weight)
    return net, history
