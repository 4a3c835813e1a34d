"""Rotation against the rotation of maps, invariants and forecasts; recovery of injected angles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.theory.base import point_from_values
from cmbfit.theory.birefringence.channels import ChannelLikelihood, ParityLikelihood, beta_from_angles
from cmbfit.theory.birefringence.rotation import forecast, rotate, rotate_spectra
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra
from tests.conftest import PLANCK_POINT


@pytest.fixture(scope="module")
def lensed(emulator: LinearEmulator) -> dict[str, torch.Tensor]:
    """Planck's LCDM; the emulator has no BB, so lensing's B modes come as a formula good to 10%."""
    got = emulator.spectra(point_from_values(emulator, PLANCK_POINT)).dl
    ell = torch.arange(1501, dtype=torch.float64)
    bb = 2e-6 * ell * (ell + 1) / (2 * math.pi) / (1 + (ell / 700) ** 2)
    return {"bb": bb[None], **{p: got[p][:, :1501] for p in ("tt", "te", "ee")}}


def test_rotation_of_the_reference_spectra() -> None:
    # D^EB and D^BB of 0.342 degrees at l = 1000 from the lensed spectra there, printed to six digits
    dl = {
        p: torch.tensor([[x]], dtype=torch.float64)
        for p, x in (("te", -24.2307), ("ee", 42.0786), ("bb", 0.0973679))
    }
    got = rotate_spectra(dl, torch.tensor([[math.radians(0.342)]], dtype=torch.float64))
    assert got["eb"].item() == pytest.approx(0.501126, rel=1e-5)
    assert got["tb"].item() == pytest.approx(-0.289260, rel=1e-5)
    assert got["bb"].item() == pytest.approx(0.103351, rel=1e-5)


@pytest.mark.slow
def test_rotation_of_lensed_spectra_at_three_multipoles() -> None:
    """EB and TB of 0.342 degrees, computed with another program from CAMB's lensed spectra of the same cosmology.

    The lensed spectra themselves differ by up to 1e-4 with CAMB's lmax; the rotation does not add to it.
    """
    import camb

    pars = camb.set_params(
        H0=67.36, ombh2=0.02237, omch2=0.12, mnu=0.06, tau=0.0544, As=math.exp(3.044) * 1e-10, ns=0.9649,
        TCMB=2.7255, lmax=2500, lens_potential_accuracy=2,
    )  # fmt: skip
    table = camb.get_results(pars).get_lensed_scalar_cls(CMB_unit="muK", lmax=2500)
    dl = {p: torch.from_numpy(table[:, i].copy())[None] for i, p in enumerate(("tt", "ee", "bb", "te"))}
    turned = rotate_spectra(dl, torch.tensor([[math.radians(0.342)]], dtype=torch.float64))
    ell = [80, 400, 1000]
    assert turned["eb"][0, ell].tolist() == pytest.approx([0.00558534, 0.256529, 0.501126], rel=2e-4)
    assert turned["tb"][0, ell].tolist() == pytest.approx([-0.128097, -0.00575879, -0.289260], rel=2e-4)
    assert turned["bb"][0, [80, 1000]].tolist() == pytest.approx([0.00211937, 0.103351], rel=2e-4)


def test_it_is_the_rotation_of_harmonic_coefficients(rng: np.random.Generator) -> None:
    t, e, b = rng.standard_normal((3, 400)) + 1j * rng.standard_normal((3, 400))
    beta = 0.4
    turned = (e + 1j * b) * np.exp(2j * beta), (e - 1j * b) * np.exp(-2j * beta)
    e2, b2 = (turned[0] + turned[1]) / 2, (turned[0] - turned[1]) / 2j

    def spectra(e: np.ndarray, b: np.ndarray) -> dict[str, float]:
        fields = {"t": t, "e": e, "b": b}
        return {p: np.mean(fields[p[0]] * fields[p[1]].conj()).real for p in ("te", "ee", "bb", "tb", "eb")}

    before = {p: torch.tensor([[x]], dtype=torch.float64) for p, x in spectra(e, b).items()}
    after = rotate_spectra(before, torch.tensor([[beta]], dtype=torch.float64))
    assert {p: x.item() for p, x in after.items()} == pytest.approx(spectra(e2, b2), rel=1e-12)


def test_invariants_and_special_angles(lensed: dict[str, torch.Tensor]) -> None:
    spectra = Spectra(lensed)
    got = rotate(spectra, torch.tensor([45.0], dtype=torch.float64)).dl
    assert torch.allclose(got["bb"], lensed["ee"])
    assert torch.allclose(got["ee"], lensed["bb"], atol=1e-12)
    some = rotate(spectra, torch.tensor([7.0], dtype=torch.float64)).dl
    assert torch.allclose(some["ee"] + some["bb"], lensed["ee"] + lensed["bb"])
    assert torch.allclose(some["te"] ** 2 + some["tb"] ** 2, lensed["te"] ** 2)
    back = rotate(Spectra(some), torch.tensor([-7.0], dtype=torch.float64)).dl
    assert torch.allclose(back["te"], lensed["te"])
    assert back["eb"].abs().max() < 1e-12
    assert some["tt"] is lensed["tt"]
    with pytest.raises(SpectrumError, match="te, bb needed"):
        rotate_spectra({"ee": lensed["ee"]}, torch.zeros(1, 1))


def noise(level_uk_arcmin: float, fwhm_arcmin: float, n: int) -> torch.Tensor:
    ell = torch.arange(n, dtype=torch.float64)
    width = math.radians(fwhm_arcmin / 60) / math.sqrt(8 * math.log(2))
    white = math.radians(level_uk_arcmin / 60) ** 2 * torch.exp(ell * (ell + 1) * width**2)
    return white * ell * (ell + 1) / (2 * math.pi)


def test_forecast(lensed: dict[str, torch.Tensor]) -> None:
    dl = {p: x[0] for p, x in lensed.items()}
    n = noise(60.0, 7.0, 1501)
    got = forecast(dl, {"tt": n / 2, "ee": n, "bb": n}, slice(51, 1501), 0.6)
    assert got.eb == pytest.approx(0.0558, rel=0.01)  # spectra of a slightly different LCDM
    assert got.both < min(got.eb, got.tb)


def simulate(
    lensed: dict[str, torch.Tensor],
    angles: list[float],
    levels: list[float],
    n_sky: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return spectra of channels (T once, E and B of each), shape (n_sky, 1 + 2n, 1 + 2n, n_l), and l."""
    ell = np.arange(51, 1501)
    dl = {p: x[0, 51:1501].numpy() for p, x in lensed.items()}
    n = len(angles)
    cov = np.zeros((len(ell), 1 + 2 * n, 1 + 2 * n))
    cov[:, 0, 0] = dl["tt"]
    for i, (a, level) in enumerate(zip(angles, levels, strict=True)):
        c, s = np.cos(2 * np.deg2rad(a)), np.sin(2 * np.deg2rad(a))
        e, b = 1 + 2 * i, 2 + 2 * i
        cov[:, 0, e] = cov[:, e, 0] = dl["te"] * c
        cov[:, 0, b] = cov[:, b, 0] = dl["te"] * s
        for k, a2 in enumerate(angles):
            c2, s2 = np.cos(2 * np.deg2rad(a2)), np.sin(2 * np.deg2rad(a2))
            e2, b2 = 1 + 2 * k, 2 + 2 * k
            cov[:, e, e2] = dl["ee"] * c * c2 + dl["bb"] * s * s2
            cov[:, b, b2] = dl["ee"] * s * s2 + dl["bb"] * c * c2
            cov[:, e, b2] = dl["ee"] * c * s2 - dl["bb"] * s * c2
            cov[:, b, e2] = dl["ee"] * s * c2 - dl["bb"] * c * s2
        white = noise(level, 7.0, 1501)[51:].numpy()
        cov[:, e, e] += white
        cov[:, b, b] += white
    # spectra of 2l+1 modes on 60% of the sky follow a Wishart distribution; Bartlett's decomposition
    root = np.linalg.cholesky(cov)
    dof = np.maximum(((2 * ell + 1) * 0.6).round(), 2 * n + 2)
    m = cov.shape[1]
    bartlett = np.tril(rng.standard_normal((n_sky, len(ell), m, m)), -1)
    index = np.arange(m)
    bartlett[..., index, index] = np.sqrt(rng.chisquare(dof[None, :, None] - index, (n_sky, len(ell), m)))
    factor = root @ bartlett
    spectra = factor @ factor.swapaxes(-1, -2) / dof[None, :, None, None]
    return np.moveaxis(spectra, 1, -1), ell


