"""Free-form P(k) against scipy: interpolation, and order statistics of the places."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.interpolate import PchipInterpolator
from scipy.stats import beta, kstest

from cmbfit.errors import ParameterError
from cmbfit.theory.primordial import MODELS, get_model
from cmbfit.theory.primordial.knots import (
    HEIGHTS,
    MOST,
    RANGE,
    is_freeform,
    knot_places,
    knots,
    number_of_knots,
    ordered,
    unordered,
)
from cmbfit.theory.primordial.model import PrimordialModel

K = torch.logspace(-6, 1, 400, dtype=torch.float64)
CUBIC = [f"knots_{n}_cubic" for n in range(3, MOST + 1)]


def drawn(model: PrimordialModel, n: int = 50) -> torch.Tensor:
    rng = np.random.default_rng(7)
    return torch.from_numpy(
        np.stack([rng.uniform(p.prior.low, p.prior.high, n) for p in model.parameters], 1)
    )


def knots_of(model: PrimordialModel, theta: torch.Tensor, n: int) -> tuple[np.ndarray, np.ndarray]:
    values = {p: theta[:, i : i + 1] for i, p in enumerate(model.parameter_names)}
    places = knot_places(values, n).numpy()
    tilted = 3.044 + (0.9649 - 1) * (places - np.log(0.05))
    return places, tilted + theta[:, :n].numpy()


@pytest.mark.parametrize("n", range(2, MOST + 1))
def test_lines_are_numpys(n: int) -> None:
    """Constant beyond the ends, as np.interp has it; to rounding of a hundred e-folds' sums."""
    model = get_model(f"knots_{n}")
    theta = drawn(model)
    places, heights = knots_of(model, theta, n)
    wanted = [
        1e-10 * np.exp(np.interp(np.log(K.numpy()), x, y)) for x, y in zip(places, heights, strict=True)
    ]
    np.testing.assert_allclose(model.power(K, theta).numpy(), wanted, rtol=1e-12)
    assert bool(model.valid(K, theta).all())


@pytest.mark.parametrize("name", CUBIC)
def test_cubics_are_scipys_pchip(name: str) -> None:
    model, n = get_model(name), int(name.split("_")[1])
    theta = drawn(model)
    places, heights = knots_of(model, theta, n)
    inside = np.log(K.numpy()).clip(*np.log(RANGE))
    wanted = [1e-10 * np.exp(PchipInterpolator(x, y)(inside)) for x, y in zip(places, heights, strict=True)]
    np.testing.assert_allclose(model.power(K, theta).numpy(), wanted, rtol=1e-10)


def test_one_knot_is_flat_and_two_are_a_power_law() -> None:
    flat = get_model("knots_1").power(K, torch.tensor([[0.2]], dtype=torch.float64))[0]
    assert flat.tolist() == pytest.approx([math.exp(3.244) * 1e-10] * len(K), rel=1e-14)
    k = K[(RANGE[0] < K) & (RANGE[1] > K)]
    power = get_model("knots_2").power(k, get_model("knots_2").defaults())
    law = get_model("power_law").power(
        k, get_model("power_law").defaults()
    )  # with the same amplitude and tilt
    torch.testing.assert_close(power, law, rtol=1e-12, atol=0)
    # defaults of all lie on it, so that a fit starts there
    for n in range(3, MOST + 1):
        model = get_model(f"knots_{n}")
        torch.testing.assert_close(model.power(k, model.defaults()), law, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [1, 3, 6])
def test_places_are_order_statistics(n: int) -> None:
    """The i-th of n ordered uniform numbers is Beta(i, n + 1 - i); neighbours' gap is Beta(1, n) whichever they are.

    p above 1e-3: one of the 2 n comparisons at fixed seeds fails by chance in less than a percent of such tests.
    """
    u = torch.from_numpy(np.random.default_rng(n).uniform(size=(20_000, n)))
    t = ordered(u)
    assert bool((torch.diff(t, dim=1) > 0).all())
    for i in range(n):
        assert kstest(t[:, i].numpy(), beta(i + 1, n - i).cdf).pvalue > 1e-3
    gaps = torch.diff(torch.nn.functional.pad(torch.nn.functional.pad(t, (1, 0)), (0, 1), value=1.0), dim=1)
    for i in range(n + 1):
        assert kstest(gaps[:, i].numpy(), beta(1, n).cdf).pvalue > 1e-3
    torch.testing.assert_close(unordered(t), u, rtol=0, atol=1e-9)


@pytest.mark.parametrize("n", [2, 5])
def test_the_prior_is_uniform_over_ordered_places(n: int) -> None:
    """The density of t is 1/|dt/du|, by autograd, and that of order statistics: n! everywhere."""
    u = torch.from_numpy(np.random.default_rng(3).uniform(0.02, 0.98, size=(20, n)))
    for row in u:
        slope = torch.autograd.functional.jacobian(lambda x: ordered(x[None])[0], row)
        assert 1 / slope.det().abs().item() == pytest.approx(math.factorial(n), rel=1e-9)


@pytest.mark.parametrize("name", ["knots_3", "knots_6", "knots_5_cubic"])
def test_gradients_are_differences(name: str) -> None:
    model = get_model(name)
    theta = drawn(model, 6).requires_grad_()
    # no k of these lies within 1e-6 of a kink
    assert torch.autograd.gradcheck(lambda x: 1e10 * model.power(K[::23], x), (theta,), atol=1e-5, rtol=1e-4)


def test_edges_of_the_prior_are_finite() -> None:
    model = get_model("knots_5")
    theta = model.defaults().repeat(3, 1)
    theta[0, 5:], theta[1, 5:], theta[2, 5:] = 0.0, 1.0, torch.tensor([1.0, 0.0, 1.0])
    theta.requires_grad_()
    power = model.power(K, theta)
    assert bool(model.valid(K, theta).all())
    (gradient,) = torch.autograd.grad(power.log().sum(), theta)
    assert bool(torch.isfinite(gradient).all())
    # between the ends, at the power law times e^-1 to e
    low, high = (
        1e-10 * math.exp(3.044 + x - 0.0351 * math.log(k / 0.05))
        for x, k in zip(HEIGHTS, RANGE[::-1], strict=True)
    )
    assert low < power.min().item() < power.max().item() < high


def test_what_is_a_knot_model() -> None:
    assert [number_of_knots(n) for n in MODELS if number_of_knots(n)] == list(range(1, MOST + 1))
    assert number_of_knots("knots_4_cubic") is None
    assert is_freeform(get_model("knots_4_cubic"))
    assert not is_freeform(get_model("power_law"))
    assert len(knots(12).parameters) == 22
    with pytest.raises(ParameterError, match="at least one"):
        knots(0)
    with pytest.raises(ParameterError, match="heights in a range"):
        knots(3, heights=(4.0, 2.0))
