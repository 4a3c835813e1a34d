"""Training: what is a polynomial is recovered; damaged or mixed training data are refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, DataError
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.design import LCDM_BOX, Design
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import FitSettings, cosmic_variance_sigma, fit_emulator, split_by_background
from cmbfit.theory.emulator.trainingset import TrainingSet, compute_chunk, read_training_set, write_chunk
from cmbfit.theory.parameters import DERIVED, LCDM
from tests.theory.synthetic import LMAX, SETTINGS, Universe


@pytest.fixture(scope="module")
def universe() -> Universe:
    return Universe(np.random.default_rng(5))


@pytest.fixture(scope="module")
def training(universe: Universe) -> TrainingSet:
    return universe.training_set(120)


@pytest.fixture(scope="module")
def fitted(training: TrainingSet) -> LinearEmulator:
    return LinearEmulator(fit_emulator(training, SETTINGS, LCDM_BOX), {"code": "synthetic"})


def test_polynomial_spectra_are_recovered(universe: Universe, fitted: LinearEmulator) -> None:
    """Fresh points; 28 terms of degree 2 hold these spectra exactly.

    The components are stored in float32: what they cannot span is 6e-8 of the variation.
    """
    theta = universe.theta(50)
    dl, derived = universe.spectra(theta)
    got = fitted.spectra(torch.from_numpy(theta))
    for column, pair in ((0, "tt"), (1, "te"), (2, "ee"), (3, "bb"), (4, "pp")):
        size = np.abs(dl[:, column]).max()
        np.testing.assert_allclose(got.dl[pair].numpy() / size, dl[:, column] / size, rtol=0, atol=6e-8)
    np.testing.assert_allclose(got.dl["ee"][:, 2:30].numpy(), dl[:, 2, 2:30], rtol=1e-8)
    for i, name in enumerate(DERIVED):
        np.testing.assert_allclose(got.parameters[name].numpy(), derived[:, i], rtol=1e-8)
    bare = fitted.unlensed(torch.from_numpy(theta))
    unlensed = universe.training_arrays(theta)[1]
    for column, pair in enumerate(("tt", "te", "ee")):
        size = np.abs(dl[:, column]).max()
        np.testing.assert_allclose(
            bare.dl[pair].numpy() / size, unlensed[:, column] / size, rtol=0, atol=6e-8
        )
    assert "bb" not in bare.dl


def test_measured_accuracy_is_that_of_a_known_error(universe: Universe, fitted: LinearEmulator) -> None:
    """Spectra moved by half a cosmic-variance sigma in TT: the measure must say 0.5, and 0 elsewhere."""
    theta = universe.theta(10)
    dl, derived = universe.spectra(theta)
    ell = np.arange(LMAX + 1)
    shift = 0.5 * np.sqrt(2 / (2 * ell + 1))
    moved = dl.copy()
    moved[:, 0] = dl[:, 0] / (
        1 + shift
    )  # the exact model is `moved`; the emulator is at (1 + shift) times it
    accuracy = measure(fitted, theta, moved, derived * 1.01)
    np.testing.assert_allclose(accuracy.overall["tt"], 0.5, rtol=1e-4)
    np.testing.assert_allclose(accuracy.per_ell["tt"][:, 2:], 0.5, rtol=1e-4)
    assert max(accuracy.overall["pp"]) < 1e-5
    assert accuracy.derived["H0"] == pytest.approx(1 - 1 / 1.01, rel=1e-5)


def test_cosmic_variance_equals_that_of_simulated_skies(rng: np.random.Generator) -> None:
    """Knox's formula against 20,000 Gaussian skies at one multipole."""
    tt, te, ee, ell, n = 1000.0, 60.0, 20.0, 10, 20_000
    modes = rng.multivariate_normal([0, 0], [[tt, te], [te, ee]], size=(n, 2 * ell + 1))
    estimates = {
        "tt": (modes[..., 0] ** 2).mean(1),
        "te": modes.prod(-1).mean(1),
        "ee": (modes[..., 1] ** 2).mean(1),
    }
    flat = {p: np.full(ell + 1, x) for p, x in (("tt", tt), ("te", te), ("ee", ee), ("pp", 1.0))}
    sigma = cosmic_variance_sigma(flat)
    for pair, x in estimates.items():
        # the scatter of n draws is known to 1/sqrt(2n) = 0.5% (a little more: not Gaussian); 5 sigma
        assert sigma[pair][ell] == pytest.approx(x.std(), rel=0.03)


def test_too_few_spectra_are_refused(universe: Universe) -> None:
    with pytest.raises(DataError, match="30 spectra are too few for 28 polynomial terms"):
        fit_emulator(universe.training_set(30), SETTINGS, LCDM_BOX)


