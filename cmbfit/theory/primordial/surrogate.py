"""A network that learned the mode solver: potential parameters -> ln P(k).

Trained on the solver's output by the mean squared error of ln P, after standardisation and a principal
component basis. It serves searches and gradients; final numbers come from the solver, which
:meth:`Surrogate.power` calls for points outside the training box.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import qmc

from cmbfit.device import OnDevice
from cmbfit.errors import ConfigError, DataError, ParameterError
from cmbfit.io import atomic_buffer, parse_json, reading
from cmbfit.theory.base import checked_before

Solver = Callable[[torch.Tensor], torch.Tensor]
"""theta, shape (batch, n_parameters), to P at the surrogate's k, shape (batch, n_k)."""


@dataclass(frozen=True)
class SurrogateSettings:
    """Size and training of the network."""

    n_train: int = 256
    n_test: int = 64
    components: int = 12
    width: int = 24
    steps: int = 2000

    def __post_init__(self) -> None:
        if min(self.n_train, self.n_test, self.components, self.width, self.steps) < 1:
            raise ConfigError(f"surrogate: expected positive sizes, found {self}")


@dataclass(frozen=True)
class Evolved:
    """What the solver gave at the points of a design, in random order: the first train, the last test.

    Attributes
    ----------
    theta : torch.Tensor, shape (n, n_parameters)
    log_power : torch.Tensor, shape (n, n_k)
    """

    theta: torch.Tensor
    log_power: torch.Tensor


@dataclass
class Surrogate(OnDevice):
    """A trained network with its measured error.

    Attributes
    ----------
    k : torch.Tensor, shape (n_k,)
    low, high : torch.Tensor, shape (n_parameters,)
        The training box.
    weights : dict of str to torch.Tensor
        Of the network that takes scaled parameters to coefficients, by the names of its state.
    mean, basis : torch.Tensor, shapes (n_k,) and (components, n_k)
        ln P = mean + coefficients @ basis.
    solver : callable
        What was learned, used outside the box.
    held_out : dict of str to float
        `rms` and `max` error of ln P over the test points, `loss` of training, `truncation` (rms error of the
        basis alone).
    """

    k: torch.Tensor
    low: torch.Tensor
    high: torch.Tensor
    weights: dict[str, torch.Tensor]
    mean: torch.Tensor
    basis: torch.Tensor
    solver: Solver
    held_out: dict[str, float] = field(default_factory=dict)

    def inside(self, theta: torch.Tensor) -> torch.Tensor:  # shape: (batch,), bool
        """Return which points lie in the training box."""
        return ((theta >= self.low) & (theta <= self.high)).all(1)

    def log_power(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_k)
        """Return the network's ln P, differentiable.

        Raises
        ------
        ParameterError
            For a point outside the training box.
        """
        if not checked_before() and not bool(self.inside(theta).all()):
            bad = theta[~self.inside(theta)][0].tolist()
            raise ParameterError(
                f"surrogate: {bad} lies outside the training box {self.low.tolist()} to {self.high.tolist()}; "
                "use power(), which falls back to the solver"
            )
        scaled = 2 * (theta - self.low) / (self.high - self.low) - 1
        return self.mean + _evaluate(self.weights, scaled) @ self.basis

    def power(
        self,
        theta: torch.Tensor,  # shape: (batch, n_parameters)
    ) -> torch.Tensor:  # shape: (batch, n_k)
        """Return P(k): of the network inside the box, of the solver outside."""
        inside = self.inside(theta)
        out = torch.empty((len(theta), len(self.k)), dtype=torch.float64, device=theta.device)
        if bool(inside.any()):
            out[inside] = torch.exp(self.log_power(theta[inside]))
        if not bool(inside.all()):
            out[~inside] = self.solver(theta[~inside])
        return out


@dataclass(frozen=True)
class Trained:
    """A network with what tells how good it is.

    Attributes
    ----------
    network : Surrogate
    test : Evolved
        Points that did not train it.
    curve : list of dict
        `n_train` and the held-out errors of training on that many points, the network itself last.
    """

    network: Surrogate
    test: Evolved
    curve: list[dict[str, float]]


