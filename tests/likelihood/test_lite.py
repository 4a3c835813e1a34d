"""CMB-only bandpowers of a multi-frequency set: linear algebra, the published SPT-3G 2018 lite set, a chain, files."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import LikelihoodError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.datasets.candl_format import read_candl
from cmbfit.likelihood.datasets.candl_likelihood import likelihood_of
from cmbfit.likelihood.lite import Lite, Reconstruction, _maximum, compress
from cmbfit.likelihood.lite_files import calibrated_covariance, write_lite
from cmbfit.likelihood.multi_frequency import MultiFrequencyBandpowers
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Uniform
from cmbfit.likelihood.sacc_data import read_sacc
from cmbfit.likelihood.user_files import read_user_candl
from cmbfit.theory.spectra import Spectra

from .conftest import fetched
from .helpers import info, one, random_covariance

TOP = 60
SPECTRA = {"TT 90x90": 4, "TT 90x150": 4, "TT 150x150": 3, "EE 150x150": 4}
FIRST = {"TT 150x150": 1}  # its first bin is the second of the others
POISSON = ["p90", "px", "p150"]
CALS = ["T90", "T150", "E150"]


def fiducial() -> Spectra:
    ell = np.arange(TOP + 1.0)
    dl = {
        p: torch.from_numpy(a * (1 + 0.2 * np.sin(ell / 7)) * (ell >= 2))[None]
        for p, a in (("tt", 900.0), ("ee", 40.0))
    }
    return Spectra(dl)


class Toy:
    """Four spectra of two maps, Poisson sources in TT, calibrations with correlated priors, kappa."""

    def __init__(self, rng: np.random.Generator, *, calibrated: bool = True, moving: bool = True) -> None:
        ell = np.arange(2.0, TOP + 1)
        self.windows = {}
        for name, n in SPECTRA.items():
            bins = 2 + 14 * np.arange(n + 1) + 14 * FIRST.get(name, 0)
            weights = [(ell >= a) & (ell < b) for a, b in itertools.pairwise(bins)]
            self.windows[name] = np.array(weights) * rng.uniform(0.9, 1.1, (n, len(ell)))
            self.windows[name] /= self.windows[name].sum(1, keepdims=True)
        steps: list[dict[str, Any]] = (
            [{"Module": "common.SuperSampleLensing", "kappa_param": "kappa"}] if moving else []
        )
        steps.append(
            {
                "Module": "common.PoissonPower",
                "spec_param_dict": dict(zip(list(SPECTRA)[:3], POISSON, strict=True)),
                "ell_ref": 30,
            }
        )
        legs = {"TT 90x90": ["T90", "T90"], "TT 90x150": ["T90", "T150"], "TT 150x150": ["T150", "T150"]}
        legs["EE 150x150"] = ["E150", "E150"]
        if calibrated:
            steps.append({"Module": "common.CalibrationAuto", "spec_param_dict": legs})
        n = sum(SPECTRA.values())
        truth = np.concatenate(
            [w @ fiducial().dl[s[:2].lower()][0, 2:].numpy() for s, w in self.windows.items()]
        )
        self.covariance = random_covariance(rng, n) * np.outer(*[truth] * 2) * 1e-4 / n
        data = truth + np.linalg.cholesky(self.covariance) @ rng.standard_normal(n)
        self.shape = (ell / 30) ** 2
        self.data = data + np.concatenate(
            [w @ self.shape * (20.0 if s[:2] == "TT" else 0.0) for s, w in self.windows.items()]
        )
        files = {
            "x.yaml": yaml.safe_dump(
                {
                    "band_power_file": "d.txt",
                    "covariance_file": "c.txt",
                    "window_functions_folder": "w/",
                    "spectra_info": [{k: v} for k, v in SPECTRA.items()],
                    "data_model": steps,
                }
            ).encode(),
            "d.txt": _text(self.data[:, None]),
            "c.txt": _text(self.covariance),
        }
        for name, window in self.windows.items():
            files[f"w/{name.replace(' ', '_')}_window_functions.txt"] = _text(
                np.column_stack([ell, window.T])
            )
        prior: dict[str, Any] = {p: Gaussian(15.0, 10.0) for p in POISSON}
        joint: tuple[JointGaussian, ...] = ()
        self.prior = np.array([[4e-6, 3e-6, 1e-6], [3e-6, 5e-6, 1e-6], [1e-6, 1e-6, 9e-6]])
        if calibrated:
            joint = (JointGaussian(tuple(CALS), (1.0,) * 3, tuple(map(tuple, self.prior.tolist()))),)
            prior |= {
                c: Gaussian(1.0, float(s)) for c, s in zip(CALS, np.sqrt(np.diag(self.prior)), strict=True)
            }
        if moving:
            prior["kappa"] = Gaussian(0.0, 4.5e-4)
        about = replace(info(nuisance=prior), joint_priors=joint)
        like = likelihood_of(read_candl(files, "x.yaml"), about)
        assert isinstance(like, MultiFrequencyBandpowers)
        self.like = like

    def design(self) -> np.ndarray:
        """Which bin each measured bandpower is, by hand."""
        rows = []
        for name, n in SPECTRA.items():
            start = (0 if name[:2] == "TT" else 4) + FIRST.get(name, 0)
            rows += [np.eye(8)[start + i] for i in range(n)]
        return np.array(rows)

    def foregrounds(self) -> np.ndarray:
        """Response to the three amplitudes."""
        out, start = np.zeros((15, 3)), 0
        for i, (name, window) in enumerate(self.windows.items()):
            if i < 3:
                out[start : start + len(window), i] = window @ self.shape
            start += SPECTRA[name]
        return out


def _text(table: np.ndarray) -> bytes:
    return "\n".join(" ".join(f"{v:.17g}" for v in row) for row in table).encode()


def test_without_calibrations_it_is_generalised_least_squares(rng: np.random.Generator) -> None:
    """A linear model: mean and covariance in closed form, with priors on the foregrounds."""
    toy = Toy(rng, calibrated=False, moving=False)
    got = compress(toy.like, fiducial())
    response = np.hstack([toy.design(), toy.foregrounds()])
    inverse = np.linalg.inv(toy.covariance)
    precision = response.T @ inverse @ response
    precision[8:, 8:] += np.eye(3) / 100.0
    right = response.T @ inverse @ toy.data
    right[8:] += 15.0 / 100.0
    cov = np.linalg.inv(precision)
    np.testing.assert_allclose(got.data, (cov @ right)[:8], rtol=1e-6)
    # differences of gradients: the model is quadratic, so that rounding alone is left
    np.testing.assert_allclose(got.covariance, cov[:8, :8], rtol=1e-5, atol=1e-9 * cov[:8, :8].max())
    assert got.calibrations == ()
    assert got.pairs == ("tt",) * 4 + ("ee",) * 4


def test_calibrations_split_into_those_that_are_left_and_those_that_are_not(rng: np.random.Generator) -> None:
    """Both together are the covariance with all calibrations marginalised, to first order in their 0.2%."""
    toy = Toy(rng, moving=False)
    got = compress(toy.like, fiducial())
    assert got.calibrations == ("Tcal", "Ecal")
    directions = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    expected = np.linalg.inv(directions.T @ np.linalg.inv(toy.prior) @ directions)
    np.testing.assert_allclose(got.calibration_covariance, expected, rtol=1e-3)
    model = toy.design() @ got.fiducial
    legs = np.array([[2, 0, 0]] * 4 + [[1, 1, 0]] * 4 + [[0, 2, 0]] * 3 + [[0, 0, 2]] * 4)
    foregrounds = toy.foregrounds()
    response = np.hstack(
        [toy.design(), foregrounds, -(model + foregrounds @ np.full(3, 20.0))[:, None] * legs]
    )
    precision = response.T @ np.linalg.inv(toy.covariance) @ response
    precision[8:11, 8:11] += np.eye(3) / 100.0
    precision[11:, 11:] += np.linalg.inv(toy.prior)
    direct = np.linalg.inv(precision)[:8, :8]
    whole = calibrated_covariance(got)
    # second order: 0.2% of calibration, the noise of the data in the place of the model, foregrounds in what is scaled
    np.testing.assert_allclose(np.sqrt(np.diag(whole)), np.sqrt(np.diag(direct)), rtol=0.03)
    values = np.linalg.eigvals(np.linalg.solve(direct, whole)).real
    assert 0.93 < values.min() < values.max() < 1.07
    # and what is left is not nothing
    assert np.sqrt(np.diag(got.covariance) / np.diag(whole)).min() < 0.97


def test_super_sample_lensing_enters_the_covariance(rng: np.random.Generator) -> None:
    """C_l -> C_l - kappa (2 C_l + l dC_l/dl), by differences over the model's own multipoles."""
    moving, still = (
        compress(Toy(np.random.default_rng(3), moving=m).like, fiducial()) for m in (True, False)
    )
    np.testing.assert_allclose(moving.data, still.data, rtol=1e-6)
    ell = np.arange(2.0, TOP + 1)
    shift = []
    for pair, window in still.windows.items():
        dl = fiducial().dl[pair][0, 2:].numpy()
        cl = dl / (ell * (ell + 1))
        change = -(2 * dl + ell * (ell + 1) * ell * np.gradient(cl))
        shift.append(window[:, 2:] @ change[: window.shape[1] - 2])
    g = np.concatenate(shift)
    np.testing.assert_allclose(
        moving.covariance - still.covariance,
        4.5e-4**2 * np.outer(g, g),
        rtol=1e-3,
        atol=1e-6 * still.covariance.max(),
    )


