"""Rotation against the rotation of maps, invariants and forecasts; recovery of injected angles."""

from __future__ import annotations

import itertools
import lzma
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.theory.base import point_from_values
from cmbfit.theory.birefringence.channel_fit import (
    ChannelSettings,
    ChannelSpectra,
    fit_channels,
    read_channel_spectra,
)
from cmbfit.theory.birefringence.channels import ChannelLikelihood, beta_from_angles
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


@pytest.mark.slow
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


def test_bad_shapes() -> None:
    x = torch.ones(1, 1, 5, dtype=torch.float64)
    with pytest.raises(LikelihoodError, match="no cross-spectrum"):
        ChannelLikelihood(x, x, x, torch.arange(5.0), 0.5, auto=False)
    with pytest.raises(LikelihoodError, match="one shape"):
        ChannelLikelihood(x, x, x[..., 1:], torch.arange(5.0), 0.5)
    with pytest.raises(LikelihoodError, match="a channel from 0 on for each of 1 maps"):
        ChannelLikelihood(x, x, x, torch.arange(5.0), 0.5, channel=[1])
    with pytest.raises(LikelihoodError, match="do not constrain"):
        ChannelLikelihood(x, x, 0 * x, torch.arange(5.0), 0.5, smooth=1).fit()


def tables(x: np.ndarray, ell: np.ndarray, folder: Path, maps: list[str]) -> dict[tuple[str, str], Path]:
    """Write the spectra of one sky (T, then E and B of each map) as a user's tables, one for each pair of maps."""
    files = {}
    for a, b in itertools.combinations_with_replacement(range(len(maps)), 2):
        # one order or the other, as files come
        i, j = (a, b) if (a + b) % 2 else (b, a)
        e, o = 1 + 2 * i, 1 + 2 * j
        columns = np.array([ell, x[e, o], x[e + 1, o + 1], x[e, o + 1], x[e + 1, o]]).T
        path = folder / f"{maps[i]}_{maps[j]}.csv.xz"
        text = "ell,EE,BB,EB,BE\n" + "\n".join(",".join(repr(float(v)) for v in row) for row in columns)
        path.write_bytes(lzma.compress(text.encode(), preset=0))
        files[maps[i], maps[j]] = path
    return files


def test_splits_of_a_channel_share_its_angle(
    lensed: dict[str, torch.Tensor], rng: np.random.Generator
) -> None:
    """Two splits of two channels: what the record says is unbiased, covers, and is tighter than what one pair says."""
    truth, maps = {"90": 0.8, "150": -0.4}, ["90a", "90b", "150a", "150b"]
    skies, ell = simulate(lensed, [0.8, 0.8, -0.4, -0.4], [60.0, 60.0, 80.0, 80.0], 8, rng)
    settings = ChannelSettings({m: m[:-1] for m in maps}, 0.6, alpha_deg=0.3, alpha_own_deg=0.1)
    pulls, probabilities = [], []
    e, b = np.ix_([1, 3, 5, 7], [1, 3, 5, 7]), np.ix_([2, 4, 6, 8], [2, 4, 6, 8])
    for x in skies:
        spectra = ChannelSpectra(tuple(maps), ell.astype(float), 2.0 * ell + 1, x[e], x[b], x[e[0], b[1]])
        found = fit_channels(spectra.binned(25), settings)
        pulls.append(
            [(found["channels"][c]["angle"] - t) / found["channels"][c]["error"] for c, t in truth.items()]
        )
        probabilities.append(found["pte"])
        assert found["common"]["chi2"] > 20  # 1.2 degrees apart
        assert found["beta"]["error"] > 0.3
        assert found["f_sky_of_scatter"] == pytest.approx(0.6, rel=0.2)  # chi2 of 684 values: 5%
    # 8 skies: means to 0.35 sigma, scatter to 27%; about three of these
    assert np.mean(pulls, 0) == pytest.approx([0, 0], abs=1.1)
    assert np.std(pulls, 0) == pytest.approx([1, 1], abs=0.8)
    assert stats.kstest(probabilities, "uniform").pvalue > 1e-3
    alone = ChannelSettings({"90a": "90", "90b": "90"}, 0.6)
    two = ChannelSpectra(
        ("90a", "90b"),
        spectra.ells,
        spectra.modes,
        *(y[:2, :2] for y in (spectra.ee, spectra.bb, spectra.eb)),
    )
    pair = fit_channels(two.between(51, 1500).binned(25), alone)
    assert pair["channels"]["90"]["error"] > 1.1 * found["channels"]["90"]["error"]
    assert pair["common"]["pte"] is None