def evolve(
    solver: Solver, box: Sequence[tuple[float, float]], n: int, *, seed: int = 1, batch: int = 64
) -> Evolved:
    """Run the solver on a Sobol design over `box`, one range for each parameter, `batch` points a call.

    Raises
    ------
    ParameterError
        If the solver's power is not positive and finite somewhere in the box.
    """
    low, high = torch.tensor(list(box), dtype=torch.float64).T
    unit = qmc.Sobol(len(box), seed=seed).random_base2(math.ceil(math.log2(n)))[:n]
    theta = low + (high - low) * torch.from_numpy(unit)
    power = torch.cat([solver(part) for part in theta.split(batch)])
    if not bool(((power > 0) & torch.isfinite(power)).all()):
        raise ParameterError("surrogate: the solver's power is not positive and finite everywhere in the box")
    # in random order: the end of a Sobol sequence is not a fair sample
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n))
    return Evolved(theta[order], power.log()[order])


def train_surrogate(
    solver: Solver,
    k: torch.Tensor,  # shape: (n_k,)
    box: Sequence[tuple[float, float]],
    *,
    settings: SurrogateSettings | None = None,
    seed: int = 1,
    batch: int = 64,
) -> Surrogate:
    """Evolve the design, train the network, and measure it on points it has not seen.

    Parameters
    ----------
    solver : callable
    k : torch.Tensor, shape (n_k,)
        Where the solver gives power.
    box : sequence of (low, high)
        One range for each parameter.
    settings : SurrogateSettings, optional
    seed : int
        Of the design and the initial weights; the same seed gives the same network.
    batch : int
        Points for one call of the solver.

    Raises
    ------
    ParameterError
        If the solver's power is not positive and finite somewhere in the box.
    """
    settings = settings or SurrogateSettings()
    evolved = evolve(solver, box, settings.n_train + settings.n_test, seed=seed, batch=batch)
    return learn(evolved, solver, k, box, settings, seed)


def learn(
    evolved: Evolved,
    solver: Solver,
    k: torch.Tensor,  # shape: (n_k,)
    box: Sequence[tuple[float, float]],
    settings: SurrogateSettings,
    seed: int = 1,
) -> Surrogate:
    """Train a network on the first `n_train` evolved points and measure it on the last `n_test`."""
    if len(evolved.theta) < settings.n_train + settings.n_test:
        raise ConfigError(
            f"surrogate: expected {settings.n_train} points to train and {settings.n_test} to test, found "
            f"{len(evolved.theta)} evolved"
        )
    low, high = torch.tensor(list(box), dtype=torch.float64).T
    train, test = slice(settings.n_train), slice(-settings.n_test, None)
    theta, target = evolved.theta, evolved.log_power
    mean = target[train].mean(0)
    _, size, basis = torch.linalg.svd(target[train] - mean, full_matrices=False)
    # of unit length, so that the coefficients are those of ln P itself
    basis, size = basis[: settings.components], size[: settings.components] / math.sqrt(settings.n_train)
    coefficients = (target[train] - mean) @ basis.T
    scaled = 2 * (theta[train] - low) / (high - low) - 1
    scale = size.clamp_min(1e-9 * size[0])

    network = _network(len(box), settings.width, len(basis), seed)
    optimiser = torch.optim.LBFGS(
        network.parameters(), max_iter=settings.steps, max_eval=2 * settings.steps, history_size=100,
        line_search_fn="strong_wolfe", tolerance_grad=0, tolerance_change=0,
    )  # fmt: skip

    def loss() -> torch.Tensor:
        # the mean squared error of ln P over k, through the orthogonal basis
        return ((network(scaled) * scale - coefficients).square().sum(1).mean()) / len(k)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss() / size[0].square()
        value.backward()
        return value

    optimiser.step(closure)
    last = loss().item()
    network.requires_grad_(requires_grad=False)
    result = Surrogate(k, low, high, dict(network.state_dict()), mean, basis * scale[:, None], solver)
    residual = result.log_power(theta[test]) - target[test]
    exact = (target[test] - mean) @ basis.T @ basis + mean
    result.held_out = {
        "rms": residual.square().mean().sqrt().item(),
        "max": residual.abs().max().item(),
        "truncation": (exact - target[test]).square().mean().sqrt().item(),
        "loss": last,
    }
    return result


def train_on(
    evolved: Evolved,
    solver: Solver,
    k: torch.Tensor,  # shape: (n_k,)
    box: Sequence[tuple[float, float]],
    settings: SurrogateSettings,
    sizes: Sequence[int],
    seed: int = 1,
) -> Trained:
    """Return a network with its learning curve: errors at the same held-out points after the first `sizes` points only."""
    all_of_them = learn(evolved, solver, k, box, settings, seed)
    curve = [
        {"n_train": n, **learn(evolved, solver, k, box, replace(settings, n_train=n), seed).held_out}
        for n in sizes
    ]
    tested = slice(-settings.n_test, None)
    return Trained(
        all_of_them,
        Evolved(evolved.theta[tested], evolved.log_power[tested]),
        [*curve, {"n_train": settings.n_train, **all_of_them.held_out}],
    )