def test_both_files_read_back(rng: np.random.Generator, tmp_path: Path) -> None:
    """As candl and as SACC, by the readers of people's files; the calibrations' prior is the one that was written."""
    got = compress(Toy(rng).like, fiducial())
    write_lite(tmp_path / "out", got, "mine", "mine", {"a": 1})
    like = read_user_candl(tmp_path / "out" / "mine.yaml", units_checked=True)
    np.testing.assert_allclose(like.data, got.data, rtol=1e-15)
    np.testing.assert_allclose(like.covariance, got.covariance, rtol=1e-9, atol=1e-9)
    (joint,) = like.info.joint_priors
    np.testing.assert_allclose(joint.covariance, got.calibration_covariance, rtol=1e-12)
    values = {"Tcal": one(value=1.01), "Ecal": one(value=0.98)}
    model = like.bandpowers(fiducial(), values)[0].numpy()
    expected = got.fiducial / np.where(np.array(got.pairs) == "tt", 1.01**2, 0.98**2)
    np.testing.assert_allclose(model, expected, rtol=1e-9)
    sacc = read_sacc(tmp_path / "out" / "mine.sacc.fits", "x", survey="x", unit="dl", pairs=("tt", "ee"))
    np.testing.assert_allclose(sacc.covariance, calibrated_covariance(got), rtol=1e-9)
    np.testing.assert_allclose(sacc.bandpowers(fiducial(), {})[0], got.fiducial, rtol=1e-9)
    (tmp_path / "out" / "notes.txt").write_text("the user's own")
    write_lite(tmp_path / "out", got, "mine", "mine")
    assert (tmp_path / "out" / "notes.txt").exists()


