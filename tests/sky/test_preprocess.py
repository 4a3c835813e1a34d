from __future__ import annotations

import healpy
import numpy as np
import pytest

from cmbfit.errors import MapError
from cmbfit.sky import Mask, StokesMap, apodise, binary, cut_to_mask, remove_monopole_dipole
from cmbfit.sky.masks import distance_to_hole
from cmbfit.sky.preprocess import fit_monopole_dipole

NSIDE = 32
NPIX = 12 * NSIDE**2


def band_mask(degrees: float = 20.0, coord: str = "G", nside: int = NSIDE) -> Mask:
    theta, _ = healpy.pix2ang(nside, np.arange(12 * nside**2))
    return Mask((np.abs(90 - np.degrees(theta)) > degrees).astype(float), coord=coord, name="band")


def test_injected_monopole_and_dipole_come_back(wmap_mask) -> None:
    vectors = np.array(healpy.pix2vec(NSIDE, np.arange(NPIX)))
    wanted = np.array([-12.3, 4.5, -6.7, 8.9])
    values = wanted[0] + wanted[1:] @ vectors
    values[~wmap_mask.support] = np.nan
    found, covariance = fit_monopole_dipole(values, wmap_mask)
    np.testing.assert_allclose(found, wanted, atol=1e-11)
    assert np.abs(covariance).max() < 1e-20


def test_fit_against_healpy(wmap_maps, wmap_mask) -> None:
    sky = wmap_maps["W"]
    masked = np.where(wmap_mask.support, sky.i, healpy.UNSEEN)
    monopole, dipole = healpy.fit_dipole(masked)
    found, _ = fit_monopole_dipole(sky.i, wmap_mask)
    np.testing.assert_allclose(found, [monopole, *dipole], rtol=1e-8)


def test_errors_cover_the_scatter() -> None:
    rng, mask = np.random.default_rng(1), band_mask()
    fits = [fit_monopole_dipole(rng.standard_normal(NPIX), mask) for _ in range(200)]
    scatter = np.std([c for c, _ in fits], axis=0)
    np.testing.assert_allclose(np.sqrt(np.diag(fits[0][1])), scatter, rtol=0.2)


def test_steps_are_recorded(wmap_maps, wmap_mask) -> None:
    cleaned = cut_to_mask(remove_monopole_dipole(wmap_maps["V"], wmap_mask), wmap_mask)
    assert [r["step"] for r in cleaned.history] == ["read", "remove monopole and dipole", "cut to mask"]
    assert cleaned.history[1]["monopole_uk"] == pytest.approx(16.25, abs=0.01)
    assert (cleaned.missing == ~wmap_mask.support).all()
    np.testing.assert_allclose(fit_monopole_dipole(cleaned.i, wmap_mask)[0], 0, atol=1e-10)
    np.testing.assert_array_equal(cleaned.q[wmap_mask.support], wmap_maps["V"].q[wmap_mask.support])


