"""Blackbody, distortions and FIRAS against constants of nature, published values and an independent fit."""

from __future__ import annotations

import emcee
import numpy as np
import pytest
from scipy import constants

from cmbfit.errors import ConfigError
from cmbfit.theory.blackbody import (
    fit_firas,
    load_firas,
    mu_shape,
    mu_shape_fixed_temperature,
    planck,
    temperature_shape,
    y_shape,
)
from cmbfit.theory.blackbody.distortions import MU_NULL, from_history, from_single_release
from cmbfit.theory.blackbody.firas import CORRELATION
from cmbfit.theory.blackbody.law import energy_density, photon_density, reduced_frequency

T = 2.72548
NU = np.array([60.0, 150.0, 353.0, 600.0]) * 1e9


def test_planck_law_and_its_integrals() -> None:
    nu = np.linspace(1e8, 4e12, 400_001)
    intensity = planck(nu, T) * 1e-20
    u = 4 * np.pi / constants.c * np.trapezoid(intensity, nu)
    n = 4 * np.pi / constants.c * np.trapezoid(intensity / (constants.h * nu), nu)
    assert u == pytest.approx(energy_density(T), rel=1e-6) == pytest.approx(4.17468e-14, rel=1e-5)
    # the photons below 0.1 GHz are missing from the sum: 3e-4 of x^2/2 over 2.4
    assert n == pytest.approx(photon_density(T), rel=1e-5) == pytest.approx(410.718e6, rel=1e-5)
    peak = nu[intensity.argmax()]
    assert peak == pytest.approx(160.229e9, abs=2e7)
    assert intensity.max() * 1e20 == pytest.approx(383.869, rel=1e-5)
    astropy = pytest.importorskip("astropy.modeling.physical_models")
    from astropy import units

    peer = astropy.BlackBody(T * units.K)(NU * units.Hz).to_value("MJy/sr")
    assert planck(NU, T) == pytest.approx(peer, rel=1e-10)


@pytest.mark.parametrize(
    ("shape", "amplitude", "values"),
    [
        (temperature_shape, 1e-6, [274.91, 1086.04, 808.49, 86.81]),
        (y_shape, 1e-6, [-499.60, -1035.34, 1811.66, 569.97]),
        (mu_shape, 1e-5, [-1348.03, 842.15, 2387.19, 313.80]),
        (mu_shape_fixed_temperature, 1e-5, [-2602.00, -4111.74, -1300.68, -82.16]),
    ],
)
def test_distortion_shapes(shape: object, amplitude: float, values: list[float]) -> None:
    got = shape(NU, T) * amplitude * 1e6  # type: ignore[operator]  # Jy/sr
    assert got == pytest.approx(values, rel=1e-4)  # printed to 0.01 Jy/sr


def test_distortions_follow_from_the_occupation_number() -> None:
    nu = np.linspace(20e9, 900e9, 60)
    step = 1e-4
    slope = (planck(nu, T * (1 + step)) - planck(nu, T * (1 - step))) / (2 * step)
    assert temperature_shape(nu, T) == pytest.approx(slope, rel=1e-6)
    # a Bose-Einstein spectrum 1/(e^(x + mu) - 1)
    x = reduced_frequency(nu, T)
    mu = 1e-6
    bose = planck(nu, T) * np.expm1(x) / np.expm1(x + mu)
    assert (bose - planck(nu, T)) / mu == pytest.approx(mu_shape_fixed_temperature(nu, T), rel=1e-4)


def test_energy_and_number_that_a_distortion_carries() -> None:
    nu = np.linspace(1e7, 5e12, 500_001)
    u = np.trapezoid(planck(nu, T), nu)
    # y adds 4y of energy; mu at fixed energy and number of the scattering photons carries mu/1.401
    assert np.trapezoid(y_shape(nu, T), nu) / u == pytest.approx(4, rel=1e-5)
    assert np.trapezoid(mu_shape(nu, T), nu) / u == pytest.approx(1 / 1.401, rel=1e-3)
    for shape in (y_shape, mu_shape):  # neither changes the number of photons
        number = np.trapezoid(shape(nu, T) / nu, nu) / np.trapezoid(planck(nu, T) / nu, nu)
        assert abs(number) < 1e-4


def test_nulls() -> None:
    scale = constants.k * T / constants.h / 1e9
    assert MU_NULL * scale == pytest.approx(124.50, abs=0.01)
    assert y_shape(np.array([217.49e9, 217.53e9]), T) == pytest.approx([0, 0], abs=1e5)
    assert np.prod(np.sign(y_shape(np.array([217.49e9, 217.53e9]), T))) == -1


def test_energy_release() -> None:
    mu, y = from_single_release(5e5, 1e-5)
    assert (mu, y) == (pytest.approx(1.3568e-5, rel=1e-4), pytest.approx(1.015e-8, rel=1e-3))
    # a narrow burst is a single release; early energy thermalises, late energy is y = Q/4
    width = 0.01
    burst = from_history(
        lambda z: 1e-5 * np.exp(-0.5 * (np.log(z / 5e5) / width) ** 2) / np.sqrt(2 * np.pi) / width
    )
    assert burst[0] == pytest.approx(mu, rel=1e-3)
    assert from_single_release(9e6, 1e-5)[0] < 1e-20
    assert from_single_release(2e3, 1e-5)[1] == pytest.approx(0.25e-5, rel=1e-3)