def test_what_cannot_be_compressed_is_refused_by_name(rng: np.random.Generator) -> None:
    toy = Toy(rng)
    with pytest.raises(LikelihoodError, match="hold: unknown calibration 'T9'"):
        compress(toy.like, fiducial(), ["T9", "E150"])
    with pytest.raises(
        LikelihoodError, match="expected 2 calibrations, one of T and one of E, found T90, T150"
    ):
        compress(toy.like, fiducial(), ["T90", "T150"])
    flat = Toy(rng).like
    flat.info = replace(flat.info, nuisance={**flat.info.nuisance, "p90": Uniform(0, 100)})
    with pytest.raises(LikelihoodError, match="p90 needs a Gaussian prior"):
        compress(flat, fiducial())
    other = Toy(rng)
    other.like.blocks[2].window = torch.roll(other.like.blocks[2].window, 6, 1)
    with pytest.raises(LikelihoodError, match="TT 150x150 is binned otherwise than TT 90x90"):
        compress(other.like, fiducial())
    late = Toy(rng).like
    late.model.steps.reverse()
    with pytest.raises(LikelihoodError, match=r"acts (after|before) a foreground"):
        compress(late, fiducial())
    result = CliRunner().invoke(app, ["lite", "--data", "planck2018_lowl_tt_2bin", "-o", "x"])
    assert "expected one data set of several frequencies" in str(result.exception)


@pytest.fixture(scope="module")
def published() -> Lite:
    """SPT-3G 2018, calibrations at 150 GHz held as in Balkenhol 2024."""
    for group in ("spt3g_2018_ttteee", "spt3g_2018_lite"):
        fetched(group)
    from cmbfit.cli.lite import FIDUCIAL
    from cmbfit.theory.base import point_from_values
    from cmbfit.theory.emulator.bundle import load_emulator

    like, theory = load_likelihood("spt3g_2018_ttteee"), load_emulator("lcdm_high")
    assert isinstance(like, MultiFrequencyBandpowers)
    return compress(like, theory.spectra(point_from_values(theory, FIDUCIAL)), ["Tcal150", "Ecal150"])


