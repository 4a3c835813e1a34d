"""The learned power spectrum against the solver that it learned."""

from __future__ import annotations

import pytest
import torch

from cmbfit.errors import ConfigError, ParameterError
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.inflation import solve_inflation
from cmbfit.theory.primordial.potential import Potential
from cmbfit.theory.primordial.surrogate import Surrogate, SurrogateSettings, train_surrogate

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
    settings = SurrogateSettings(n_train=96, n_test=32, components=6, width=32, steps=300)
    learned = train_surrogate(closed, K, box, settings=settings)
    assert learned.held_out["rms"] < 0.04  # ln P varies by 0.4; a short training
    theta = torch.tensor([[-6.5, 1.1], [-5.0, 1.1]], dtype=torch.float64)
    calls.clear()
    power = learned.power(theta)
    assert calls == [1]  # only the point outside the box went to the solver
    exact = closed(theta)
    assert (power[0] / exact[0] - 1).abs().max() < 0.15
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
