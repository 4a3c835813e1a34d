"""Primordial spectra on a device: no round trip through the host, the CPU's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special

from cmbfit.theory.base import Checked
from cmbfit.theory.primordial.bessel import rational_bessel
from cmbfit.theory.primordial.registry import MODELS
from tests.devices import pretend


@pytest.mark.parametrize("kind", ["j", "y"])
@pytest.mark.parametrize("order", [0, 1])
def test_bessel_functions_of_a_device_are_scipys(kind: str, order: int) -> None:
    """To a few units in the last place of the amplitude J^2 + Y^2; at large x, of the phase x."""
    x = np.concatenate([np.geomspace(1e-8, 1e5, 4001), np.linspace(4.9, 5.1, 41)])
    got = rational_bessel(kind, order, torch.from_numpy(x)).numpy()
    amplitude = np.hypot(getattr(special, f"j{order}")(x), getattr(special, f"y{order}")(x))
    error = np.abs(got - getattr(special, f"{kind}{order}")(x)) / amplitude
    assert (error < 2e-15 * np.maximum(1, x)).all()


LQC = tuple(n for n in MODELS if "lqc_" in n and n != "bounce_lqc")
TABULATED = ("bounce_lqc", "starobinsky", "tensor_starobinsky", *LQC)
"""They solve their modes first."""


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in TABULATED else n for n in MODELS]
)
def test_a_model_computes_on_a_device_without_waiting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    model = MODELS[name]
    k = torch.logspace(-4, -0.5, 40, dtype=torch.float64)
    theta = model.defaults().repeat(3, 1).requires_grad_(True)
    want = model.power(k, theta)
    (slope,) = torch.autograd.grad(want.log().sum(), theta)
    with pretend.machine(monkeypatch):
        there, k = theta.detach().to("cuda").requires_grad_(True), k.to("cuda")
        model.power(k, there)  # tables come along with the first call
        with Checked({}), pretend.watched() as usage:
            got, good = model.power(k, there), model.valid(k, there)
            (back,) = torch.autograd.grad(got.log().sum(), there)
        waits = {line: n for line, n in usage.waits.items() if not line.startswith("outside")}
        assert not waits
        assert bool(good.all())
        got, back = got.detach().cpu(), back.cpu()
    # Bessel functions of other sums: rounding, which phases of up to 1e3 multiply
    torch.testing.assert_close(got, want.detach(), rtol=1e-12, atol=0)
    torch.testing.assert_close(back, slope, rtol=1e-9, atol=1e-9)