@pytest.mark.parametrize(
    ("parameters", "chi2", "values", "errors"),
    # dT in uK, mu in 1e-5, y in 1e-6, galaxy in 1e-3
    [
        ((), 49.774, [], []),
        (("dT",), 49.773, [0.26], [9.27]),
        (("dT", "galaxy"), 49.773, [0.32, -0.7], [9.58, 30.2]),
        (("dT", "mu", "galaxy"), 49.647, [-9.0, -1.311, None], [27.9, 3.696, None]),
        (("dT", "y", "galaxy"), 49.769, [0.42, -0.227, None], [9.73, 3.896, None]),
    ],
)
def test_fits(parameters: tuple[str, ...], chi2: float, values: list[float], errors: list[float]) -> None:
    fit = fit_firas(load_firas(), parameters)
    scale = {"dT": 1e6, "mu": 1e5, "y": 1e6, "galaxy": 1e3}
    assert fit.chi2 == pytest.approx(chi2, abs=1e-3)
    for name, x, e, want, sigma in zip(parameters, fit.values, fit.errors, values, errors, strict=True):
        if want is not None:
            assert e * scale[name] == pytest.approx(sigma, rel=0.005)
            assert x * scale[name] == pytest.approx(want, abs=0.01 * sigma)


def test_more_about_the_fits() -> None:
    data = load_firas()
    fit = fit_firas(data, ("dT", "mu", "galaxy"))
    assert fit.correlation("dT", "mu") == pytest.approx(0.939, abs=1e-3)
    assert fit.upper_limit("mu") == pytest.approx(8.6e-5, rel=0.01)  # published: 9e-5
    assert fit_firas(data, ("dT", "galaxy")).probability == pytest.approx(0.164, abs=1e-3)
    # both mu shapes differ by a temperature shift, so mu is the same
    other = fit_firas(data, ("dT", "mu_energy", "galaxy"))
    assert other.values[1] == pytest.approx(fit.values[1], rel=1e-8)
    assert other.values[0] - fit.values[0] == pytest.approx(-fit.values[1] / MU_NULL * 2.725, rel=1e-6)
    diagonal = fit_firas(load_firas(diagonal=True), ("dT", "galaxy"))
    assert (diagonal.chi2, diagonal.errors[0] * 1e6) == (
        pytest.approx(45.019, abs=1e-3),
        pytest.approx(8.06, abs=0.01),
    )
    assert np.linalg.eigvalsh(data.covariance / np.outer(data.sigma, data.sigma)).min() == pytest.approx(
        0.0724, abs=1e-4
    )
    assert len(CORRELATION) == 43
    with pytest.raises(ConfigError, match="unknown parameter 'kappa'"):
        fit_firas(data, ("kappa",))
    with pytest.raises(ConfigError, match="given twice"):
        fit_firas(data, ("dT", "dT"))


@pytest.mark.slow
def test_emcee_reproduces_the_closed_form() -> None:
    data = load_firas()
    fit = fit_firas(data, ("dT", "mu", "galaxy"))
    inverse, design = np.linalg.inv(data.covariance), np.stack([data.template(p) for p in fit.parameters], 1)

    def log_prob(points: np.ndarray) -> np.ndarray:
        residual = data.residual - points @ design.T
        return -0.5 * np.einsum("ni,ij,nj->n", residual, inverse, residual)

    start = fit.values + fit.errors * np.random.default_rng(1).standard_normal((32, 3))
    moves = [(emcee.moves.DEMove(), 0.8), (emcee.moves.DESnookerMove(), 0.2)]
    sampler = emcee.EnsembleSampler(32, 3, log_prob, moves=moves, vectorize=True)
    sampler.random_state = np.random.RandomState(1).get_state()
    sampler.run_mcmc(start, 1500)
    draws = sampler.get_chain(discard=300, flat=True)
    # some 32 * 1200 / 40 = 1000 independent draws: the mean to 3%, the width to 2.2% of a sigma (one sigma)
    assert (draws.mean(0) - fit.values) / fit.errors == pytest.approx(np.zeros(3), abs=0.1)
    assert draws.std(0) / fit.errors == pytest.approx(np.ones(3), abs=0.07)
    assert np.corrcoef(draws.T)[0, 1] == pytest.approx(0.939, abs=0.015)


def test_injected_distortion_is_found() -> None:
    data = load_firas()
    rng = np.random.default_rng(7)
    noise = rng.multivariate_normal(np.zeros(43), data.covariance, 400)
    pulls = []
    for row in noise:
        sky = type(data)(
            data.wavenumber, row + 3e-4 * data.template("mu"), data.sigma, data.galaxy, data.covariance
        )
        fit = fit_firas(sky, ("dT", "mu", "galaxy"))
        pulls.append((fit.values[1] - 3e-4) / fit.errors[1])
    assert np.mean(pulls) == pytest.approx(0, abs=0.15)  # 3 sigma of 400
    assert np.std(pulls) == pytest.approx(1, abs=0.11)