def test_a_table_s_order_of_maps_is_kept(
    lensed: dict[str, torch.Tensor], rng: np.random.Generator, tmp_path: Path
) -> None:
    maps = ["a", "b", "c"]
    skies, ell = simulate(lensed, [5.0, -3.0, 1.0], [40.0] * 3, 1, rng)
    files = tables(skies[0], ell, tmp_path, maps)
    spectra = read_channel_spectra(maps, files)
    for i, j in itertools.product(range(3), repeat=2):
        np.testing.assert_array_equal(spectra.eb[i, j], skies[0][1 + 2 * i, 2 + 2 * j])
        np.testing.assert_array_equal(spectra.bb[i, j], skies[0][2 + 2 * i, 2 + 2 * j])
    with pytest.raises(SpectrumError, match="one table of a x b, found none"):
        read_channel_spectra(maps, {p: f for p, f in files.items() if set(p) != {"a", "b"}})
    with pytest.raises(SpectrumError, match="one table of a x b, found both orders"):
        read_channel_spectra(maps, files | {("a", "b"): files["a", "a"], ("b", "a"): files["a", "a"]})
    broken = tmp_path / "broken.csv"
    broken.write_text("ell,EE,BB,EB\n2,1,1,1\n", encoding="utf-8")
    with pytest.raises(SpectrumError, match="one column be"):
        read_channel_spectra(maps, files | {("a", "a"): broken})
    broken.write_text("ell,EE,BB,EB,BE\n2,1,1,1,1\n4,1,1,1,1\n", encoding="utf-8")
    with pytest.raises(SpectrumError, match="one row for each multipole"):
        read_channel_spectra(maps, files | {("a", "a"): broken})
    with pytest.raises(SpectrumError, match="within 51 to 1500"):
        spectra.between(2, 100)
    with pytest.raises(SpectrumError, match="two bins or more"):
        spectra.binned(1000)
    with pytest.raises(LikelihoodError, match="a channel for each of a, b, c"):
        fit_channels(spectra, ChannelSettings({"a": "1"}, 0.6))
    with pytest.raises(LikelihoodError, match="at least 0"):
        ChannelSettings({"a": "1"}, 0.6, alpha_deg=-1.0)


def by_scatter(path: Path, width: int = 20) -> tuple[float, float]:
    """Angle and error [deg] from means of EB/(EE - BB)/2, weighed by EB's own scatter from bin to bin: no model of the errors."""
    lines = lzma.decompress(path.read_bytes()).decode().split()
    d = np.loadtxt(lines[1:], delimiter=",")[51 : 51 + 72 * width].reshape(72, width, -1).mean(1)
    column = {name: d[:, i] for i, name in enumerate(lines[0].split(","))}
    eb, slope = (column["EB"] + column["BE"]) / 2, column["EE"] - column["BB"]
    padded = np.pad(eb, 5, mode="reflect")
    variance = np.array([padded[i : i + 11].var() for i in range(72)])
    norm = (slope**2 / variance).sum()
    return float(np.degrees((slope * eb / variance).sum() / norm / 2)), float(np.degrees(norm**-0.5 / 2))


@pytest.mark.parametrize("band", [100, 143, 217])
def test_planck_s_half_missions(band: int) -> None:
    """EB of PR3's two half missions of a frequency against an estimate that shares nothing but the data."""
    folder = Path(__file__).parents[3] / "shared/data-mirror/planck_pr3_rawspectra"
    if not folder.is_dir():
        pytest.skip("Planck's spectra are not here: ../shared/data-mirror/planck_pr3_rawspectra")
    maps = [f"{band}hm1", f"{band}hm2"]
    pairs = itertools.combinations_with_replacement(maps, 2)
    files = {(a, b): folder / f"pr3_P{a}xP{b}.csv.xz" for a, b in pairs}
    spectra = read_channel_spectra(maps, files).between(51, 1490).binned(20)
    found = fit_channels(spectra, ChannelSettings(dict.fromkeys(maps, "x"), 0.45))["channels"]["x"]
    angle, error = by_scatter(files[maps[0], maps[1]])
    # the same data with other weights: less than an error apart. Errors alike: the share of the sky is known to 30%, and weights
    # by the scatter of 11 bins prefer those that chance made quiet
    assert found["angle"] == pytest.approx(angle, abs=error)
    assert found["error"] == pytest.approx(error, rel=0.6)
