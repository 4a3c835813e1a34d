"""Stokes parameters of waves with known polarisation."""

from __future__ import annotations

import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.theory import stokes


@pytest.mark.parametrize(
    ("jones", "expected"),
    [
        ((1, 0), (1, 1, 0, 0)),
        ((0, 1), (1, -1, 0, 0)),
        ((np.sqrt(0.5), np.sqrt(0.5)), (1, 0, 1, 0)),
        ((np.sqrt(0.5), 1j * np.sqrt(0.5)), (1, 0, 0, 1)),
        ((0.6, 0.8j), (1, -0.28, 0, 0.96)),
    ],
)
def test_pure_states(jones: tuple[complex, complex], expected: tuple[float, ...]) -> None:
    phase = np.exp(1j * np.linspace(0, 7, 50))
    got = stokes.stokes_from_field(jones[0] * phase, jones[1] * phase)
    assert [float(x) for x in got] == pytest.approx(expected, abs=1e-14)
    stokes.require_physical(*got)


def test_unpolarised_light_and_the_inequality(rng: np.random.Generator) -> None:
    e = rng.standard_normal((4, 400_000))
    got = stokes.stokes_from_field(e[0] + 1j * e[1], e[2] + 1j * e[3])
    assert got[0] == pytest.approx(4, rel=0.01)
    assert [abs(float(x)) for x in got[1:]] == pytest.approx([0, 0, 0], abs=0.03)
    with pytest.raises(MapError, match="exceeded by up to"):
        stokes.require_physical(np.ones(2), np.array([0.8, 1]), np.array([0.8, 0]), np.zeros(2))


def test_rotated_axes_measure_the_rotated_field() -> None:
    # the definition: components of the same field along axes turned by phi
    ex, ey, phi = np.array([0.6 + 0.1j]), np.array([-0.2 + 0.5j]), 0.7
    i, q, u, v = stokes.stokes_from_field(ex, ey)
    turned = stokes.stokes_from_field(
        np.cos(phi) * ex + np.sin(phi) * ey, -np.sin(phi) * ex + np.cos(phi) * ey
    )
    assert (turned[0], turned[3]) == (pytest.approx(i), pytest.approx(v))
    assert stokes.rotate_axes(q, u, phi) == (pytest.approx(turned[1]), pytest.approx(turned[2]))
    psi = stokes.polarisation_angle(*stokes.rotate_polarisation(q, u, 0.3)) - stokes.polarisation_angle(q, u)
    assert psi == pytest.approx(0.3)


def test_worked_example() -> None:
    q, u = 3.84e-6, 0.0
    assert stokes.polarised_intensity(q, u) == 3.84e-6
    assert stokes.polarisation_angle(q, u) == 0
    got = stokes.rotate_polarisation(q, u, np.deg2rad(0.342))
    assert got == (pytest.approx(3.839726e-6, rel=1e-6), pytest.approx(4.584103e-8, rel=1e-6))
    assert stokes.polarisation_angle(np.array([-1.0, -1.0]), np.array([0.0, -0.0])) == pytest.approx(
        [np.pi / 2] * 2
    )


def test_debiasing(rng: np.random.Generator) -> None:
    q, u = 5 + rng.standard_normal(200_000), rng.standard_normal(200_000)
    assert np.mean(stokes.polarised_intensity(q, u) ** 2) == pytest.approx(25 + 2, rel=0.01)
    # P itself is high by sigma^2/2P; the estimator removes it to the next order
    assert np.mean(stokes.polarised_intensity(q, u)) - 5 == pytest.approx(0.1, abs=0.01)
    assert np.mean(stokes.debiased_intensity(q, u, 1.0)) - 5 == pytest.approx(0, abs=0.01)
    assert stokes.debiased_intensity(np.array(0.1), np.array(0.1), 1.0) == 0
