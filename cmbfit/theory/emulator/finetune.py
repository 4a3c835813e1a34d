"""Reaching an extension from a base emulator with 50 to 500 Boltzmann runs.

What is learned is the extension's effect, D(theta, e) / base(theta): its coordinates in the base's
components and a few more. Methods:

- ``quadratic``: e (a + b theta) + c e^2, the expansion that needs no network;
- ``polynomial``: all terms e^i P(theta) up to the weighted degree that cross-validation likes best;
- ``scratch``: a network with random initial weights;
- ``last_layer``, ``low_rank``, ``all_weights``: a network that has learned the base model first. The
  column of the new parameter starts where the base's own derivatives say that it acts like a shift of
  the old ones. Then the head alone is fitted, or it and rank-4 adapters of the hidden layers (Hu et
  al. 2021), or everything.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import torch

from cmbfit.errors import ConfigError, DataError
from cmbfit.theory.emulator.arrays import LOWL_EE_MAX
from cmbfit.theory.emulator.correction import CorrectedEmulator, Correction, Features, cut
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import History, Mlp, NetworkSettings, hidden_features, minimise
from cmbfit.theory.emulator.polynomial import weighted_degrees
from cmbfit.theory.emulator.trainingset import PAIRS, TrainingSet
from cmbfit.theory.extensions import EXTENSIONS
from cmbfit.theory.parameters import LCDM

log = logging.getLogger(__name__)

METHODS = ("quadratic", "polynomial", "scratch", "last_layer", "low_rank", "all_weights")
RANK = 4
_DERIVED_SCALE = 1e-3  # relative error of a derived parameter that counts like one cosmic-variance sigma
_RIDGES = tuple(10.0**k for k in range(-10, 0))
_FOLDS = 5


@dataclass(frozen=True)
class FineTuneSettings:
    """How an extension is learned.

    Parameters
    ----------
    method : str
        One of :data:`METHODS`.
    more_components : int
        Components of each block beyond the base's.
    degree, weights : float, tuple of float
        Weighted degree of ``polynomial``: LCDM's parameters, then one number for the extension's.
    network : NetworkSettings
    validation : float
        Fraction of the runs that early stopping watches.
    """

    method: str = "polynomial"
    more_components: int = 12
    degree: float = 4.0
    weights: tuple[float, ...] = (1.0, 1.0, 1.0, 2.0, 2.0, 1.0, 0.75)
    network: NetworkSettings = NetworkSettings(width=96, depth=2, steps=1200)  # noqa: RUF009 (frozen)
    validation: float = 0.15

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"fine-tuning: expected a method of {', '.join(METHODS)}, found {self.method!r}"
            )
        if len(self.weights) != len(LCDM) + 1 or min(self.weights) <= 0:
            raise ConfigError(f"fine-tuning: expected {len(LCDM) + 1} positive weights, found {self.weights}")


@dataclass(frozen=True)
class Problem:
    """Residuals of the base at the runs, in units in which all outputs weigh alike."""

    theta: torch.Tensor  # shape: (n, n_parameters)
    y: np.ndarray  # shape: (n, n_out)
    edges: dict[str, slice]  # by block, lowl_ee, derived: columns of y
    unit: dict[str, np.ndarray]  # y times unit is the component
    basis: dict[str, np.ndarray]
    validation: np.ndarray


def require_same_physics(base: Mapping[str, Any], runs: Mapping[str, Any], names: tuple[str, ...]) -> None:
    """Raise :class:`DataError` if the runs' code settings differ from the base emulator's (lmax may)."""
    ours, theirs = (x.get("camb", {}) for x in (base.get("trained_on", {}), runs))
    for key in sorted(set(ours) | set(theirs)):
        if key not in ("lmax", *names) and ours.get(key) != theirs.get(key):
            raise DataError(
                f"fine-tuning: {key} is {theirs.get(key)} in the runs, but {ours.get(key)} in the base emulator; "
                "compute the runs with the base's settings"
            )


def residual_problem(base: LinearEmulator, runs: TrainingSet, settings: FineTuneSettings) -> Problem:
    """Return what a correction of `base` has to learn from `runs`, in units in which all outputs weigh alike."""
    theta = torch.from_numpy(runs.theta)
    point = theta[:, : len(LCDM)]
    components = base.components(point)
    spectra = {p: runs.dl[:, i, : base.lmax + 1] for i, p in enumerate(PAIRS)}
    bare = {p: runs.unlensed[:, i, : base.lmax + 1] for i, p in enumerate(("tt", "te", "ee"))}
    parts, unit, basis = {}, {}, {}
    for name, block in base.arrays.blocks.items():
        source = bare if name == "unlensed" else spectra
        amplitude = base.block_amplitude(name, point).numpy()[:, None]
        dl = np.concatenate(
            [source[p][:, low:] for p, low in zip(block.pairs, block.lmin, strict=True)], axis=1
        )
        decoded = base.blocks[name].decode(components[name]).numpy()
        rest = (dl / amplitude - decoded) / block.scale
        own = block.basis.astype(float)
        along = np.linalg.lstsq(own.T, rest.T, rcond=None)[0].T
        rest = rest - along @ own
        parts[name] = along
        if settings.more_components:
            left = np.linalg.svd(rest, full_matrices=False)[2]
            basis[name] = left[: min(settings.more_components, len(rest) // 2)].astype(np.float32)
            parts[name] = np.concatenate([along, rest @ basis[name].T.astype(float)], axis=1)
        unit[name] = np.ones(parts[name].shape[1])
    scalar = base.scalar_amplitude(point).numpy()[:, None]
    ell = np.arange(2, LOWL_EE_MAX + 1)
    unit["lowl_ee"] = np.sqrt(2 / (2 * ell + 1))
    lowl = np.log(spectra["ee"][:, 2 : LOWL_EE_MAX + 1] / scalar) - components["lowl_ee"].T.numpy()
    parts["lowl_ee"] = lowl / unit["lowl_ee"]
    unit["derived"] = np.full(runs.derived.shape[1], _DERIVED_SCALE)
    parts["derived"] = (np.log(runs.derived) - components["derived"].T.numpy()) / unit["derived"]
    edges, start = {}, 0
    for name, values in parts.items():
        edges[name] = slice(start, start + values.shape[1])
        start = edges[name].stop
    backgrounds = np.unique(runs.background)
    n_held = max(1, round(settings.validation * len(backgrounds)))
    rng = np.random.default_rng(settings.network.seed)
    held = np.isin(runs.background, rng.choice(backgrounds, n_held, replace=False))
    return Problem(theta, np.concatenate(list(parts.values()), axis=1), edges, unit, basis, held)


def _candidate_terms(settings: FineTuneSettings, n_extra: int, n_runs: int) -> list[np.ndarray]:
    """Return sets of polynomial terms that vary with the extension; cross-validation picks one."""
    if settings.method == "quadratic":
        weights: tuple[float, ...] = (1.0,) * (len(LCDM) + n_extra)
        limits = np.array([2.0])
    else:
        weights = (*settings.weights[: len(LCDM)], *[settings.weights[-1]] * n_extra)
        limits = np.arange(settings.degree, settings.weights[-1], -0.25)
    sets = [weighted_degrees(weights, limit) for limit in limits]
    varying = [degrees[degrees[:, len(LCDM) :].any(1)] for degrees in sets]
    return [degrees for degrees in varying if len(degrees) < n_runs / 2] or varying[-1:]


def _solve(features: np.ndarray, y: np.ndarray, ridge: float) -> np.ndarray:
    """Least squares with a ridge, relative to each feature's size."""
    size = np.sqrt((features**2).mean(0)) + 1e-300
    normed = features / size
    gram = normed.T @ normed
    gram[np.diag_indices_from(gram)] += ridge * len(features)
    return np.linalg.solve(gram, normed.T @ y) / size[:, None]


