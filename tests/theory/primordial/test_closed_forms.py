"""Closed-form spectra against published expressions in another library's special functions, and direct mode solutions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.special import hankel2

from cmbfit.errors import ParameterError
from cmbfit.theory.primordial import MODELS, get_model
from cmbfit.theory.primordial.alpha_vacuum import hubble_scale, scale_ratio
from cmbfit.theory.primordial.bessel import bessel_j, bessel_y, j1_over_x
from cmbfit.theory.primordial.cutoff_kinetic import transfer as kinetic
from cmbfit.theory.primordial.cutoff_radiation import transfer as radiation
from cmbfit.theory.primordial.excited import back_reaction, rotated_power
from cmbfit.theory.primordial.kink import transfer as kink
from cmbfit.theory.primordial.tensors import consistency

K = torch.logspace(-5, 1, 300, dtype=torch.float64)


def vector(*x: float) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64)


def test_running_spectrum_by_hand() -> None:
    model = get_model("running")
    theta = model.point({"logA": math.log(21.0), "ns": 0.9649, "nrun": -0.0045})
    power = model.power(vector(0.002, 0.5), theta)[0]
    assert power.tolist() == pytest.approx([2.29701e-9, 1.91398e-9], rel=3e-6)  # printed to six digits


@pytest.mark.parametrize(
    ("transfer", "values"),
    [
        (kinetic, [4.89094e-4, 0.0342759, 0.407214, 1.182992, 0.968385, 1.003415]),
        (radiation, [0.00111069, 0.0394637, 0.382629, 1.115926, 0.972261, 1.003197]),
    ],
)
def test_cutoffs_are_the_solutions_of_the_mode_equation(transfer: object, values: list[float]) -> None:
    # values of a direct integration of the modes (scipy DOP853), printed to six digits
    got = transfer(vector(0.05, 0.3, 1, 2.5, 5, 10))  # type: ignore[operator]
    assert got.tolist() == pytest.approx(values, rel=1e-5)


def test_kinetic_cutoff_is_the_published_expression() -> None:
    x = np.geomspace(0.3, 300, 200)  # below, the published form loses digits by cancellation
    c = np.exp(-1j * x) * (hankel2(0, x / 2) - (1 / x + 1j) * hankel2(1, x / 2))
    d = np.exp(1j * x) * (hankel2(0, x / 2) - (1 / x - 1j) * hankel2(1, x / 2))
    published = np.pi / 16 * x * np.abs(c - d) ** 2
    assert kinetic(torch.from_numpy(x)).numpy() == pytest.approx(published, rel=1e-11)


def test_kink_solves_the_mode_equation() -> None:
    # direct integration through the kink, accurate to 2e-6
    got = kink(vector(0.3, 1, 3, 8), vector(0.5))
    assert got.tolist() == pytest.approx([0.233006, 0.159721, 1.494604, 0.904558], abs=5e-6)


def test_limits_without_cancellation() -> None:
    x = vector(1e-6, 1e-4, 1e-2)
    assert (radiation(x) / (4 * x**2 / 9)).tolist() == pytest.approx([1, 1, 1], rel=1e-4)
    assert kink(x[:2], vector(0.5)).tolist() == pytest.approx([0.25, 0.25], rel=1e-7)
    # by hand: H_0(z) ~ 1 - (2i/pi)(ln(z/2) + gamma), H_1(z) ~ 2i/(pi z)
    log = torch.log(x / 4) + np.euler_gamma + 2 / 3
    limit = math.pi / 4 * x**3 * (1 + 4 / math.pi**2 * log**2)
    assert (kinetic(x) / limit).tolist() == pytest.approx([1, 1, 1], rel=1e-4)


def test_bessel_functions_have_the_right_derivatives() -> None:
    x = torch.linspace(0.2, 40, 30, dtype=torch.float64, requires_grad=True)
    for f in (bessel_j, bessel_y):
        for order in (0, 1):
            assert torch.autograd.gradcheck(lambda z, f=f, order=order: f(order, z), (x,), atol=1e-6)
    assert torch.autograd.gradgradcheck(lambda z: bessel_y(1, z), (x,), atol=1e-5)


def test_spherical_bessel_series_meets_the_formula() -> None:
    x = vector(1 - 1e-9, 1.0)
    assert j1_over_x(x)[0].item() == pytest.approx(j1_over_x(x)[1].item(), rel=1e-8)
    assert j1_over_x(vector(1e-8)).item() == pytest.approx(1 / 3, rel=1e-15)
    assert j1_over_x(vector(0.9999)).item() == pytest.approx(
        (math.sin(0.9999) / 0.9999 - math.cos(0.9999)) / 0.9998, rel=1e-4
    )


def test_excited_state_contains_the_radiation_start() -> None:
    # matching radiation to de Sitter at the transition gives these coefficients (Vilenkin & Ford)
    x = np.geomspace(0.1, 30, 60)
    alpha, beta = np.exp(-1j * x) * (1 - 1j / x - 1 / (2 * x**2)), -np.exp(1j * x) / (2 * x**2)
    assert np.abs(alpha) ** 2 - np.abs(beta) ** 2 == pytest.approx(np.ones(60), abs=1e-9)
    angle = torch.from_numpy(np.angle(-alpha * beta.conj()))
    got = rotated_power(torch.from_numpy(np.abs(beta)), angle)
    assert got.numpy() == pytest.approx(radiation(torch.from_numpy(x)).numpy(), rel=1e-9)


def test_back_reaction_bound_by_integration() -> None:
    model = get_model("excited_state")
    theta = model.point({"log10_quanta": -2.0, "ln_km": math.log(0.02)})
    values = {n: theta[:, i : i + 1] for i, n in enumerate(model.parameter_names)}
    k = np.linspace(0, 0.3, 200_001)
    r, a_s = 0.01, np.exp(3.044) * 1e-10
    hubble = math.pi * math.sqrt(a_s * r / 2)  # M_p = 1
    a = 2e-4 / hubble
    rho = np.trapezoid(k**3 * 1e-2 * np.exp(-((k / 0.02) ** 2)), k) / (2 * math.pi**2 * a**4)
    assert back_reaction(values).item() == pytest.approx(rho / (r / 16 * hubble**2), rel=1e-6)


def test_alpha_vacuum_scales() -> None:
    # H for r = 0.01 at A_s = 2.1e-9, and what the Planck mass as the scale would give
    h = hubble_scale(vector(2.1e-9), vector(0.01)).item()
    assert h == pytest.approx(2.479e13, rel=1e-3)
    model = get_model("alpha_vacuum")
    theta = model.point({"log10_lambda": math.log10(2.435e18), "r": 0.01})
    values = {n: theta[:, i : i + 1] for i, n in enumerate(model.parameter_names)}
    xi = scale_ratio(values).item()
    assert xi == pytest.approx(1.0e-5, rel=0.03)
    assert 2 * 0.01 / 16 / xi == pytest.approx(123, rel=0.01)
    # to first order in epsilon it is the log-oscillation of amplitude xi and frequency w = 2 epsilon / xi
    k = torch.logspace(-3, 0, 50, dtype=torch.float64)
    theta = model.point({"log10_lambda": 16.5, "r": 0.01, "ns": 1.0})
    xi = hubble_scale(vector(math.exp(3.044) * 1e-10), vector(0.01)).item() / 10**16.5
    got = model.power(k, theta)[0] / (math.exp(3.044) * 1e-10) - 1
    w, log_k = 2 * 0.01 / 16 / xi, torch.log(k / 0.05)
    want = -xi * torch.sin(2 / xi + w * log_k)
    # the second order shifts the angle by epsilon^2 L^2 / xi = 0.008
    assert (got - want).abs().max().item() < 0.01 * xi


def test_tensor_consistency_of_the_boltzmann_codes() -> None:
    tilt, run = consistency(vector(0.01), vector(0.9649))
    assert (tilt.item(), run.item()) == (
        pytest.approx(-1.2923125e-3, rel=1e-9),
        pytest.approx(-4.23125e-5, rel=1e-9),
    )


def test_camb_has_the_same_tensor_spectrum() -> None:
    camb = pytest.importorskip("camb")
    power = camb.InitialPowerLaw(As=math.exp(3.044) * 1e-10, ns=0.9649, r=0.05)
    k = np.geomspace(1e-4, 1, 20)
    pars = camb.CAMBparams(InitPower=power, WantTensors=True)
    model = get_model("tensor_consistency")
    got = model.power(torch.from_numpy(k), model.point({"r": 0.05}))[0].numpy()
    assert got == pytest.approx(pars.tensor_power(k), rel=1e-9)
    scalar = get_model("power_law")
    assert scalar.power(torch.from_numpy(k), scalar.defaults())[0].numpy() == pytest.approx(
        pars.scalar_power(k), rel=1e-12
    )


@pytest.mark.parametrize("name", [n for n in MODELS if "starobinsky" not in n and "lqc_quadratic" not in n])
def test_every_model_is_batched_differentiable_and_documented(name: str) -> None:
    model = MODELS[name]
    assert model.citations
    assert model.formula
    assert model.title
    theta = model.defaults().repeat(3, 1)
    theta[1, 0] += 0.1
    theta.requires_grad_()
    power = model.power(K, theta)
    assert power.shape == (3, 300)
    assert bool(model.valid(K, theta).all())
    if model.parameter_names[0] == "logA":
        assert (power[1] / power[0] / math.exp(0.1)).min() > 0.9  # it scales the spectrum
    (gradient,) = torch.autograd.grad(power.log().sum(), theta)
    assert bool(torch.isfinite(gradient).all())
    few = torch.logspace(
        -5, -2, 30, dtype=torch.float64
    )  # fast oscillations spoil differences, not gradients
    (gradient,) = torch.autograd.grad(model.power(few, theta).log().sum(), theta)
    for i in range(2, theta.shape[1]):
        step = torch.zeros_like(theta)
        step[0, i] = 1e-6
        up, down = (model.power(few, (theta + s * step).detach()).log().sum() for s in (1, -1))
        numeric = (up - down) / (2 * step[0, i])
        assert gradient[0, i].item() == pytest.approx(numeric.item(), rel=2e-3, abs=1e-3), (
            model.parameter_names[i]
        )


def test_bad_input_is_refused() -> None:
    model = get_model("oscillation_log")
    with pytest.raises(ParameterError, match="unknown primordial model 'x'"):
        get_model("x")
    with pytest.raises(ParameterError, match="expected float64 theta of shape"):
        model.power(K, torch.zeros(2, 3, dtype=torch.float64))
    with pytest.raises(ParameterError, match="positive 1/Mpc"):
        model.power(-K, model.defaults())
    with pytest.raises(ParameterError, match="unknown parameter 'omega'"):
        model.point({"omega": 1.0})
    with pytest.raises(ParameterError, match="finite number"):
        model.point({"ns": math.nan})


def test_unphysical_points_have_probability_zero() -> None:
    linear = get_model("oscillation_linear")
    good = linear.point({"amplitude": 0.3, "growth": 0.0})
    negative = linear.point({"amplitude": 0.5, "growth": 0.9})  # (10/0.05)^0.9 * 0.5 > 1
    assert linear.valid(K, torch.cat([good, negative])).tolist() == [True, False]
    with pytest.raises(ParameterError, match=r"oscillation_linear: no valid spectrum at .*growth = 0\.9"):
        linear.require_valid(K, negative)
    excited = get_model("excited_state")
    loud = excited.point({"log10_quanta": -0.5, "ln_km": -1.0})
    assert not excited.valid(K, loud).item()
    with pytest.raises(ParameterError, match="2 A_s N0"):
        excited.require_valid(K, loud)
    assert (
        not get_model("axion_monodromy")
        .valid(K, get_model("axion_monodromy").point({"depth": 0.69, "log10_f": -4.0}))
        .item()
    )
