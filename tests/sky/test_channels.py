"""Joining channels of different beams before masking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import Beam, StokesMap
from cmbfit.sky.channels import join_channels, joined_weight, noise_weights
from cmbfit.sky.harmonic import alm2stokes, scale_alm
from cmbfit.sky.simulate import draw_alm

NSIDE, LMAX = 32, 48
BEAMS = {"a": Beam.gaussian(LMAX, 300.0), "b": Beam.gaussian(LMAX, 120.0)}


def skies(rng: np.random.Generator) -> tuple[np.ndarray, list[StokesMap]]:
    dl = {k: np.full(LMAX + 1, v) for k, v in (("tt", 1000.0), ("ee", 10.0), ("bb", 1.0))}
    teb = draw_alm(dl, LMAX, rng)
    maps = []
    for name, beam in BEAMS.items():
        seen = np.stack([scale_alm(a, x) for a, x in zip(teb, beam.teb, strict=True)])
        maps.append(StokesMap(*alm2stokes(seen, NSIDE), coord="G", name=name))
    return teb, maps


def skies_of(teb: np.ndarray, beam: Beam) -> np.ndarray:
    return alm2stokes(np.stack([scale_alm(a, x) for a, x in zip(teb, beam.teb, strict=True)]), NSIDE)


def test_weights_sum_to_one_and_follow_beam_and_noise() -> None:
    weights = noise_weights(BEAMS, {"a": 1.0, "b": 4.0}, LMAX, {"a": 30})
    np.testing.assert_allclose(weights["a"] + weights["b"], 1.0)
    # at l = 0 both beams are one: inverse variances 1 and 1/4
    assert weights["a"][0] == pytest.approx(0.8)
    assert weights["a"][31:].max() == 0
    with pytest.raises(MapError, match="none reaches"):
        noise_weights({"a": BEAMS["a"]}, {"a": 1.0}, LMAX, {"a": 30})


def test_the_sky_keeps_its_amplitude_and_has_the_new_beam(rng: np.random.Generator) -> None:
    teb, maps = skies(rng)
    new = Beam.gaussian(LMAX, 150.0)
    joined = join_channels(maps, BEAMS, noise_weights(BEAMS, {"a": 1.0, "b": 1.0}, LMAX, {}), new, "cmb")
    expected = skies_of(teb, new)
    # three iterations of the analysis up to 1.5 nside
    for got, want in zip(joined.iqu, expected, strict=True):
        assert np.abs(got - want).max() < 1e-3 * want.std()


def test_what_e_holds_of_t_comes_off(rng: np.random.Generator) -> None:
    teb, _ = skies(rng)
    leak = 0.02 * np.linspace(0, 1, LMAX + 1) * BEAMS["b"].t
    seen = np.stack([scale_alm(a, x) for a, x in zip(teb, BEAMS["b"].teb, strict=True)])
    seen[1] += scale_alm(teb[0], leak)
    leaky = StokesMap(*alm2stokes(seen, NSIDE), coord="G", name="b")
    weights, expected = {"b": np.ones(LMAX + 1)}, skies_of(teb, BEAMS["a"])
    q = [
        join_channels([leaky], {"b": beam}, weights, BEAMS["a"], "cmb").q
        for beam in (replace(BEAMS["b"], t_to_e=leak), BEAMS["b"])
    ]
    assert np.abs(q[0] - expected[1]).max() < 1e-3 * expected[1].std()
    assert np.abs(q[1] - expected[1]).max() > 0.05 * expected[1].std()


def test_the_sky_cancels_in_a_difference(rng: np.random.Generator) -> None:
    _, maps = skies(rng)
    half = np.full(LMAX + 1, 0.5)
    joined = join_channels(maps, BEAMS, {"a": half, "b": -half}, Beam.gaussian(LMAX, 300.0), "d")
    assert np.abs(joined.iqu[0]).max() < 1e-3 * maps[0].i.std()
    assert np.abs(joined.iqu[1:]).max() < 1e-3 * maps[0].q.std()


def test_missing_pixels_stay_missing(rng: np.random.Generator) -> None:
    _, maps = skies(rng)
    i = np.array(maps[1].i)
    i[77] = np.nan
    holed = StokesMap(i, maps[1].q, maps[1].u, coord="G", name="b")
    weights = noise_weights(BEAMS, {"a": 1.0, "b": 1.0}, LMAX, {})
    joined = join_channels([maps[0], holed], BEAMS, weights, BEAMS["a"], "cmb")
    assert np.flatnonzero(joined.missing).tolist() == [77]
    assert joined_weight([np.array([1.0, 0.0]), np.array([2.0, 3.0])]).tolist() == [3.0, 0.0]
    other = StokesMap(*np.zeros((3, 12 * 16**2)), coord="G", name="b")
    with pytest.raises(MapError, match="nside"):
        join_channels([maps[0], other], BEAMS, weights, BEAMS["a"], "cmb")
