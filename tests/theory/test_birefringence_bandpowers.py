"""The rotation angle of bandpowers: against rotated spectra, coverage and pulls."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import stats

from cmbfit.errors import LikelihoodError
from cmbfit.figures.birefringence import birefringence_table, plot_birefringence
from cmbfit.spectra.product import COMBINED, Bandpowers
from cmbfit.theory.birefringence.bandpowers import AnglePosterior, BandpowerRotation, rotation_record
from cmbfit.theory.birefringence.rotation import forecast, rotate_spectra

EDGES = tuple(range(50, 1501, 50))
N = len(EDGES) - 1


def theory() -> dict[str, np.ndarray]:
    """Smooth stand-ins of the size of the CMB's spectra."""
    ell = np.arange(1501.0)
    ee = 0.01 + 20 * (1 - np.cos(ell / 45)) * np.exp(-(((ell - 1000) / 500) ** 2))
    te = 0.5 * np.sqrt(3000 * ee) * np.sin(ell / 50)
    return {"tt": 3000 + 0 * ell, "te": te, "ee": ee, "bb": 0.1 * (ell / 1000) ** 2}


def product(
    beta_deg: float, noise_uk2: float, rng: np.random.Generator
) -> tuple[Bandpowers, dict[str, np.ndarray]]:
    """Bandpowers of turned spectra with the scatter of white noise on 60% of the sky."""
    dl = theory()
    given = {p: torch.from_numpy(x)[None] for p, x in dl.items()}
    turned = rotate_spectra(given, torch.tensor([[math.radians(beta_deg)]], dtype=torch.float64))
    windows = np.zeros((N, 1501))
    for i, (a, b) in enumerate(itertools.pairwise(EDGES)):
        windows[i, a:b] = 1 / (b - a)
    centre = windows @ np.arange(1501.0)
    modes = (2 * centre + 1) * 50 * 0.6
    level = noise_uk2 * (centre / 1000) ** 2
    mean = {p: windows @ turned[p][0].numpy() for p in ("tt", "te", "ee", "bb", "eb", "tb")}
    ee, bb, tt, te = mean["ee"] + level, mean["bb"] + level, mean["tt"], mean["te"]
    covariance = np.eye(6 * N) * 1e-6  # the other spectra do not matter here
    at = {p: COMBINED.index(p) * N + np.arange(N) for p in COMBINED}
    covariance[at["eb"], at["eb"]] = (ee * bb + mean["eb"] ** 2) / modes
    covariance[at["tb"], at["tb"]] = (tt * bb + mean["tb"] ** 2) / modes
    covariance[at["eb"], at["tb"]] = covariance[at["tb"], at["eb"]] = (
        te * bb + mean["eb"] * mean["tb"]
    ) / modes
    scatter = np.linalg.cholesky(covariance) @ rng.standard_normal(6 * N)
    values = {p: mean[p] + scatter[at[p]] for p in COMBINED}
    return Bandpowers(
        COMBINED, centre, EDGES, values, covariance, {(p, p): windows for p in COMBINED}, {}
    ), dl


def test_the_model_is_that_of_rotated_spectra(rng: np.random.Generator) -> None:
    data, dl = product(0.0, 1.0, rng)
    likelihood = BandpowerRotation(data, dl)
    for angle in (-41.0, 0.35, 33.0):
        expected, _ = product(angle, 0.0, np.random.default_rng(0))
        quiet = expected.theory(_turned(dl, angle))
        assert likelihood.model(np.array([angle]))[0] == pytest.approx(
            np.concatenate([quiet["eb"], quiet["tb"]])
        )


def _turned(dl: dict[str, np.ndarray], angle: float) -> dict[str, np.ndarray]:
    given = {p: torch.from_numpy(x)[None] for p, x in dl.items()}
    turned = rotate_spectra(given, torch.tensor([[math.radians(angle)]], dtype=torch.float64))
    return {p: x[0].numpy() for p, x in turned.items()}


@pytest.mark.parametrize("pairs", [("eb",), ("tb",), ("eb", "tb")])
def test_200_skies_return_the_angle_without_bias(pairs: tuple[str, ...], rng: np.random.Generator) -> None:
    pulls, truth = [], 0.35
    for _ in range(200):
        data, dl = product(truth, 200.0, rng)
        posterior = BandpowerRotation(data, dl, pairs).posterior()
        mean = (posterior.beta_deg * posterior.density).sum() / posterior.density.sum()
        sigma = math.sqrt(
            ((posterior.beta_deg - mean) ** 2 * posterior.density).sum() / posterior.density.sum()
        )
        pulls.append((mean - truth) / sigma)
    assert np.mean(pulls) == pytest.approx(0, abs=4 / math.sqrt(200))
    assert np.std(pulls) == pytest.approx(1, abs=4 / math.sqrt(400))
    assert stats.kstest(pulls, "norm").pvalue > 1e-3


def test_the_error_is_fisher_s(rng: np.random.Generator) -> None:
    data, dl = product(0.0, 5.0, rng)
    full = {p: torch.from_numpy(x) for p, x in dl.items()}
    noise = 5.0 * (torch.arange(1501, dtype=torch.float64) / 1000) ** 2
    expected = forecast(full, {"tt": 0 * noise, "ee": noise, "bb": noise}, slice(50, 1500), 0.6)
    width = BandpowerRotation(data, dl).posterior().width(0.6827) / 2
    assert width == pytest.approx(expected.both, rel=0.1)  # bins of 50, grid of an eighth of it


def test_data_that_say_nothing(rng: np.random.Generator) -> None:
    """Regions are as long as without data, and hold the truth as often as they say."""
    data, dl = product(10.0, 1e9, rng)
    likelihood = BandpowerRotation(data, dl)
    record = rotation_record(likelihood, 1.5, 300, rng)
    curves = record.pop("curves")
    assert not record["constrained"]
    assert record["width_68"] > 0.6 * record["width_68_without_data"]
    assert record["coverage_68"]["share"] == pytest.approx(0.68, abs=4 * math.sqrt(0.68 * 0.32 / 300))
    assert len(plot_birefringence(record, curves).axes) == 2
    assert len(birefringence_table(curves)["beta_deg"]) == 1801


def test_regions() -> None:
    grid = np.arange(-45, 45.25, 0.25)
    two = np.exp(-0.5 * ((grid - 20) / 5) ** 2) + np.exp(-0.5 * ((grid + 20) / 5) ** 2)
    posterior = AnglePosterior(grid, two / (two.sum() * 0.25))
    # two equal normals, each holds 68% within one sigma
    assert np.array(posterior.region(0.6827)) == pytest.approx(np.array([(-25, -15), (15, 25)]), abs=0.5)
    assert posterior.width(0.6827) == pytest.approx(20.0, abs=1.0)
    one = np.exp(-0.5 * (grid / 3) ** 2)
    blurred = AnglePosterior(grid, one / (one.sum() * 0.25)).blurred(4.0)
    assert blurred.width(0.6827) == pytest.approx(2 * 5.0, abs=0.5)  # 3, 4, 5
    flat = AnglePosterior(grid, np.full(len(grid), 1 / 90)).blurred(1.5)
    assert flat.density == pytest.approx(np.full(len(grid), 1 / 90), rel=0.01)


def test_bad_input(rng: np.random.Generator) -> None:
    data, dl = product(0.0, 1.0, rng)
    with pytest.raises(LikelihoodError, match="among eb and tb"):
        BandpowerRotation(data, dl, ("bb",))
    with pytest.raises(LikelihoodError, match="lacks te"):
        BandpowerRotation(data, {"ee": dl["ee"]})
