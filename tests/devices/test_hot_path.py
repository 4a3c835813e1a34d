"""What a step of a sampler costs the host of a GPU: no waits, few launches; and who was outside is known later."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmbfit.inference.hmc import HmcSettings, _Hmc
from cmbfit.likelihood import Posterior
from tests.devices import pretend

VALUE, GRADIENT, LEAPFROG = 83, 273, 297
"""Launches that the default fit may cost; the host pays for each, at any batch."""


@pytest.fixture(scope="module")
def points(compiled: Posterior) -> torch.Tensor:
    """Of the default fit, within it."""
    low, high = torch.tensor(list(compiled.support.values()), dtype=torch.float64).clamp(-1e3, 1e3).T
    middle = compiled.prior_table.middle
    generator = torch.Generator().manual_seed(3)
    unit = torch.rand(8, len(middle), dtype=torch.float64, generator=generator) - 0.5
    return middle + torch.minimum(0.1 * (high - low), torch.tensor(1e-3, dtype=torch.float64)) * unit


@pytest.fixture
def outside(points: torch.Tensor) -> torch.Tensor:
    """Three of them outside: the prior, every limit, and no number."""
    x = points.clone()
    x[1, 0], x[3], x[5, 2] = 9.0, torch.inf, torch.nan
    return x


def check(usage: pretend.Usage, launches: int) -> None:
    assert not usage.waits
    assert sum(usage.launches.values()) <= launches, usage.launches
    assert not usage.random


@pytest.mark.usefixtures("gpu")
def test_a_value_and_a_gradient_wait_for_nothing(
    compiled: Posterior, points: torch.Tensor, outside: torch.Tensor
) -> None:
    moved = compiled.to("cuda")
    for x in (points.to("cuda"), outside.to("cuda")):
        for warm in (False, True):
            with pretend.watched() as usage, torch.no_grad():
                moved.log_prob(x)
            if warm:
                check(usage, VALUE)
            with pretend.watched() as usage:
                moved.log_prob_and_gradient(x)
            if warm:
                check(usage, GRADIENT)


@pytest.mark.usefixtures("gpu")
def test_a_leapfrog_step_waits_for_nothing(compiled: Posterior, points: torch.Tensor) -> None:
    used = []
    for leapfrog in (1, 2):
        sampler = _Hmc(
            compiled.to("cuda"), points.numpy(), 1e-4 * np.eye(points.shape[1]),
            HmcSettings(walkers=8, leapfrog=leapfrog), 1,
        )  # fmt: skip
        here, metric = sampler._at(points.to("cuda")), sampler._metric(sampler._tensor(sampler._first_factor))
        generator = sampler._generator(0)
        sampler._step(here, metric, 0.1, generator)
        with pretend.watched() as usage:
            sampler._step(here, metric, 0.1, generator)
        check(usage, leapfrog * LEAPFROG + 40)  # momenta, energies and the decision, once a trajectory
        used.append(sum(usage.launches.values()))
    assert used[1] - used[0] <= LEAPFROG


def test_masked_points_are_what_the_cpu_says_of_them(
    compiled: Posterior, outside: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    want = compiled.evaluate(outside)
    slope = compiled.log_prob_and_gradient(outside)[1]
    with pretend.machine(monkeypatch):
        moved = compiled.to("cuda")
        value, counts = moved.evaluate(outside.to("cuda"))
        assert moved.counts.evaluations == 0
        log_prob, back = moved.log_prob_and_gradient(outside.to("cuda"))
        for _ in range(2):
            moved.log_prob(outside.to("cuda"))
        value, log_prob, back, total = value.cpu(), log_prob.cpu(), back.cpu(), moved.counts
    assert counts == want.counts
    assert vars(counts) == {"evaluations": 8, "outside_prior": 3, "outside_box": 0, "not_a_number": 0}
    assert vars(total) == {k: 3 * n for k, n in vars(counts).items()}
    # batches of another size are multiplied in another order: rounding
    torch.testing.assert_close(value, want.log_prob, rtol=1e-12, atol=0)
    torch.testing.assert_close(log_prob, want.log_prob, rtol=1e-12, atol=0)
    inside = torch.isfinite(value)
    torch.testing.assert_close(
        back[inside], slope[inside], rtol=1e-9, atol=1e-9 * float(slope[inside].abs().max())
    )


def test_a_gradient_at_once_is_that_of_autograd_in_chunks(compiled: Posterior, points: torch.Tensor) -> None:
    small = compiled.to("cpu")
    small.chunk = 3
    value, gradient = small.log_prob_and_gradient(points)
    x = points.clone().requires_grad_(True)
    whole = compiled.log_prob(x)
    (slope,) = torch.autograd.grad(whole.sum(), x)
    torch.testing.assert_close(value, whole.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=0)
    assert small.counts.evaluations == len(points)