def test_a_design_that_cannot_tell_terms_apart_is_refused(training: TrainingSet, universe: Universe) -> None:
    theta = training.theta.copy()
    theta[:, 5] = 0.97
    frozen = TrainingSet(theta, *universe.training_arrays(theta), training.background, [], {})
    with pytest.raises(DataError, match="determines only 21 of 28"):  # quadratics of five parameters
        fit_emulator(frozen, SETTINGS, LCDM_BOX)


@pytest.mark.parametrize("change", [{"degree": 0}, {"weights": (1.0,) * 5}, {"weights": (1.0,) * 5 + (0.0,)}])
def test_malformed_fit_settings_are_refused(change: dict) -> None:
    with pytest.raises(ConfigError, match="6 positive weights"):
        FitSettings(**change)


def test_held_out_points_share_no_background(training: TrainingSet) -> None:
    fit, held = split_by_background(training, 0.1)
    assert len(held.theta) == 12  # 6 of 60 backgrounds with two draws each
    assert not set(fit.background) & set(held.background)
    assert len(fit.theta) + len(held.theta) == len(training.theta)
    assert held.background.min() > fit.background.max()


# chunks on disk


@pytest.fixture
def chunks(tmp_path: Path, training: TrainingSet) -> list[Path]:
    paths = [tmp_path / f"chunk_{i}.npz" for i in range(3)]
    for i, path in enumerate(paths):
        write_chunk(path, training.select(np.arange(40 * i, 40 * (i + 1))))
    return paths


def test_chunks_join_to_what_was_written(chunks: list[Path], training: TrainingSet) -> None:
    joined = read_training_set(chunks)
    for name in ("theta", "dl", "unlensed", "derived", "background"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(training, name))
    assert joined.settings == training.settings


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.95])
def test_a_truncated_chunk_is_refused_by_name(chunks: list[Path], keep: float) -> None:
    raw = chunks[1].read_bytes()
    chunks[1].write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(DataError, match=r"chunk_1\.npz: expected a chunk"):
        read_training_set(chunks)


def test_a_chunk_with_altered_bytes_is_refused(chunks: list[Path]) -> None:
    raw = bytearray(chunks[1].read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    chunks[1].write_bytes(raw)
    with pytest.raises(DataError, match=r"chunk_1\.npz"):
        read_training_set(chunks)


def test_missing_chunks_and_other_files_are_refused(chunks: list[Path], tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    for extra in ("text.npz", "absent.npz"):
        with pytest.raises(DataError, match=extra):
            read_training_set([*chunks, tmp_path / extra])
    with pytest.raises(DataError, match="at least one chunk"):
        read_training_set([])


def test_chunks_of_mixed_settings_are_refused(chunks: list[Path], training: TrainingSet) -> None:
    other = training.select(np.arange(4))
    write_chunk(
        chunks[2],
        TrainingSet(
            other.theta, other.dl, other.unlensed, other.derived, other.background, [], {"code": "class"}
        ),
    )
    with pytest.raises(DataError, match=r"other settings than .*: code differ"):
        read_training_set(chunks)


@pytest.mark.parametrize(
    "names",
    [
        ("omch2", "ombh2", "theta_mc", "tau", "logA", "ns"),  # another order
        ("ombh2", "omch2", "theta_mc", "tau", "logA", "n_s"),
        (*LCDM, "nnu2"),
    ],
)
def test_chunks_of_other_columns_are_refused(
    chunks: list[Path], training: TrainingSet, names: tuple[str, ...]
) -> None:
    write_chunk(chunks[0], dataclasses.replace(training, names=names))
    with pytest.raises(DataError, match="columns differ"):
        read_training_set(chunks)


def test_a_chunk_whose_columns_do_not_fit_its_names_is_refused(
    chunks: list[Path], training: TrainingSet
) -> None:
    write_chunk(chunks[0], dataclasses.replace(training, names=(*LCDM, "nnu")))
    with pytest.raises(DataError, match="of 7 parameters"):
        read_training_set(chunks)


def test_a_failed_point_is_recorded_with_its_reason() -> None:
    """theta_MC = 1.17 has no H0 below CAMB's limit of 100: the second half of this box fails."""
    box = LCDM_BOX | {"theta_mc": (1.0, 1.25)}
    design = Design(n_backgrounds=2, draws=1, per_chunk=2, box=box)
    theta_mc = design.backgrounds()[0][:, 2]
    assert (theta_mc > 1.15).sum() == 1  # one point in each half
    lines: list[str] = []
    chunk = compute_chunk(design, 0, CambSettings(lmax=50, lens_potential_accuracy=1), lines.append)
    assert len(chunk.theta) == 1
    assert len(chunk.failures) == 1
    assert chunk.failures[0]["theta_mc"] == max(theta_mc)
    assert "CAMB refuses" in chunk.failures[0]["reason"]
    assert any("failed" in line for line in lines)