def _best_head(features: np.ndarray, y: np.ndarray, background: np.ndarray) -> tuple[np.ndarray, float]:
    """Fit the head with the ridge that cross-validation over backgrounds likes best; and that loss."""
    folds = np.searchsorted(np.unique(background), background) % _FOLDS
    losses = []
    for ridge in _RIDGES:
        total = 0.0
        for fold in range(_FOLDS):
            out = folds == fold
            guess = features[out] @ _solve(features[~out], y[~out], ridge)
            total += np.square(guess - y[out]).sum()
        losses.append(total / y.size)
    best = int(np.argmin(losses))
    return _solve(features, y, _RIDGES[best]), losses[best]


def _pretrained(
    base: LinearEmulator, box: Mapping[str, Any], problem: Problem, settings: FineTuneSettings
) -> Mlp:
    """Teach a network the base emulator's components over the box, from the emulator itself."""
    rng = np.random.default_rng(settings.network.seed)
    low, high = np.array([box[p] for p in LCDM]).T
    theta = torch.from_numpy(rng.uniform(low, high, (4096, len(LCDM))))
    components = base.components(theta)
    y = np.zeros((len(theta), problem.y.shape[1]))
    for name, where in problem.edges.items():
        values = components[name].T.numpy() / problem.unit[name][: len(components[name])]
        y[:, where.start : where.start + values.shape[1]] = values - values.mean(0)
    x = ((theta - torch.from_numpy(low + high) / 2) / torch.from_numpy((high - low) / 2)).float()
    net = Mlp(len(LCDM), y.shape[1], settings.network)
    target = torch.from_numpy(y).float()
    # coordinates differ by four orders of magnitude; without this the first ones are all it learns
    size = target.square().mean(0).sqrt().clamp(min=1e-3) ** 0.5
    minimise(
        lambda rows: net(rows) / size,
        list(net.parameters()),
        x,
        target / size,
        np.arange(len(theta)) % 10 == 0,
        replace(settings.network, batch=256),
    )
    return net


