"""The bounce against its modes solved by scipy, through bounce, kinetic era and de Sitter, to the end of inflation.

Own solution: conformal time throughout, the adiabatic vacuum of the contracting branch instead of Hankel functions, de Sitter
integrated, no Bogoliubov coefficients. Units of 1/k_B.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad, solve_ivp

from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.bounce_lqc import conformal_time, transfer


def scale_factor(t: float) -> float:
    return (1 + 3 * t * t) ** (1 / 6)


def end_of_inflation(t: float) -> float:
    """Conformal time from the bounce to the end of inflation that starts at t, a and H continuous: eta_I + 1/(aH)."""
    first = quad(lambda u: math.cosh(u) / scale_factor(math.sinh(u)), 0, math.asinh(t), epsrel=1e-12)[0]
    return first + (1 + 3 * t * t) ** (5 / 6) / t


def solved(k: float, t_join: float) -> float:
    """P/P0 of a mode that starts in the vacuum deep in the contraction."""
    # there k y > 120, y = a/(2 a'): v'' + (k^2 + 1/4y^2) v = 0, and the WKB vacuum below errs by its next order, 1/(k y)^3
    t0 = -max(1000.0, (120 / k / 1.249) ** 1.5)

    def rhs(_: float, y: np.ndarray) -> list[complex]:
        a = scale_factor(y[0].real)
        return [a, y[2], -(k * k - (1 - y[0] ** 2) / a**10) * y[1]]

    def arrived(_: float, y: np.ndarray) -> float:
        return y[0].real - t_join

    arrived.terminal = True  # type: ignore[attr-defined]
    inverse = 2 * t0 / (1 + 3 * t0 * t0) ** (5 / 6)  # 1/y < 0 of the contraction
    w = math.sqrt(k * k + inverse**2 / 4)
    slope = -(inverse**3) / 4 / (2 * w)  # dw/d eta
    v = 1 / math.sqrt(2 * w)
    begin = np.array([t0, v, v * (-1j * w - slope / (2 * w))])
    run = solve_ivp(rhs, (0, 1e9), begin, method="DOP853", rtol=1e-9, atol=1e-12, events=arrived)
    v, dv = run.y[1:, -1]
    tau = -((1 + 3 * t_join**2) ** (5 / 6)) / t_join
    end = -1e-3 / k
    late = solve_ivp(
        lambda s, y: [y[1], -(k * k - 2 / s**2) * y[0]], (tau, end), np.array([v, dv]),
        method="DOP853", rtol=1e-9, atol=1e-12,
    ).y[0, -1]  # fmt: skip
    return 2 * k * abs(late) ** 2 * (k * end) ** 2


def got(k: tuple[float, ...] | np.ndarray, t_join: float) -> np.ndarray:
    x = torch.tensor([list(k)], dtype=torch.float64)
    return transfer(x, torch.tensor([[end_of_inflation(t_join)]], dtype=torch.float64))[0].numpy()


def test_late_inflation_interferes_as_solved() -> None:
    k = np.array([0.6, 0.731, 0.9, 1.2, 1.7])
    want = np.array([solved(x, 1000.0) for x in k])
    assert np.std(want) > 0.2  # a wrong phase of the interference has an error of that size
    # corrections to the kinetic era at the joint, 1/(3 t^2) = 3e-7, and at |t| = 200 of the tables, 1e-5, whose phase
    # 2 k eta = 1500 turns by k y/t^2 at most
    assert got(k, 1000.0) == pytest.approx(want, abs=2e-3)


def test_modes_that_inflation_catches_before_they_settle_are_suppressed() -> None:
    k = (0.003, 0.01, 0.03, 0.2)
    want = [solved(x, 10.0) for x in k]
    assert want[0] == pytest.approx(0.0013, abs=5e-5)  # found by others with another code
    assert want[1] == pytest.approx(0.036, abs=5e-4)
    assert want[3] == pytest.approx(1.21, abs=5e-3)
    # the kinetic era at the joint is exact up to 1/(3 t^2) = 0.3% in a''/a
    assert got(k, 10.0) == pytest.approx(want, rel=1e-2)
    k = (0.0003, 0.003, 0.012, 0.1)
    assert got(k, 1000.0) == pytest.approx([solved(x, 1000.0) for x in k], rel=1e-3)


def test_the_energy_of_inflation_says_how_long_after_the_bounce_it_ends() -> None:
    """H = pi M_p sqrt(A_s r/2) on H^2 = rho/3 (1 - rho/rho_c) with rho_c = 0.41 m_Pl^4, m_Pl^2 = 8 pi M_p^2, rho ~ a^-6."""
    for a_s, r in ((2.1e-9, 0.036), (2.1e-9, 1e-3)):
        hubble = math.pi * math.sqrt(a_s * r / 2)
        rho_c = 0.41 * (8 * math.pi) ** 2
        share = 2 * 3 * hubble**2 / rho_c / (1 + math.sqrt(1 - 4 * 3 * hubble**2 / rho_c))  # rho/rho_c
        t = math.sqrt((1 / share - 1) / 3)
        eta = conformal_time(*(torch.tensor(x, dtype=torch.float64) for x in (a_s, r))).item()
        assert eta == pytest.approx(end_of_inflation(t), rel=1e-6)
    assert 1.55e4 < conformal_time(*torch.tensor([2.1e-9, 0.036], dtype=torch.float64)).item() < 1.65e4


def test_the_registered_model_is_the_solution_averaged_over_what_no_data_resolve() -> None:
    """Its r is one that data allow: only the mean over the interference, 1 + 2N, is left where the CMB looks."""
    model = get_model("bounce_lqc")
    prior = model.priors["r"]
    assert prior.high == 0.036  # 95% of BICEP/Keck 2018
    k_b = math.exp(-6.0)
    k = torch.tensor([0.2, 0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    got = model.power(k * k_b, model.point({"ln_kb": -6.0, "ns": 1.0, "logA": math.log(10)}))[0] / 1e-9
    # the printed numbers of N have 5 digits
    quanta = [2.1009, 0.68010, 0.151131, 9.77862e-3, 6.91248e-4]
    assert ((got - 1) / 2).tolist() == pytest.approx(quanta, rel=1e-4)
    # and direct solutions over whole turns of their interference, pi/eta, have that mean
    eta = end_of_inflation(1000.0)
    turn = [solved(0.5 + i * math.pi / eta / 3, 1000.0) for i in range(3)]
    assert np.mean(turn) == pytest.approx(1 + 2 * quanta[1], rel=5e-3)  # Y and N move by 0.3% over a turn