def _network(n_in: int, width: int, n_out: int, seed: int) -> torch.nn.Sequential:
    """Return two hidden layers; weights from `seed` without touching torch's global generator."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [(n_in, width), (width, width), (width, n_out)]
    layers: list[torch.nn.Module] = []
    for rows, columns in sizes:
        layer = torch.nn.Linear(rows, columns, dtype=torch.float64)
        with torch.no_grad():
            layer.weight.normal_(0, 1 / math.sqrt(rows), generator=generator)
            layer.bias.zero_()
        layers += [layer, torch.nn.SiLU()]
    return torch.nn.Sequential(*layers[:-1])


def _evaluate(weights: Mapping[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Return what :func:`_network` with these weights does: plain tensors move to a device as all else does."""
    silu, linear = torch.nn.functional.silu, torch.nn.functional.linear
    for layer in ("0", "2"):
        x = silu(linear(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"]))
    return linear(x, weights["4.weight"], weights["4.bias"])


_ARRAYS = ("k", "low", "high", "mean", "basis")


def write_surrogates(path: str | Path, trained: Mapping[str, Trained], settings: Mapping[str, Any]) -> None:
    """Publish networks, the points they were tested on and their records atomically as one .npz (no pickles)."""
    record = {
        "settings": dict(settings),
        "networks": {name: {"curve": t.curve, "held_out": t.network.held_out} for name, t in trained.items()},
    }
    arrays: dict[str, Any] = {
        "record": np.frombuffer(json.dumps(record, sort_keys=True).encode(), dtype=np.uint8)
    }
    for name, t in trained.items():
        arrays |= {f"{name}/{x}": getattr(t.network, x).numpy() for x in _ARRAYS}
        arrays |= {f"{name}/weights/{x}": w.numpy() for x, w in t.network.weights.items()}
        arrays |= {f"{name}/theta": t.test.theta.numpy(), f"{name}/log_power": t.test.log_power.numpy()}
    with atomic_buffer(path) as f:
        np.savez_compressed(f, **arrays)


def read_surrogates(raw: bytes, solvers: Mapping[str, Solver], path: str) -> dict[str, Trained]:
    """Return the networks in the contents of a file, by name, each with the solver that it learned.

    Raises
    ------
    DataError
        If the file is damaged, or holds other networks.
    """
    with reading(path, "learned spectra"), np.load(io.BytesIO(raw), allow_pickle=False) as f:
        record = parse_json(f["record"].tobytes())["networks"]
        if set(record) != set(solvers):
            raise DataError(f"{path}: expected networks {', '.join(solvers)}, found {', '.join(record)}")
        arrays = {name: torch.from_numpy(f[name]) for name in f.files if name != "record"}
        return {name: _trained(name, arrays, solver, record[name], path) for name, solver in solvers.items()}


def _trained(
    name: str, arrays: Mapping[str, torch.Tensor], solver: Solver, record: Mapping[str, Any], path: str
) -> Trained:
    part = {x: arrays[f"{name}/{x}"] for x in (*_ARRAYS, "theta", "log_power")}
    start = f"{name}/weights/"
    weights = {x.removeprefix(start): a for x, a in arrays.items() if x.startswith(start)}
    n_k, n_in, n_test = len(part["k"]), len(part["low"]), len(part["theta"])
    expected = {"k": (n_k,), "mean": (n_k,), "basis": (len(part["basis"]), n_k), "log_power": (n_test, n_k)}
    expected |= {"low": (n_in,), "high": (n_in,), "theta": (n_test, n_in)}
    if bad := [x for x, shape in expected.items() if part[x].shape != shape]:
        raise DataError(f"{path}: {name}/{bad[0]} has the wrong shape {tuple(part[bad[0]].shape)}")
    network = _network(n_in, len(weights["0.bias"]), len(part["basis"]), 0)
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"{path}: weights of another network ({error})") from error
    held_out = {x: float(value) for x, value in record["held_out"].items()}
    k, low, high, mean, basis = (part[x] for x in _ARRAYS)
    found = Surrogate(k, low, high, weights, mean, basis, solver, held_out)
    curve = [{x: float(value) for x, value in row.items()} for row in record["curve"]]
    return Trained(found, Evolved(part["theta"], part["log_power"]), curve)
