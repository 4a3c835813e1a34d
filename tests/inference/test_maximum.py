"""The optimiser on posteriors whose maximum has a closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmbfit.errors import SamplerError
from cmbfit.inference.maximum import find_maximum, laplace_factor
from cmbfit.likelihood import Gaussian, GaussianBandpowers, Posterior, Uniform
from tests.inference.toy import COVARIANCE, MEAN, SIGMA, GaussianToy
from tests.likelihood.helpers import LineTheory, info, random_covariance


def named(names: tuple[str, ...], values: np.ndarray) -> dict[str, float]:
    return dict(zip(names, values.tolist(), strict=True))


def test_maximum_of_a_correlated_gaussian_is_its_mean() -> None:
    toy = GaussianToy()
    first = MEAN + np.array([3, -2, 2.5]) * SIGMA
    best = find_maximum(toy, named(toy.parameters, first), named(toy.parameters, SIGMA))  # type: ignore[arg-type]
    found = np.array([best.point[p] for p in toy.parameters])
    # L-BFGS stops at gradients of 1e-6 in units of sigma, times the condition number of the correlations
    assert (np.abs(found - MEAN) / SIGMA).max() < 1e-4
    assert best.log_prob == pytest.approx(0, abs=1e-7)
    assert best.chi2["toy"] == pytest.approx(0, abs=1e-7)


def test_maximum_of_linear_bandpowers_solves_the_normal_equations(rng: np.random.Generator) -> None:
    line = LineTheory(rng)
    windows, covariance = rng.uniform(0, 0.2, (5, 21)), 0.01 * random_covariance(rng, 5)
    data = windows @ (line.base + np.array([0.8, -0.4]) @ line.slopes) + 0.1 * rng.standard_normal(5)
    like = GaussianBandpowers(info(), {"tt": windows}, data, covariance)
    posterior = Posterior(line, [like], {"ombh2": Uniform(-5, 5), "ns": Gaussian(0.5, 0.7)})
    best = find_maximum(posterior, {"ombh2": 0.0, "ns": 0.0}, {"ombh2": 0.5, "ns": 0.5})
    design = windows @ line.slopes.T
    inverse = np.linalg.inv(covariance)
    fisher = design.T @ inverse @ design + np.diag([0, 1 / 0.7**2])
    right = design.T @ inverse @ (data - windows @ line.base) + np.array([0, 0.5 / 0.7**2])
    expected = np.linalg.solve(fisher, right)
    sigma = np.sqrt(np.diag(np.linalg.inv(fisher)))
    assert (np.abs(np.array(list(best.point.values())) - expected) / sigma).max() < 1e-4
    residual = data - windows @ line.base - design @ expected
    assert best.chi2["toy"] == pytest.approx(residual @ inverse @ residual, rel=1e-6)


def test_a_maximum_beyond_the_prior_ends_on_its_wall() -> None:
    toy = GaussianToy()
    wall = MEAN[2] + 2 * SIGMA[2]
    toy.priors["ns"] = Uniform(wall, 2.0)
    first = MEAN + np.array([0, 0, 3]) * SIGMA
    best = find_maximum(toy, named(toy.parameters, first), named(toy.parameters, SIGMA))  # type: ignore[arg-type]
    assert best.point["ns"] == pytest.approx(wall, rel=1e-12)
    # Mahalanobis distance of a plane two marginal sigma away
    assert best.log_prob == pytest.approx(-2.0, abs=1e-6)


def test_the_planck_maximum_is_stationary_and_near_the_published_fit(compiled: Posterior) -> None:
    start = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.0409, "tau": 0.055, "logA": 3.045, "ns": 0.965, "A_planck": 1.0}  # fmt: skip
    sigma = {"ombh2": 1.5e-4, "omch2": 1.4e-3, "theta_mc": 3.1e-4, "tau": 0.0076, "logA": 0.016, "ns": 0.0044, "A_planck": 0.0025}  # fmt: skip
    best = find_maximum(compiled, start, sigma)
    # Planck 2018 VI table 2, TT,TE,EE+lowE means; a maximum and a mean differ by a fraction of a sigma
    published = {
        "ombh2": 0.02236,
        "omch2": 0.1202,
        "theta_mc": 1.0409,
        "tau": 0.0544,
        "logA": 3.045,
        "ns": 0.9649,
    }
    for name, value in published.items():
        assert abs(best.point[name] - value) < 0.5 * sigma[name], name
    # chi2 of plik-lite at Planck's own point, with other low-l data: within a few units
    assert best.chi2["planck2018_plik_lite_ttteee"] == pytest.approx(584.2, abs=3)
    there = torch.tensor([[best.point[p] for p in compiled.parameters]], dtype=torch.float64)
    for i, name in enumerate(compiled.parameters):
        for side in (-1, 1):
            moved = there.clone()
            moved[0, i] += side * 0.1 * sigma[name]
            assert compiled.log_prob(moved).item() < best.log_prob, name


def test_a_start_of_zero_probability_is_refused() -> None:
    class Nowhere(GaussianToy):
        def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
            return torch.full((len(theta),), -torch.inf, dtype=torch.float64)

    toy = Nowhere()
    with pytest.raises(SamplerError, match="starting point has zero probability"):
        find_maximum(toy, named(toy.parameters, MEAN), named(toy.parameters, SIGMA))  # type: ignore[arg-type]


def test_laplace_covariance_of_a_correlated_gaussian_is_its_own() -> None:
    """From widths that are wrong by factors of 3 both ways and know no correlation."""
    toy = GaussianToy()
    scale = named(toy.parameters, SIGMA * np.array([3, 0.3, 1]))
    factor = laplace_factor(toy, named(toy.parameters, MEAN), scale)  # type: ignore[arg-type]
    # gradients of a quadratic are linear: rounding times the condition number
    np.testing.assert_allclose(factor @ factor.T, COVARIANCE, rtol=1e-8)


def test_laplace_covariance_beside_a_wall_uses_the_other_side() -> None:
    class Half(GaussianToy):
        def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
            return super().log_prob(theta).masked_fill(theta[:, 2] > MEAN[2], -np.inf)

    toy = Half()
    factor = laplace_factor(toy, named(toy.parameters, MEAN), named(toy.parameters, SIGMA))  # type: ignore[arg-type]
    np.testing.assert_allclose(factor @ factor.T, COVARIANCE, rtol=1e-8)


def test_several_starts_find_the_higher_of_two_maxima(rng: np.random.Generator) -> None:
    class Two(GaussianToy):
        """A second, higher peak 4 sigma away in ns alone."""

        def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
            other = theta - torch.tensor([0, 0, 4 * SIGMA[2]], dtype=torch.float64)
            return torch.logaddexp(super().log_prob(theta), 2 + super().log_prob(other))

    toy = Two()
    first, scale = named(toy.parameters, MEAN), named(toy.parameters, SIGMA)
    alone = find_maximum(toy, first, scale)  # type: ignore[arg-type]
    best = find_maximum(toy, first, scale, starts=4, rng=rng)  # type: ignore[arg-type]
    assert alone.point["ns"] == pytest.approx(MEAN[2], abs=0.5 * SIGMA[2])
    assert best.point["ns"] == pytest.approx(MEAN[2] + 4 * SIGMA[2], abs=0.5 * SIGMA[2])
    assert best.starts == 4
    assert 1 <= best.agreed < 4
    with pytest.raises(SamplerError, match="random generator"):
        find_maximum(toy, first, scale, starts=2)  # type: ignore[arg-type]
