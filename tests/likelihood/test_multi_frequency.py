"""Multi-frequency sets: the moving covariance against dense algebra, folded against full spectra, in a posterior."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from cmbfit.likelihood import Posterior, Uniform
from cmbfit.likelihood.banded import Whitening
from cmbfit.likelihood.beam_covariance import BeamCovariance
from cmbfit.likelihood.binned_power_law import BinnedPowerLaw
from cmbfit.likelihood.compiled import compile_posterior
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.user_files import read_user_candl
from cmbfit.theory.emulator.linear import LinearEmulator

from . import candl_toy as toy
from .helpers import random_covariance


def banded(rng: np.random.Generator, n: int, width: int) -> np.ndarray:
    """A covariance that is zero beyond a band."""
    lower = np.tril(rng.standard_normal((n, n))) * (np.abs(np.subtract.outer(range(n), range(n))) <= width)
    return lower @ lower.T + np.eye(n)


@pytest.mark.parametrize("width", [1, 4, 60])
def test_whitening_is_a_triangular_solution_of_the_band(rng: np.random.Generator, width: int) -> None:
    n = 60
    covariance = banded(rng, n, width)
    shuffled = rng.permutation(n)
    mixed = covariance[np.ix_(shuffled, shuffled)]
    whitening = Whitening(torch.from_numpy(mixed), shuffled.astype(float))
    assert (len(whitening.sizes) > 1) == (width < 20)
    x = rng.standard_normal((n, 3))
    white = whitening(torch.from_numpy(x))
    np.testing.assert_allclose(white.T @ white, x.T @ np.linalg.solve(mixed, x), rtol=1e-9)
    np.testing.assert_allclose(whitening.transposed(white), np.linalg.solve(mixed, x), rtol=1e-8, atol=1e-12)
    assert whitening.log_det.item() == pytest.approx(np.linalg.slogdet(mixed)[1], rel=1e-12)


@pytest.mark.parametrize("noise", [0.0, 1e-9])
def test_a_covariance_that_moves_is_scipys_normal_at_each_model(
    rng: np.random.Generator, noise: float
) -> None:
    """Few directions, and the rounding of a file, of both signs, to first order."""
    n, rank = 40, 5
    covariance = random_covariance(rng, n)
    directions = rng.standard_normal((n, rank)) * 0.03
    rounding = rng.standard_normal((n, n)) * noise
    beam = directions @ directions.T + rounding + rounding.T
    data = 10 + rng.standard_normal(n)
    like = BeamCovariance("x", Whitening(torch.from_numpy(covariance), np.arange(n)), beam, data)
    assert like.rank == rank
    models = data + rng.standard_normal((70, n))  # more than a chunk
    residual = torch.from_numpy((models - data).T)
    chi2, log_det = like.chi2_and_log_det(torch.from_numpy(models.T), residual)
    expected = np.array(
        [
            stats.multivariate_normal(m, covariance + beam * np.outer(m, m)).logpdf(data)
            + n / 2 * np.log(2 * np.pi)
            for m in models
        ]
    )
    # without rounding exact; with it, the trace at the data in place of the model: noise n m^2 times the change of m
    np.testing.assert_allclose(-0.5 * (chi2 + log_det), expected, rtol=0, atol=1e-9 if not noise else 1e-8)
    if noise:
        bare = BeamCovariance("x", like.whitening, directions @ directions.T, data)
        without = -0.5 * sum(bare.chi2_and_log_det(torch.from_numpy(models.T), residual)).numpy()
        # what the remainder is there for
        assert np.abs(without - expected).max() > 3 * np.abs(-0.5 * (chi2 + log_det).numpy() - expected).max()


def test_a_binned_power_law_is_its_sum(rng: np.random.Generator) -> None:
    ell = np.arange(2, 3000.0)
    windows = torch.from_numpy(rng.random((3, len(ell))))
    law = BinnedPowerLaw(windows, torch.from_numpy(np.log(ell / 80)), -0.9, 0.1)
    exponent = torch.tensor([-0.9, -0.43, 0.1], dtype=torch.float64)
    expected = windows.numpy() @ (ell[:, None] / 80) ** exponent.numpy()
    np.testing.assert_allclose(law(exponent), expected, rtol=1e-13)
    assert len(law.coefficients) < 40
    beyond = torch.tensor([-0.4, 1.7], dtype=torch.float64)  # outside of the range the multipoles are summed
    np.testing.assert_allclose(
        law(beyond), windows.numpy() @ (ell[:, None] / 80) ** beyond.numpy(), rtol=1e-12
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("multi")
    toy.write(folder)
    # the data of the toy's own sky; errors of its size
    return folder


NO_B = ["BB remove"]


def multi(folder: Path, **changes: Any) -> MultiFrequencyBandpowers:
    priors = [
        {"par_names": n, "central_value": v, "prior_std": 0.02 * abs(v)}
        for n, v in toy.POINT.items()
        if n not in ("y", "one")
    ]
    definition = toy.spec(toy.STEPS, data_selection=NO_B, priors=priors, **changes)
    (folder / "multi.yaml").write_text(yaml.safe_dump(definition))
    like = read_user_candl(folder / "multi.yaml")
    assert isinstance(like, MultiFrequencyBandpowers)
    return like


@pytest.mark.parametrize("changes", [{}, toy.MOVING])
def test_folded_is_unfolded_with_gradients(
    folder: Path, emulator: LinearEmulator, changes: dict[str, Any]
) -> None:
    """The unfolded path is held against candl; EE at l < 30 has components of its own."""
    like = multi(folder, **changes)
    box = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    posterior = Posterior(emulator, [like], box)
    compiled = compile_posterior(posterior)
    assert compiled.fold_difference is not None
    assert compiled.fold_difference < 1e-11
    centre = [(low + high) / 2 for low, high in emulator.box.values()]
    start = torch.tensor([*centre, *(toy.POINT[n] for n in posterior.nuisances)], dtype=torch.float64)
    theta = torch.stack([start, 1.01 * start, 0.995 * start])
    alpha = compiled.parameters.index("dust_alpha")
    theta[2, alpha] = 0.4  # beyond the range of the interpolation
    theta.requires_grad_()
    one, two = compiled.log_prob(theta), posterior.log_prob(theta)
    torch.testing.assert_close(one, two, rtol=1e-11, atol=0)
    slopes = [torch.autograd.grad(x.sum(), theta)[0] for x in (one, two)]
    torch.testing.assert_close(*slopes, rtol=1e-7, atol=1e-7)


def test_a_multi_frequency_set_tells_what_it_is(folder: Path) -> None:
    like = multi(folder, **toy.MOVING)
    assert set(like.sections) == {n for n in toy.SPECTRA if not n.startswith("BB")}
    settings = like.settings()
    assert settings["beam_covariance"]["rank"] == 3
    assert [s["step"] for s in settings["steps"]][:2] == ["SuperSampleLensing", "AberrationCorrection"]
    assert like.info.nuisance["y"] == Uniform(0.5, 1.5)
    # at the data C_0 + B d d^T
    keep = np.array([not n.startswith("BB") for n, k in toy.SPECTRA.items() for _ in range(k)])
    c, b, d = (np.loadtxt(folder / f"{x}.txt") for x in "cbd")
    expected = (c + b * np.outer(d, d))[np.ix_(keep, keep)]
    np.testing.assert_allclose(like.covariance, expected, rtol=1e-6)


def test_a_foreground_without_a_prior_is_refused_with_a_flat_example(folder: Path) -> None:
    (folder / "none.yaml").write_text(yaml.safe_dump(toy.spec(toy.STEPS)))
    with pytest.raises(
        Exception, match=r"kappa has no prior in the definition, .*\{uniform: \[LOWEST, HIGHEST\]\}"
    ):
        read_user_candl(folder / "none.yaml")