def test_several_channels_recover_injected_angles(
    lensed: dict[str, torch.Tensor], rng: np.random.Generator
) -> None:
    truth, levels = [0.8, -0.4], [40.0, 60.0]
    skies, ell = simulate(lensed, truth, levels, 40, rng)
    pulls, found = [], []
    for x in torch.from_numpy(skies):
        like = ChannelLikelihood(x[1::2, 1::2], x[2::2, 2::2], x[1::2, 2::2], torch.from_numpy(ell), 0.6)
        theta, cov = like.fit()
        found.append(theta.numpy())
        pulls.append((theta.numpy() - truth) / cov.diagonal().sqrt().numpy())
    # 40 skies: means to 0.16 sigma, scatter to 11%; about three of these
    assert np.mean(pulls, 0) == pytest.approx([0, 0], abs=0.45)
    assert np.std(pulls, 0) == pytest.approx([1, 1], abs=0.3)
    # alpha and beta are degenerate: only their sum is in the data
    alpha = torch.tensor([[0.3, -0.9], [0.8, -0.4]], dtype=torch.float64)
    beta = torch.tensor([0.5, 0.0], dtype=torch.float64)
    same = like.log_prob(alpha, beta)
    assert same[0].item() == pytest.approx(same[1].item(), rel=1e-12)
    prior = torch.full((2, 2), 0.3**2, dtype=torch.float64)  # a common error of 0.3 degrees
    value, error = beta_from_angles(theta, cov, prior)
    assert error > 0.3
    assert min(theta) < value < max(theta) + 1
    assert error == pytest.approx(math.hypot(0.3, beta_from_angles(theta, cov, 0 * prior)[1]), rel=1e-9)