def _like_a_shift(base: LinearEmulator, box: Mapping[str, Any], problem: Problem) -> np.ndarray:
    """Shift of the scaled base parameters per scaled unit of each extension, shape (n_base, n_extra)."""
    n = len(LCDM)
    half = np.array([(high - low) / 2 for low, high in box.values()])
    point = problem.theta[:, :n]
    columns = []
    for j, name in enumerate(LCDM):
        high = box[name][1]
        step = torch.zeros_like(point)
        step[:, j] = 0.05 * half[j]
        step = torch.where(point + step > high, -step, step)
        up, now = base.components(point + step), base.components(point)
        sign = torch.sign(step[:, j]).numpy()[:, None]
        change = np.zeros_like(problem.y)
        for part, where in problem.edges.items():
            values = (up[part] - now[part]).T.numpy()
            change[:, where.start : where.start + values.shape[1]] = (
                values / problem.unit[part][: values.shape[1]]
            )
        columns.append(sign * change / 0.05)
    shifts = []
    for k, name in enumerate(list(box)[n:]):
        centre = EXTENSIONS[name].default
        e = ((problem.theta[:, n + k].numpy() - centre) / half[n + k])[:, None]
        design = np.stack([(c * e).ravel() for c in columns], axis=1)
        shifts.append(np.linalg.lstsq(design, problem.y.ravel(), rcond=None)[0])
    return np.array(shifts).T


def _tuned_network(
    base: LinearEmulator,
    box: Mapping[str, Any],
    problem: Problem,
    settings: FineTuneSettings,
    zero: torch.Tensor,
) -> tuple[Mlp, History | None]:
    """Return a network of base and extension parameters after fine-tuning (or from scratch)."""
    n_all, n = len(box), len(LCDM)
    low, high = torch.tensor(list(box.values()), dtype=torch.float64).T
    x = ((problem.theta - (low + high) / 2) / ((high - low) / 2)).float()
    at_zero = ((zero - (low + high)[n:] / 2) / ((high - low)[n:] / 2)).float()
    net = Mlp(n_all, problem.y.shape[1], settings.network)
    if settings.method != "scratch":
        source = _pretrained(base, box, problem, settings)
        shift = torch.from_numpy(_like_a_shift(base, box, problem)).float()
        with torch.no_grad():
            for mine, theirs in zip(list(net.parameters()), list(source.parameters()), strict=True):
                if mine.shape == theirs.shape:
                    mine.copy_(theirs)
            net.weights[0].copy_(torch.cat([source.weights[0], source.weights[0] @ shift], dim=1))
            # phi must stay where it was at the base value
            net.biases[0].sub_(net.weights[0][:, n:] @ at_zero)
    if settings.method == "last_layer":
        return net, None
    adapters: list[torch.nn.Parameter] = []
    generator = torch.Generator().manual_seed(settings.network.seed + 1)
    if settings.method == "low_rank":
        for weight in net.weights[:-1]:
            adapters.append(torch.nn.Parameter(torch.zeros(weight.shape[0], RANK)))
            adapters.append(
                torch.nn.Parameter(
                    torch.randn(RANK, weight.shape[1], generator=generator) / weight.shape[1] ** 0.5
                )
            )
        trained = [*adapters, net.weights[-1]]
    else:
        trained = [*net.weights, *net.biases[:-1]]

    def layers() -> list[tuple[torch.Tensor, torch.Tensor]]:
        if not adapters:
            return net.hidden
        return [
            (weight + adapters[2 * i] @ adapters[2 * i + 1], bias)
            for i, (weight, bias) in enumerate(net.hidden)
        ]

    def predict(rows: torch.Tensor) -> torch.Tensor:
        base_rows = torch.cat([rows[:, :n], at_zero.expand(len(rows), -1)], dim=1)
        return (hidden_features(rows, layers()) - hidden_features(base_rows, layers())) @ net.weights[-1].T

    rate = settings.network.learning_rate * (1.0 if settings.method == "scratch" else 0.3)
    y = torch.from_numpy(problem.y).float()
    history = minimise(
        predict, trained, x, y, problem.validation, replace(settings.network, learning_rate=rate)
    )
    with torch.no_grad():
        for i, (weight, _) in enumerate(layers()):
            net.weights[i].copy_(weight)
    return net, history


