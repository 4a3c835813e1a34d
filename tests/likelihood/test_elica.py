"""ELiCA: the package's own numbers, its class beside ours, and the transformation by hand."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from cmbfit.errors import DataError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.datasets.catalog import read_files
from cmbfit.likelihood.datasets.elica import read_elica
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis
from cmbfit.theory.background.angle import theta_mc_from_h0
from cmbfit.theory.camb_code import CambSettings, CambTheory
from cmbfit.theory.spectra import Spectra

from .conftest import fetched
from .helpers import info, random_covariance

# whose covariance file fits the spectra that they name
SETS = ("elica", "cross", "full", "EE_100x100", "EE_143x143", "EE_WLxWL")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    fetched("elica")
    return read_files("elica")


def test_negative_eigenvalues_and_few_simulations_by_hand(rng: np.random.Generator) -> None:
    """One field: X = C_f sign(x) g(|x|), x = C^/C; then n ln(1 + chi2/(n-1)) (Sellentin & Heavens 2016)."""
    data_, fiducial, offset = np.array([0.5, -0.7]), np.array([1.0, 2.0]), np.array([0.2, 0.3])
    covariance = random_covariance(rng, 2)
    like = HamimecheLewis(
        info(pairs={"ee": (2, 3)}), ["e"], np.eye(2, 4, 2)[None], data_[:, None, None], fiducial[:, None, None],
        offset[:, None, None], covariance, signed=True, n_simulations=50,
    )  # fmt: skip
    model = np.array([0.9, 1.1])
    x = (data_ + offset) / (model + offset)
    assert x[1] < 0
    g = np.sign(np.abs(x) - 1) * np.sqrt(2 * (np.abs(x) - np.log(np.abs(x)) - 1))
    vector = (fiducial + offset) * np.sign(x) * g
    chi2 = vector @ np.linalg.solve(covariance, vector)
    ee = torch.tensor([[0.0, 0.0, *model]], dtype=torch.float64, requires_grad=True)
    got = like.log_prob(Spectra({"ee": ee}), {})
    assert got.item() == pytest.approx(-0.5 * 50 * np.log(1 + chi2 / 49), rel=1e-12)
    assert torch.autograd.gradcheck(lambda e: like.log_prob(Spectra({"ee": e}), {}), ee)


def test_calibration_multiplies_each_map(rng: np.random.Generator) -> None:
    from cmbfit.likelihood import Gaussian

    from .helpers import one

    fields, windows = ["t", "e"], rng.random((3, 1, 8))
    matrix = np.array([[[4.0, 0.5], [0.5, 2.0]]])
    like = HamimecheLewis(
        info(nuisance={"A": Gaussian(1.0, 0.01), "P": Gaussian(1.0, 0.01)}), fields, windows, matrix, matrix,
        0.1 * matrix, random_covariance(rng, 3), calibration={"A": (-1, -1), "P": (0, -1)},
    )  # fmt: skip
    dl = {p: torch.from_numpy(rng.random((1, 8))) for p in ("tt", "te", "ee")}
    got = (
        like.matrices(Spectra(dl), {"A": one(value=1.1), "P": one(value=1.3)})[0, 0].numpy() - 0.1 * matrix[0]
    )
    raw = like.matrices(Spectra(dl), {"A": one(), "P": one()})[0, 0].numpy() - 0.1 * matrix[0]
    factor = np.array([1 / 1.1, 1 / (1.1 * 1.3)])
    np.testing.assert_allclose(got, raw * np.outer(factor, factor), rtol=1e-12)


@pytest.mark.network
def test_elica_equals_a_reading_by_hand(files: dict[str, bytes], rng: np.random.Generator) -> None:
    """Three maps, four of six spectra, numpy's eigenvalues."""

    def table(name: str) -> np.ndarray:
        return np.loadtxt(files[name].decode().splitlines())

    columns = table("cl_hat.dat"), table("cl_noise.dat"), table("cl_fiducial.dat"), table("offset.dat")
    hat, noise, fiducial, offset = (x[:, 1:] for x in columns)
    ee = np.zeros(30)
    ee[2:] = fiducial[:, 0] * rng.lognormal(0, 0.4, 28)
    place = np.array([[0, 1, 2], [1, 3, 4], [2, 4, 5]])
    vector = []
    for b in range(28):
        c = ee[2 + b] + (noise + offset)[b][place]
        d = (hat + offset)[b][place]
        f = (fiducial + noise + offset)[b][place]
        values, vectors = np.linalg.eigh(c)
        inverse = vectors @ np.diag(values**-0.5) @ vectors.T
        x, u = np.linalg.eigh(inverse @ d @ inverse)
        g = np.sign(x) * np.sign(abs(x) - 1) * np.sqrt(2 * (abs(x) - np.log(abs(x)) - 1))
        values, vectors = np.linalg.eigh(f)
        root = vectors @ np.diag(np.sqrt(values)) @ vectors.T
        matrix = root @ u @ np.diag(g) @ u.T @ root
        vector += [matrix[0, 1], matrix[0, 2], matrix[1, 2], matrix[2, 2]]
    chi2 = np.array(vector) @ np.linalg.solve(table("covmat_elica.dat"), vector)
    like = load_likelihood("elica")
    got = like.log_prob(Spectra({"ee": torch.from_numpy(ee)[None]}), {}).item()
    assert got == pytest.approx(-0.5 * 500 * np.log(1 + chi2 / 499), rel=1e-10)


