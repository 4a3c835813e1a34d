"""The energy that dying holes give to the gas: conserved to the last gram; and the published limits beside ours."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from cmbfit.theory.hawking.history import electromagnetic_share, injection_rate, released_energy
from cmbfit.theory.hawking.published import published_limits

YEAR = 365.25 * 86400
H0, OMEGA_M = 67.36e3 / 3.0857e22, 0.315


def time_at(z: np.ndarray) -> np.ndarray:
    """Age [s] of flat LCDM without radiation, in closed form."""
    ratio = (1 - OMEGA_M) / OMEGA_M
    return 2 / (3 * H0 * math.sqrt(1 - OMEGA_M)) * np.arcsinh(math.sqrt(ratio) * (1 + z) ** -1.5)


def particles(mass: float) -> tuple[float, float]:
    """f(M) and the share that acts on the gas, from MacGibbon (1991) and eq. 4.6 of Stoecker et al. (2018), masses in GeV."""
    kt = 1.06e13 / mass
    free = 1 / (1 + math.exp(-(math.log(kt) - math.log(0.3)) / (math.log(10) * 0.1)))
    leptons = 0.12 + 0.568 * sum(math.exp(-m / 4.53 / kt) for m in (5.11e-4, 0.1057, 1.777))
    quarks = 12 * 0.142 * sum(math.exp(-m / 4.53 / kt) for m in (2.2e-3, 4.7e-3, 9.4e-2, 1.27, 4.18, 172.7))
    pions = 0.267 * (math.exp(-0.135 / 2.66 / kt) + 2 * math.exp(-0.1396 / 2.66 / kt))
    bosons = (
        0.36 * math.exp(-80.4 / 6.04 / kt)
        + 0.18 * math.exp(-91.2 / 6.04 / kt)
        + 0.267 * math.exp(-125 / 2.66 / kt)
    )
    f = 0.882 + leptons + bosons + free * (quarks + 0.96 * math.exp(-0.6 / 6.04 / kt)) + (1 - free) * pions
    return f, 0.55 * free + (1 - free) * (f - 0.882) / f


@pytest.mark.parametrize("mass", [1e14, 3e14])
def test_a_dying_hole_gives_all_of_its_energy(mass: float) -> None:
    """Mass and energy by scipy, in the cube of the mass, which reaches nothing after a finite time."""

    def rhs(_: float, y: np.ndarray) -> list[float]:
        now = max(y[0], 1e-9) ** (1 / 3)
        f, share = particles(mass * now)
        loss = 5.34e25 * f / mass**3  # d(m^3)/dt = -3 loss for m = M/M_i
        return [-3 * loss, share * loss / now**2]

    def dead(_: float, y: np.ndarray) -> float:
        return y[0] - 1e-8

    dead.terminal = True  # type: ignore[attr-defined]
    run = solve_ivp(
        rhs, (0, 1e19), [1.0, 0.0], rtol=1e-8, atol=1e-12, events=dead, dense_output=True, first_step=1e9
    )
    life = run.t[-1]
    energy = released_energy(mass)
    # particle masses differ in their third digit; and at 1e-8 of M^3 0.2% of the energy is left
    at = np.array([0.1, 0.5, 0.875, 0.99]) * life
    assert energy(at) == pytest.approx(run.sol(at)[1], rel=2e-3)
    assert energy(np.array([2 * life]))[0] == pytest.approx(run.y[1, -1] + 0.55 * 1e-8 ** (1 / 3), rel=2e-3)
    # what a loop that stops at half the mass never gives
    half = energy(np.array([2 * life]))[0] - energy(np.array([0.876 * life]))[0]
    assert 0.5 < half / energy(np.array([2 * life]))[0] < 0.6


def test_share_at_1e14_grams() -> None:
    """0.658 there and not the 0.55 of free quarks, which is the limit of light holes."""
    assert electromagnetic_share(1e14) == pytest.approx(0.658, abs=1e-3)
    assert electromagnetic_share(1e12) == pytest.approx(0.55, abs=1e-4)


@pytest.mark.parametrize("mass", [1e14, 3e14])
def test_the_table_of_rates_holds_all_of_the_energy(mass: float) -> None:
    """int rate dt = E, though the last burst is shorter than any step; 3e14 g die at z = 2.7, near the table's end."""
    z = np.concatenate([np.arange(0.0, 100.0, 0.25), np.geomspace(100.0, 2e4, 2200)])
    rate = injection_rate(mass, z, time_at)
    fine = np.linspace(0, 2e4, 1_000_001)
    per_z = np.interp(fine, z, rate) * -np.gradient(time_at(fine), fine)
    assert np.trapezoid(per_z, fine) == pytest.approx(released_energy(mass)(np.array([1e19]))[0], rel=3e-3)
    assert rate.min() >= -1e-12 * rate.max()


def test_published_limits_are_those_of_their_papers() -> None:
    """Values that abstracts and figures print, in grams: solar masses are converted."""
    curves = {c.label: c for c in published_limits()}
    assert len(curves) == 13
    clark = curves["CMB: Clark et al. 2017"]
    assert clark.mass_g[0] == pytest.approx(9.81e14, rel=1e-3)  # 4.9328e-19 solar masses
    # Clark et al. 2017: f < 1e-3 at 1e16 g, 1e-1 at 3e16 g within the reading of a figure
    assert clark.at(1e16) == pytest.approx(1e-3, rel=0.1)
    # limits of the CMB and of Voyager agree within a factor of two where both are strong (Boudaud & Cirelli 2019, fig. 2)
    ratio = clark.at(3e15) / curves["Voyager: Boudaud & Cirelli 2019"].at(3e15)
    assert 0.5 < ratio < 2
    assert math.isnan(clark.at(1e14))
    assert all((np.diff(c.mass_g) > 0).all() and (c.fraction > 0).all() for c in curves.values())
    assert all("arXiv:" in c.reference for c in curves.values())