@pytest.mark.slow
@pytest.mark.network
def test_spt3g_2018_is_the_published_lite_set(published: Lite) -> None:
    """Balkenhol 2024's own bandpowers and covariance: 0.001 sigma and 1e-4, where that paper's minimiser stops."""
    lite: Any = load_likelihood("spt3g_2018_lite")
    sigma = lite.sigma.numpy()
    assert np.abs((published.data - lite.data.numpy()) / sigma).max() < 0.003
    np.testing.assert_allclose(np.sqrt(np.diag(published.covariance)), sigma, rtol=3e-4)
    values = np.linalg.eigvals(np.linalg.solve(lite.covariance.numpy(), published.covariance)).real
    assert 0.99 < values.min() < values.max() < 1.01
    np.testing.assert_allclose(
        published.calibration_covariance, lite.info.joint_priors[0].covariance, rtol=1e-3
    )
    # windows: theirs leave aberration to the model, ours have it
    from cmbfit.theory.emulator.bundle import load_emulator

    theory = load_emulator("lcdm_high")
    theta = torch.tensor([[0.0222, 0.121, 1.041, 0.055, 3.04, 0.96]], dtype=torch.float64)
    model = lite.bandpowers(theory.spectra(theta), {n: torch.ones(1).double() for n in lite.info.nuisance})[0]
    ours = np.concatenate(
        [w @ theory.spectra(theta).dl[p][0, : w.shape[1]].numpy() for p, w in published.windows.items()]
    )
    assert np.abs((ours - model.numpy()) / sigma).max() < 0.003


@pytest.mark.slow
@pytest.mark.network
def test_the_command_writes_the_published_lite_set(
    published: Lite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = "lite --data spt3g_2018_ttteee --hold Tcal150 --hold Ecal150 -o lite"
    result = CliRunner().invoke(app, words.split(), catch_exceptions=False)
    assert "123 bandpowers of 728; calibrations left: Tcal, Ecal" in result.stdout
    like = read_user_candl(tmp_path / "lite" / "spt3g_2018_ttteee_lite.yaml", survey="spt3g")
    np.testing.assert_allclose(like.data, published.data, rtol=1e-9)
    np.testing.assert_allclose(like.covariance, published.covariance, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.network
def test_a_chain_gives_the_same_bandpowers(published: Lite) -> None:
    """HMC over all parameters: what the Gaussian leaves out moves no mean by a quarter of sigma, no width by a tenth.

    32 chains of 80 kept trajectories of about a quarter of a period: means to 0.03 sigma, widths to 2%.
    """
    like = load_likelihood("spt3g_2018_ttteee")
    assert isinstance(like, MultiFrequencyBandpowers)
    posterior = Reconstruction(like, ["Tcal150", "Ecal150"])
    n, chains = len(posterior.pairs), 32
    best, hessian, _ = _maximum(posterior.log_prob, posterior.start, "SPT-3G 2018")
    whole = torch.linalg.inv(-hessian)
    root = torch.linalg.cholesky((whole + whole.T) / 2)
    generator = torch.Generator().manual_seed(5)

    def normal() -> torch.Tensor:
        return torch.randn(chains, len(best), generator=generator, dtype=torch.float64)

    def gradient(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = z.detach().requires_grad_(True)
        value = posterior.log_prob(best + z @ root.T).nan_to_num(nan=-torch.inf)
        return value.detach(), torch.autograd.grad(value.sum(), z)[0].nan_to_num()

    point = normal()
    value, slope = gradient(point)
    kept, accepted = [], 0
    for move in range(130):
        momentum = normal()
        step = 0.3 * (0.8 + 0.4 * float(torch.rand(1, generator=generator)))
        x, p, g = point, momentum + 0.5 * step * slope, slope
        for i in range(5):
            x = x + step * p
            new, g = gradient(x)
            p = p + (0.5 if i == 4 else 1.0) * step * g
        ratio = new - value + 0.5 * (momentum.square() - p.square()).sum(1)
        yes = torch.rand(chains, generator=generator, dtype=torch.float64).log() < ratio
        point = torch.where(yes[:, None], x, point)
        value, slope = torch.where(yes, new, value), torch.where(yes[:, None], g, slope)
        accepted += int(yes.sum())
        if move >= 50:
            kept.append((best + point @ root.T)[:, :n] * posterior.sigma)
    assert accepted > 0.5 * 130 * chains
    samples = torch.cat(kept).numpy()
    # what the chain's posterior has: the lite set's covariance without super-sample lensing
    sigma = np.sqrt(np.diag(whole[:n, :n].numpy())) * posterior.sigma.numpy()
    shift, width = (samples.mean(0) - published.data) / sigma, samples.std(0) / sigma
    assert np.sqrt((shift**2).mean()) < 0.08
    assert np.abs(shift).max() < 0.25
    assert (width.min() > 0.9, width.max() < 1.1) == (True, True)