def test_eb_and_tb_recover_an_injected_angle(
    lensed: dict[str, torch.Tensor], rng: np.random.Generator
) -> None:
    beta = 0.35
    skies, ell = simulate(lensed, [beta], [60.0], 100, rng)
    theory = {p: lensed[p][0, 51:1501] for p in ("tt", "te", "ee", "bb")}
    white = noise(60.0, 7.0, 1501)[51:]
    total = {**theory, "ee": theory["ee"] + white, "bb": theory["bb"] + white}
    grid = torch.linspace(beta - 0.4, beta + 0.4, 81, dtype=torch.float64)
    best = []
    for x in torch.from_numpy(skies):
        like = ParityLikelihood(x[1, 2], x[0, 2], theory, total, torch.from_numpy(ell), 0.6, beta)
        value = like.log_prob(grid)
        parabola = np.polyfit(grid.numpy() - beta, value.numpy(), 2)
        best.append(-parabola[1] / (2 * parabola[0]))
    sigma = (-2 * parabola[0]) ** -0.5
    full = {p: x[0] for p, x in lensed.items()}
    n = noise(60.0, 7.0, 1501)
    zero = 0 * n
    assert sigma == pytest.approx(
        forecast(full, {"tt": zero, "ee": n, "bb": n}, slice(51, 1501), 0.6).both, rel=0.02
    )
    assert np.mean(best) == pytest.approx(0, abs=3.5 * sigma / math.sqrt(100))
    assert np.std(best) == pytest.approx(sigma, rel=0.2)  # 100 skies: 7%


def test_bad_shapes() -> None:
    x = torch.ones(1, 1, 5, dtype=torch.float64)
    with pytest.raises(LikelihoodError, match="no cross-spectrum"):
        ChannelLikelihood(x, x, x, torch.arange(5.0), 0.5, auto=False)
    with pytest.raises(LikelihoodError, match="one shape"):
        ChannelLikelihood(x, x, x[..., 1:], torch.arange(5.0), 0.5)
    v = torch.ones(3, dtype=torch.float64)
    with pytest.raises(LikelihoodError, match="one length"):
        ParityLikelihood(v, v, {"te": v}, {"te": v[1:]}, v, 0.5)
    with pytest.raises(LikelihoodError, match="do not constrain"):
        ChannelLikelihood(x, x, 0 * x, torch.arange(5.0), 0.5, smooth=1).fit()