@pytest.mark.parametrize("stokes", [0, 1, 2])
def test_missing_pixels_under_the_mask(stokes) -> None:
    values, mask = np.zeros((3, NPIX)), band_mask()
    values[stokes, 0] = np.nan  # the pole is kept
    for step in (cut_to_mask, remove_monopole_dipole):
        with pytest.raises(MapError, match="1 pixels with NaN or UNSEEN"):
            step(StokesMap(*values, coord="G", name="V"), mask)
    values[stokes, 0], values[stokes, NPIX // 2] = 0, np.nan  # the equator is not
    cut_to_mask(StokesMap(*values, coord="G"), mask)


def test_nside_mismatch() -> None:
    with pytest.raises(MapError, match="nside 32 but mask 'band' has nside 16"):
        cut_to_mask(StokesMap(*np.zeros((3, NPIX)), coord="G", name="V"), band_mask(nside=16))


def test_coordinate_mismatch() -> None:
    with pytest.raises(MapError, match="rotate"):
        cut_to_mask(StokesMap(*np.zeros((3, NPIX)), coord="G"), band_mask(coord="C"))


def test_bad_maps() -> None:
    with pytest.raises(MapError, match="infinite"):
        StokesMap(*np.full((3, NPIX), np.inf), coord="G")
    with pytest.raises(MapError, match="coordinates 'X'"):
        StokesMap(*np.zeros((3, NPIX)), coord="X")
    with pytest.raises(MapError, match="one shape"):
        StokesMap(np.zeros(NPIX), np.zeros(NPIX), np.zeros(12), coord="G")
    with pytest.raises(MapError, match="non-finite weights"):
        Mask(np.full(NPIX, np.nan), coord="G")
    stokes = StokesMap(*np.zeros((3, NPIX)), coord="G")
    with pytest.raises(ValueError, match="read-only"):
        stokes.i[0] = 1
    few = np.zeros(NPIX)
    few[:3] = 1
    with pytest.raises(MapError, match="3 pixels cannot fix"):
        remove_monopole_dipole(stokes, Mask(few, coord="G"))


@pytest.mark.parametrize("kind", ["C1", "C2"])
def test_apodisation_of_a_cap(kind) -> None:
    vectors = np.array(healpy.pix2vec(NSIDE, np.arange(NPIX)))
    inside = np.arccos(vectors[2]) < np.radians(60)
    mask = apodise(Mask(inside.astype(float), coord="G"), 12, kind)
    theta = distance_to_hole(Mask(inside.astype(float), coord="G"))
    x = np.minimum(np.sqrt((1 - np.cos(theta)) / (1 - np.cos(np.radians(12)))), 1)
    taper = {"C1": x - np.sin(2 * np.pi * x) / (2 * np.pi), "C2": (1 - np.cos(np.pi * x)) / 2}[kind]
    np.testing.assert_allclose(mask.weights, np.where(inside, taper, 0), atol=1e-9)
    assert mask.weights[0] == 1
    assert mask.history[-1] == {"step": "apodise", "kind": kind, "radius_deg": 12}
    # a brute-force distance for some pixels
    for p in np.flatnonzero(inside)[::400]:
        nearest = np.arccos(np.clip((vectors[:, p] @ vectors[:, ~inside]).max(), -1, 1))
        assert theta[p] == pytest.approx(nearest, abs=1e-7)


def test_mask_moments(wmap_mask) -> None:
    assert wmap_mask.fsky == pytest.approx(7602 / 12288)
    assert wmap_mask.fsky_modes == pytest.approx(wmap_mask.fsky)
    assert apodise(wmap_mask, 0).weights is not None
    half = Mask(np.full(NPIX, 0.5), coord="G")
    assert half.moment(2) == 0.25
    assert binary(half).fsky == 1
    assert binary(half, 0.5).history[-1]["threshold"] == 0.5
    assert np.isinf(distance_to_hole(half)).all()


def test_apodisation_refuses(wmap_mask) -> None:
    with pytest.raises(MapError, match="C1"):
        apodise(wmap_mask, 2, "cosine")
    with pytest.raises(MapError, match="0 to 90"):
        apodise(wmap_mask, -1)


def test_pixels_taken_in_pieces_give_the_same_fit(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sums over pieces differ from one sum by rounding only."""
    nside = 16
    npix = 12 * nside**2
    stokes = StokesMap(*(50 * rng.standard_normal((3, npix)) + 7.0), coord="G")
    mask = Mask(rng.uniform(0, 1, npix) * (rng.uniform(size=npix) > 0.3), coord="G")
    whole = remove_monopole_dipole(stokes, mask)
    for module in ("preprocess", "maps"):
        monkeypatch.setattr(f"cmbfit.sky.{module}.PIECE", 100)
    pieces = remove_monopole_dipole(stokes, mask)
    np.testing.assert_allclose(pieces.i, whole.i, atol=1e-10)
    assert pieces.history[-1]["dipole_error_uk"] == pytest.approx(
        whole.history[-1]["dipole_error_uk"], rel=1e-10
    )