def fine_tune(
    base: LinearEmulator, runs: TrainingSet, settings: FineTuneSettings, box: Mapping[str, Any]
) -> tuple[CorrectedEmulator, History | None]:
    """Extend a base emulator to the parameters that the runs vary.

    Parameters
    ----------
    base : LinearEmulator
        Cut to the runs' lmax if it goes further.
    runs : TrainingSet
        `names` are LCDM's and the extension's.
    settings : FineTuneSettings
    box : mapping of str to (low, high)
        Where the runs lie: LCDM's parameters and the extension's.

    Returns
    -------
    CorrectedEmulator
        Equal to the base where the extension's parameters have their base values.
    History or None
        Losses, for the methods that train a network by gradient descent.

    Raises
    ------
    DataError
        If the runs vary no extension, or were made with other settings than the base.
    """
    extra = runs.names[len(LCDM) :]
    if not extra or any(EXTENSIONS[name].default is None for name in extra):
        raise DataError(
            f"fine-tuning: expected runs that vary an extension with a base value, found {', '.join(runs.names)}"
        )
    require_same_physics(base.settings, runs.settings, extra)
    limits = {p: (float(box[p][0]), float(box[p][1])) for p in runs.names}
    base = LinearEmulator(cut(base.arrays, min(base.lmax, runs.dl.shape[2] - 1)), base.settings)
    problem = residual_problem(base, runs, settings)
    values = {name: float(EXTENSIONS[name].default or 0.0) for name in extra}
    none = np.empty((0, len(limits)), dtype=np.int64)
    history = None
    if settings.method in ("quadratic", "polynomial"):
        sets = _candidate_terms(settings, len(extra), len(runs.theta))
        candidates = [Correction(limits, values, (), degrees, {}, problem.basis) for degrees in sets]
    else:
        zero = torch.tensor(list(values.values()), dtype=torch.float64)
        net, history = _tuned_network(base, limits, problem, settings, zero)
        layers = tuple((w.detach().double().numpy(), b.detach().double().numpy()) for w, b in net.hidden)
        candidates = [Correction(limits, values, layers, none, {}, problem.basis)]
    # whatever made the features, their best head on all runs is a linear problem
    fits = [_best_head(Features(c)(problem.theta).T.numpy(), problem.y, runs.background) for c in candidates]
    best = int(np.argmin([loss for _, loss in fits]))
    empty, head = candidates[best], fits[best][0]
    heads = {name: head[:, where] * problem.unit[name] for name, where in problem.edges.items()}
    record = {
        "code": "emulator",
        "trained_on": {**runs.settings, "base": base.settings},
        "n_spectra": len(runs.theta),
        "n_failed_points": len(runs.failures),
        "fine_tuning": asdict(settings),
    }
    return CorrectedEmulator(base.arrays, replace(empty, heads=heads), record), history
