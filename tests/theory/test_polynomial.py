"""Legendre features against numpy's Legendre polynomials and the binomial theorem."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre

from cmbfit.theory.emulator.polynomial import LegendreFeatures, weighted_degrees

LOW, HIGH = [-1.0, 2.0, 0.5], [3.0, 2.5, 10.0]
BOX = list(zip(LOW, HIGH, strict=True))


@pytest.mark.parametrize(("n", "degree"), [(1, 7), (3, 4), (6, 5), (6, 1)])
def test_equal_weights_keep_all_terms_up_to_a_total_degree(n: int, degree: int) -> None:
    degrees = weighted_degrees([1.0] * n, degree)
    assert degrees.shape == (math.comb(n + degree, degree), n)
    assert len({tuple(d) for d in degrees.tolist()}) == len(degrees)
    assert degrees.sum(1).max() == degree


def test_weights_bound_the_weighted_degree() -> None:
    weights = [1.0, 2.0, 0.5]
    degrees = weighted_degrees(weights, 3)
    # the lattice points of the simplex, counted one by one: sum over b of (pairs a + c/2 <= 3 - 2b)
    expected = {(a, b, c) for a in range(4) for b in range(2) for c in range(7) if a + 2 * b + c / 2 <= 3}
    assert {tuple(d) for d in degrees.tolist()} == expected


def test_features_are_products_of_legendre_polynomials(rng: np.random.Generator) -> None:
    degrees = weighted_degrees([1.0, 1.0, 0.7], 5)
    theta = rng.uniform(LOW, HIGH, (11, 3))
    got = LegendreFeatures(BOX, degrees)(torch.from_numpy(theta)).numpy()
    assert got.shape == (len(degrees), 11)
    for row, point in enumerate(theta):
        for term, d in enumerate(degrees):
            product = 1.0
            for x, low, high, order in zip(point, LOW, HIGH, d, strict=True):
                product *= legendre.legval(2 * (x - low) / (high - low) - 1, [0] * int(order) + [1])
            assert got[term, row] == pytest.approx(product, abs=1e-13)


def test_features_are_orthogonal_over_the_box() -> None:
    """Gauss-Legendre quadrature integrates products exactly: (f_i, f_j) = delta_ij prod 1 / (2 d + 1)."""
    degrees = weighted_degrees([1.0, 1.0], 4)
    x, w = legendre.leggauss(6)
    grid = np.stack([a.ravel() for a in np.meshgrid(x, x, indexing="ij")], axis=1)
    weight = np.outer(w, w).ravel() / 4
    f = LegendreFeatures([(-1, 1)] * 2, degrees)(torch.from_numpy(grid)).numpy()
    np.testing.assert_allclose((f * weight) @ f.T, np.diag(1 / (2 * degrees + 1).prod(1)), atol=1e-14)


def test_gradients_equal_legendre_derivatives(rng: np.random.Generator) -> None:
    degrees = weighted_degrees([1.0, 1.0, 1.0], 4)
    point = rng.uniform(LOW, HIGH)
    jacobian = torch.autograd.functional.jacobian(
        lambda t: LegendreFeatures(BOX, degrees)(t)[:, 0], torch.from_numpy(point)[None]
    )[:, 0].numpy()
    scaled = [2 * (x - a) / (b - a) - 1 for x, a, b in zip(point, LOW, HIGH, strict=True)]
    for term, d in enumerate(degrees.tolist()):
        series = [np.eye(order + 1)[order] for order in d]
        for i in range(3):
            product = legendre.legval(scaled[i], legendre.legder(series[i])) * 2 / (HIGH[i] - LOW[i])
            for j in {0, 1, 2} - {i}:
                product *= legendre.legval(scaled[j], series[j])
            assert jacobian[term, i] == pytest.approx(product, abs=1e-11)
