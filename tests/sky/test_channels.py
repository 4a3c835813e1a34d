"""Joining channels of different beams before masking."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import Beam, StokesMap
from cmbfit.sky.channels import channel_alm, join_channels, joined_weight, noise_weights
from cmbfit.sky.harmonic import Alm, alm2cl, alm2stokes, scale_alm
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


def alms_of(maps: list[StokesMap], transfers: dict[str, Beam], n_iter: int = 3) -> dict[str, Alm]:
    return {m.name: channel_alm(m, transfers[m.name], LMAX, n_iter) for m in maps}


def test_the_sky_keeps_its_amplitude_and_has_the_new_beam(rng: np.random.Generator) -> None:
    teb, maps = skies(rng)
    new = Beam.gaussian(LMAX, 150.0)
    weights = noise_weights(BEAMS, {"a": 1.0, "b": 1.0}, LMAX, {})
    joined = alm2stokes(join_channels(alms_of(maps, BEAMS), BEAMS, weights, new), NSIDE)
    # three iterations of the analysis up to 1.5 nside
    for got, want in zip(joined, skies_of(teb, new), strict=True):
        assert np.abs(got - want).max() < 1e-3 * want.std()


def test_what_e_holds_of_t_comes_off(rng: np.random.Generator) -> None:
    teb, _ = skies(rng)
    leak = 0.02 * np.linspace(0, 1, LMAX + 1) * BEAMS["b"].t
    seen = np.stack([scale_alm(a, x) for a, x in zip(teb, BEAMS["b"].teb, strict=True)])
    seen[1] += scale_alm(teb[0], leak)
    leaky = StokesMap(*alm2stokes(seen, NSIDE), coord="G", name="b")
    weights, expected = {"b": np.ones(LMAX + 1)}, skies_of(teb, BEAMS["a"])
    q = []
    for beam in (replace(BEAMS["b"], t_to_e=leak), BEAMS["b"]):
        transfers = {"b": beam}
        joined = join_channels(alms_of([leaky], transfers), transfers, weights, BEAMS["a"])
        q.append(alm2stokes(joined, NSIDE)[1])
    both = replace(BEAMS["b"], t_to_e=leak, t_to_b=leak)
    assert np.abs(q[0] - expected[1]).max() < 1e-3 * expected[1].std()
    with_b, without = (channel_alm(leaky, x, LMAX) for x in (both, replace(both, t_to_b=None)))
    np.testing.assert_array_equal(with_b[1], without[1])
    np.testing.assert_allclose(without[2] - with_b[2], scale_alm(with_b[0], leak / BEAMS["b"].t), rtol=1e-12)
    assert np.abs(q[1] - expected[1]).max() > 0.05 * expected[1].std()


def test_the_sky_cancels_in_a_difference(rng: np.random.Generator) -> None:
    _, maps = skies(rng)
    half = np.full(LMAX + 1, 0.5)
    weights = {"a": half, "b": -half}
    joined = alm2stokes(
        join_channels(alms_of(maps, BEAMS), BEAMS, weights, Beam.gaussian(LMAX, 300.0)), NSIDE
    )
    assert np.abs(joined[0]).max() < 1e-3 * maps[0].i.std()
    assert np.abs(joined[1:]).max() < 1e-3 * maps[0].q.std()


def test_one_iteration_is_enough(rng: np.random.Generator) -> None:
    """The error of the analysis is far below any noise: less than 1e-6 of the sky's power at every l, damped as it is."""
    nside, lmax = 64, 81  # as planck2018 has it: l = 2600 at nside 2048
    ell = np.maximum(np.arange(lmax + 1), 1)
    damped = np.exp(-((ell / 40) ** 1.3))
    dl = {"tt": 1000.0 * (1 + 30 / ell) * damped, "ee": 10.0 * damped}
    teb = draw_alm(dl, lmax, rng)
    sky = StokesMap(*alm2stokes(teb, nside), coord="G", name="a")
    got = channel_alm(sky, Beam.unit(lmax), lmax)
    for k in (0, 1):
        error = alm2cl(got[k] - teb[k], got[k] - teb[k])[2:] / alm2cl(teb[k], teb[k])[2:]
        assert error.max() < 1e-6, (k, error.max())


def test_missing_pixels_are_filled_and_have_no_weight(rng: np.random.Generator) -> None:
    _, maps = skies(rng)
    i = np.array(maps[1].i)
    i[77] = np.nan
    holed = StokesMap(i, maps[1].q, maps[1].u, coord="G", name="b")
    filled, whole = (channel_alm(m, BEAMS["b"], LMAX) for m in (holed, maps[1]))
    assert 0 < np.abs(filled[0] - whole[0]).max() < 1e-2 * np.abs(whole[0]).max()
    assert joined_weight([np.array([1.0, 0.0]), np.array([2.0, 3.0])]).tolist() == [3.0, 0.0]


def test_channels_of_different_size_are_refused(rng: np.random.Generator) -> None:
    _, maps = skies(rng)
    weights = {"a": np.ones(LMAX + 1), "b": np.ones(LMAX + 1)}
    alms = {"a": channel_alm(maps[0], BEAMS["a"], LMAX), "b": channel_alm(maps[1], BEAMS["b"], LMAX - 1)}
    with pytest.raises(MapError, match="one lmax"):
        join_channels(alms, BEAMS, weights, BEAMS["a"])
    with pytest.raises(MapError, match="one nside"):
        joined_weight([np.ones(12), np.ones(48)])