@pytest.mark.network
def test_a_covariance_of_other_spectra_is_refused(files: dict[str, bytes]) -> None:
    """EE_100x143 names one spectrum and a covariance of three: the package takes its first 28 rows, which are bins 2-11."""
    with pytest.raises(
        DataError, match=r"covmat_100_143.dat: expected 28 bins x 1 spectra = 28 rows and columns"
    ):
        read_elica(info(), files, "EE_100x143.dataset")


@pytest.mark.network
@pytest.mark.slow
def test_the_packages_numbers_at_its_test_point(files: dict[str, bytes]) -> None:
    """tests/test_regression.py of ELiCA, tau = 0.060 with CAMB in the loop: 0.02 for versions and accuracy."""
    published = {
        "elica": -60.00384701848693, "cross": -49.39219597073087, "full": -138.2444802878525,
        "EE_100x100": -16.94695318749717, "EE_143x143": -13.58281326011380, "EE_WLxWL": -6.984066776490811,
    }  # fmt: skip
    theory = CambTheory(CambSettings(lmax=1000, lens_potential_accuracy=1))
    theta_mc = theta_mc_from_h0(67.32, 0.02237, 0.1201)
    log_amplitude = np.log(18.84) + 2 * 0.06  # As = 1.884e-9 exp(2 tau)
    point = torch.tensor([[0.02237, 0.1201, theta_mc, 0.06, log_amplitude, 0.9651]], dtype=torch.float64)
    spectra = theory.spectra(point)
    for name, value in published.items():
        like = read_elica(info(), files, f"{name}.dataset")
        assert like.log_prob(spectra, {}).item() == pytest.approx(value, abs=0.02), name


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_the_package_itself_agrees(files: dict[str, bytes], name: str, rng: np.random.Generator) -> None:
    elica = pytest.importorskip("elica", reason="the package elica is not installed")
    logging.disable(logging.WARNING)
    peer = getattr(elica, name)({"path": None})
    logging.disable(logging.NOTSET)
    like = read_elica(info(), files, f"{name}.dataset")
    for _ in range(5):
        ee = np.zeros(1001)
        ee[2:30] = 0.03 * rng.lognormal(0, 0.5, 28)
        got = like.log_prob(Spectra({"ee": torch.from_numpy(ee)[None]}), {}).item()
        assert got == pytest.approx(float(peer.log_likelihood({"ee": ee})), rel=1e-10)
