"""Hawking radiation against Page's published numbers, low-frequency theory and an independent integration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import constants
from scipy.integrate import solve_ivp
from scipy.special import lambertw

from cmbfit.errors import ParameterError
from cmbfit.theory.hawking import (
    emission,
    greybody,
    lifetime_massless,
    lifetime_standard_model,
    page_curve,
    relevant_mass,
    temperature_gev,
    temperature_kelvin,
)
from cmbfit.theory.hawking.black_hole import entropy, horizon_radius_m
from cmbfit.theory.hawking.lifetime import degrees_of_freedom
from cmbfit.theory.hawking.rates import combined_entropy_ratio


def test_temperature_and_entropy() -> None:
    assert temperature_gev(1e15) == pytest.approx(1.05726e-2, rel=1e-4)
    assert temperature_kelvin(1.98841e33) == pytest.approx(6.1701e-8, rel=1e-4)
    assert horizon_radius_m(1.98841e33) == pytest.approx(2953.25, rel=1e-4)
    # first law: dE = T dS
    m, step = 1e15, 1e9
    heat = temperature_kelvin(m) * constants.k * (entropy(m + step) - entropy(m - step))
    assert heat == pytest.approx(2 * step * 1e-3 * constants.c**2, rel=1e-6)
    with pytest.raises(ParameterError, match="positive number of grams"):
        temperature_kelvin(-1.0)


def test_transmission() -> None:
    waves = [(0, 0), (0.5, 0.5), (1, 1), (2, 2)]
    grey = greybody(torch.tensor([0.1, 0.2, 0.25, 0.3], dtype=torch.float64), waves)
    got = grey.gamma.numpy()
    # the references are by fixed-step RK4, which damps the far wave by 1.2e-4; the next test is sharper
    assert got[0, :3] == pytest.approx([0.32453, 0.040625, 1.97608e-3], rel=2e-4)
    assert (got[1, 1], got[1, 2], got[1, 3]) == pytest.approx((0.58885, 0.129989, 8.6770e-4), rel=2e-4)
    assert (got[2, 2], got[3, 3]) == pytest.approx((0.471074, 0.0547971), rel=2e-4)
    assert grey.flux_error < 1e-7
    assert np.all(np.diff(got, axis=0) > 0)
    assert got.max() < 1


def test_transmission_by_scipy_in_the_tortoise_coordinate() -> None:
    # independent: the untransformed equation of a photon with l = 1, from r* = -40 to far away
    w, ell = 0.25, 1

    def radius(star: float) -> float:
        # r* = r + 2 ln(r/2 - 1), inverted with Lambert's function; beyond its range of floats, asymptotically
        argument = star / 2 - 1
        return 2 + 2 * float(lambertw(math.exp(argument)).real) if argument < 600 else star

    def rhs(star: float, y: np.ndarray) -> np.ndarray:
        r = radius(star)
        return np.array([y[1], -(w**2 - (1 - 2 / r) * ell * (ell + 1) / r**2) * y[0]])

    end = 600.0
    got = solve_ivp(rhs, (-40, end), np.array([1, -1j * w]), method="DOP853", rtol=1e-9, atol=1e-12).y[:, -1]
    r = radius(end)
    k = math.sqrt(w**2 - (1 - 2 / r) * ell * (ell + 1) / r**2)
    incoming = k / 4 * abs(got[0] + 1j * got[1] / k) ** 2
    want = greybody(torch.tensor([w], dtype=torch.float64), [(1, 1)]).gamma.item()
    # at r* = -40 the potential is 2e-9 of w^2; at r = 600 WKB is good to V'/4k^3 = 3e-7
    assert w / incoming == pytest.approx(want, rel=2e-6)


@pytest.mark.parametrize(("spin", "correction"), [(0.0, 0.35), (0.5, 0.1), (1.0, 0.1), (2.0, 0.12)])
def test_low_frequencies(spin: float, correction: float) -> None:
    w = torch.tensor([0.01, 0.0025], dtype=torch.float64)
    gamma = greybody(w, [(spin, spin)]).gamma[:, 0].tolist()
    # Page (1976): the leading term of Gamma for the lowest l at M w << 1
    coefficient, power = {0.0: (16.0, 2), 0.5: (1.0, 2), 1.0: (64 / 9, 4), 2.0: (256 / 225, 6)}[spin]
    off = [g / (coefficient * x**power) - 1 for g, x in zip(gamma, w.tolist(), strict=True)]
    assert abs(off[0]) < correction
    assert abs(off[1]) < 0.4 * abs(off[0])


# L M^2, M dN/dt, <w> M, share of the lowest l
TABLE = {
    "scalar": (7.4392e-5, 6.647e-4, 0.1119, 0.9008),
    "neutrino": (4.0919e-5, 2.4286e-4, 0.1685, 0.9626),
    "photon": (3.3641e-5, 1.4797e-4, 0.2274, 0.9799),
    "graviton": (3.8370e-6, 1.1092e-5, 0.3459, 0.9906),
}


@pytest.mark.parametrize("name", TABLE)
def test_rates(name: str) -> None:
    got = emission(name)
    values = (got.luminosity, got.number, got.mean_frequency, got.lowest_share)
    assert values == pytest.approx(TABLE[name], rel=4e-4)  # the scalar's low frequencies: 3e-4


def test_page_1976() -> None:
    parts = {n: emission(n).luminosity for n in ("neutrino", "photon", "graviton")}
    total = 4 * parts["neutrino"] + parts["photon"] + parts["graviton"]
    assert total == pytest.approx(2.011e-4, rel=1e-3)
    shares = [4 * parts["neutrino"] / total, parts["photon"] / total, parts["graviton"] / total]
    assert shares == pytest.approx([0.814, 0.167, 0.019], abs=5e-4)
    # a blackbody of area 16 pi M^2 would be 1.62 times too faint
    assert parts["photon"] * 15360 * math.pi == pytest.approx(1.62, abs=0.01)


def test_entropy_and_page_curve() -> None:
    ratios = {"photon": 1.50026, "graviton": 1.34817, "neutrino": 1.6391, "scalar": 1.8537}
    for name, want in ratios.items():
        assert emission(name).entropy_ratio == pytest.approx(want, rel=5e-4)
    assert combined_entropy_ratio("photon", "graviton") == pytest.approx(1.48469, rel=5e-5)
    curve = page_curve()
    assert (curve.page_entropy, curve.page_time) == (
        pytest.approx(0.5975, abs=1e-4),
        pytest.approx(0.5381, abs=1e-4),
    )
    assert curve.entanglement[0] == 0
    assert curve.entanglement[-1] == 0
    top = curve.entanglement.argmax()
    assert curve.time[top] == pytest.approx(curve.page_time, abs=2.5e-3)


def test_lifetimes() -> None:
    assert lifetime_massless(1e15) == pytest.approx(1.952e11, rel=1e-3)
    got = degrees_of_freedom(np.array([1e17, 1e16, 1e15, 5e14, 1e14]))
    assert got == pytest.approx(
        [1.198, 1.5127, 1.6355, 1.8292, 2.584], rel=3e-3
    )  # other quark and muon masses
    lives = [lifetime_standard_model(m) for m in (1e13, 3e13, 1e14, 5e14, 1e15)]
    assert lives == pytest.approx([1.83e4, 6.41e5, 66.5e6, 12.6e9, 115e9], rel=0.01)
    assert relevant_mass() == pytest.approx(5.14e14, rel=0.005)
    with pytest.raises(ParameterError, match="expected a mass in"):
        lifetime_standard_model(1e3)


def test_bad_waves() -> None:
    w = torch.tensor([0.1], dtype=torch.float64)
    for wave in ((1.5, 1.5), (1, 0), (0.5, 1)):
        with pytest.raises(ParameterError, match="expected a spin of"):
            greybody(w, [wave])
    with pytest.raises(ParameterError, match="positive frequencies"):
        greybody(-w, [(0, 0)])
    with pytest.raises(ParameterError, match="unknown field 'axion'"):
        emission("axion")
