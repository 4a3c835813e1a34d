"""The learned power spectrum against the solver that it learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, DataError, ParameterError
from cmbfit.figures.learned import learned_and_evolved, learned_table, plot_learned
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.attractor import learned, solve
from cmbfit.theory.primordial.inflation import solve_inflation
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.primordial.surrogate import (
    Evolved,
    Surrogate,
    SurrogateSettings,
    evolve,
    read_surrogates,
    train_on,
    train_surrogate,
    write_surrogates,
)

K = torch.logspace(-4, 0, 16, dtype=torch.float64)
BOX = [(0.5, 1.1), (50.0, 60.0)]
CALLS: list[int] = []


def solver(theta: torch.Tensor) -> torch.Tensor:
    """Power of V = (1 - exp(-c phi))^2 with the pivot N* e-folds before the end; theta = (c, N*)."""
    CALLS.append(len(theta))
    potential = Potential("1e-10*(1 - exp(-c*phi))**2", {"c": theta[:, 0]}, (0.05, 25.0))
    return solve_inflation(potential, K, theta[:, 1]).scalar


@pytest.fixture(scope="module")
def surrogate() -> Surrogate:
    return train_surrogate(
        solver, K, BOX, settings=SurrogateSettings(n_train=48, n_test=16, components=6, width=32, steps=800)
    )


@pytest.mark.slow
def test_it_learned_the_mode_solver(surrogate: Surrogate) -> None:
    # ln P varies by 0.8 over the box; 48 runs teach a two-parameter function to half a percent
    assert surrogate.held_out["rms"] < 5e-3
    assert surrogate.held_out["truncation"] < 1e-4
    point = torch.tensor([[0.8165, 55.0]], dtype=torch.float64)
    exact = solver(point)
    assert (surrogate.power(point) / exact - 1).abs().max().item() < 0.02
    # the loss is the mean squared error of ln P over training points, of the order of the held-out error squared
    assert surrogate.held_out["loss"] < surrogate.held_out["max"] ** 2


@pytest.mark.slow
def test_gradients_and_fall_back(surrogate: Surrogate) -> None:
    theta = torch.tensor([[0.8, 55.0], [0.8, 61.0]], dtype=torch.float64)
    before = len(CALLS)
    mixed = surrogate.power(theta)
    assert CALLS[before:] == [1]  # the point outside the box went to the solver
    assert torch.equal(mixed[1:], solver(theta[1:]))
    with pytest.raises(ParameterError, match="outside the training box"):
        surrogate.log_power(theta)
    x = theta[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(surrogate.log_power(x)[0, 8], x)
    up, down = (solver(theta[:1] + s * torch.tensor([[0.0, 0.5]])).log()[0, 8] for s in (1, -1))
    assert gradient[0, 1].item() == pytest.approx((up - down).item(), rel=0.15)


def test_it_learns_a_closed_form_and_falls_back() -> None:
    model = get_model("kink")
    calls: list[int] = []

    def closed(theta: torch.Tensor) -> torch.Tensor:
        calls.append(len(theta))
        fixed = torch.tensor([3.044, 0.9649], dtype=torch.float64).expand(len(theta), 2)
        return model.power(K, torch.cat([fixed, theta], 1))

    box = [(-7.0, -6.0), (0.8, 1.2)]
    settings = SurrogateSettings(n_train=96, n_test=32, components=6, width=16, steps=120)
    taught = train_surrogate(closed, K, box, settings=settings)
    assert taught.held_out["rms"] < 0.03  # ln P varies by 0.4; a short training
    theta = torch.tensor([[-6.5, 1.1], [-5.0, 1.1]], dtype=torch.float64)
    calls.clear()
    power = taught.power(theta)
    assert calls == [1]  # only the point outside the box went to the solver
    exact = closed(theta)
    assert (power[0] / exact[0] - 1).abs().max() < 0.1
    assert torch.equal(power[1], exact[1])


def test_training_is_reproducible_and_checked() -> None:
    def line(theta: torch.Tensor) -> torch.Tensor:
        return torch.exp(theta[:, :1] * K.log() / 10 + theta[:, 1:])

    small = SurrogateSettings(n_train=16, n_test=8, components=2, width=8, steps=50)
    one, two = (train_surrogate(line, K, [(0, 1), (0, 1)], settings=small) for _ in range(2))
    assert one.held_out == two.held_out
    assert one.held_out["truncation"] < 1e-12  # two components hold it exactly
    with pytest.raises(ParameterError, match="not positive"):
        train_surrogate(lambda theta: line(theta) - 1, K, [(0, 1), (0, 1)], settings=small)
    with pytest.raises(ConfigError, match="positive sizes"):
        SurrogateSettings(n_train=0)


def test_more_points_teach_more_and_a_file_holds_what_was_learned(tmp_path: Path) -> None:
    box = [(0.0, 1.0), (0.0, 1.0)]

    def curved(theta: torch.Tensor) -> torch.Tensor:
        return torch.exp(torch.sin(3 * theta[:, :1]) * K.log() / 10 + theta[:, 1:] ** 2)

    settings = SurrogateSettings(n_train=64, n_test=32, components=4, width=12, steps=150)
    evolved = evolve(curved, box, 96)
    trained = train_on(evolved, curved, K, box, settings, [8])
    few, all_of_them = trained.curve
    assert (few["n_train"], all_of_them["n_train"]) == (8, 64)
    assert all_of_them["rms"] < 0.3 * few["rms"]  # of points that trained neither
    assert torch.equal(trained.test.log_power, curved(trained.test.theta).log())
    path = tmp_path / "learned.npz"
    write_surrogates(path, {"one": trained}, {"about": "a test"})
    back = read_surrogates(path.read_bytes(), {"one": curved}, "learned.npz")["one"]
    assert back.curve == trained.curve
    assert back.network.held_out == trained.network.held_out
    point = torch.tensor([[0.3, 0.4]], dtype=torch.float64)
    assert torch.equal(back.network.log_power(point), trained.network.log_power(point))
    with pytest.raises(DataError, match="expected networks two, found one"):
        read_surrogates(path.read_bytes(), {"two": curved}, "learned.npz")
    with pytest.raises(DataError, match="expected learned spectra"):
        read_surrogates(path.read_bytes()[:-200], {"one": curved}, "learned.npz")
    with pytest.raises(ConfigError, match="64 points to train and 32 to test, found 50"):
        train_on(Evolved(evolved.theta[:50], evolved.log_power[:50]), curved, K, box, settings, [8])


def test_what_cmbfit_ships_was_tested_on_points_that_the_solver_gives() -> None:
    """The record in the file is of the file's own network, and the solver still says what it taught."""
    for kind, rms in (("scalar", 6e-5), ("tensor", 2e-3)):
        trained = learned(kind)
        error = trained.network.log_power(trained.test.theta) - trained.test.log_power
        assert error.square().mean().sqrt().item() == pytest.approx(trained.network.held_out["rms"], rel=1e-6)
        assert trained.network.held_out["rms"] < rms
        sizes, errors = zip(*((row["n_train"], row["rms"]) for row in trained.curve), strict=True)
        assert list(sizes) == [32, 64, 128, 256, 512]
        assert errors[-1] < 0.7 * errors[0]  # from 128 on the network itself is what limits it
    again = solve(learned("scalar").test.theta[:1]).log()[0]
    want = torch.cat([learned(kind).test.log_power[0] for kind in ("scalar", "tensor")])
    torch.testing.assert_close(again, want, rtol=0, atol=1e-7)  # modes are held to 1e-9 a step


def test_learned_beside_evolved() -> None:
    model = get_model("attractor")
    found = learned_and_evolved(model, model.defaults())
    assert found.held_out.shape == (64, 14)
    assert 0 < np.abs(found.chain).max() < 3e-4
    assert len(plot_learned(found, "attractors").axes) == 2
    table = learned_table(found)
    assert len(table["panel"]) == 65 * 14 + 2 * 5
    with pytest.raises(ConfigError, match="a network learned"):
        learned_and_evolved(get_model("kink"))
