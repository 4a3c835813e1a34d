"""Fisher forecasts: closed forms, the scatter of simulated data, published errors."""

from __future__ import annotations

import lzma
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from cmbfit.errors import LikelihoodError, ParameterError
from cmbfit.fit import build_posterior, complete_fit
from cmbfit.inference.fisher import forecast
from cmbfit.likelihood import Posterior
from cmbfit.likelihood.base import DataSetInfo
from cmbfit.likelihood.mock import MockSpectra
from cmbfit.likelihood.priors import Gaussian, JointGaussian, Uniform
from cmbfit.theory.spectra import Spectra
from cmbfit.theory.tensor_template import tensor_template

LMAX = 60
TAU = {"tau": {"gaussian": [0.0543, 0.0073]}}
TRUTH = {
    "ombh2": 0.022383,
    "omch2": 0.12011,
    "theta_mc": 1.040909,
    "tau": 0.0543,
    "logA": 3.0448,
    "ns": 0.96605,
}


class Powers:
    """tt = a, ee = b^2, te = 0: two amplitudes of flat spectra."""

    parameters = ("a", "b")
    box: ClassVar = {"a": (0.0, 10.0), "b": (0.0, 10.0)}
    lmax = LMAX
    settings: ClassVar[dict[str, Any]] = {}

    def spectra(self, theta: torch.Tensor) -> Spectra:
        one = torch.ones(len(theta), LMAX + 1, dtype=torch.float64)
        return Spectra({"tt": theta[:, :1] * one, "ee": theta[:, 1:] ** 2 * one, "te": 0 * one})


def posterior(seed: int | None = None, truth: tuple[float, float] = (3.0, 2.0), **priors: Any) -> Posterior:
    sky = {"m": {"tt": (2, LMAX), "ee": (2, LMAX), "te": (2, LMAX)}}
    noise = {"t": np.full(LMAX + 1, 1.0), "e": np.zeros(LMAX + 1)}
    sky_of_truth = Powers().spectra(torch.tensor([truth], dtype=torch.float64))
    like = MockSpectra(DataSetInfo("m", "m", sky, 1, "none"), sky_of_truth, noise, 1.0, seed=seed)
    return Posterior(Powers(), [like], {"a": Uniform(0, 10), "b": Uniform(0, 10), **priors})


def test_amplitudes_have_their_closed_form() -> None:
    """sigma(a) = (a + N) sqrt(2 / modes), sigma(b) = b / 2 sqrt(2 / modes); a normal prior adds its inverse variance."""
    modes = sum(2 * ell + 1 for ell in range(2, LMAX + 1))
    found = forecast(posterior(), {"a": 3.0, "b": 2.0})
    assert found.sigma == pytest.approx([4 * (2 / modes) ** 0.5, (2 / modes) ** 0.5], rel=1e-9)
    assert found.shift == pytest.approx(0, abs=1e-9)
    with_prior = forecast(posterior(a=Gaussian(3.0, 0.01)), {"a": 3.0, "b": 2.0})
    assert with_prior.sigma[0] == pytest.approx((modes / 32 + 1e4) ** -0.5, rel=1e-9)
    assert forecast(posterior(), {"a": 3.0, "b": 2.0}, ["b"]).parameters == ("a",)


def test_an_edge_of_the_range_is_differentiated_from_inside() -> None:
    """a = 10 is an edge of its range; and b = 0 another, where ee is zero and says nothing of b."""
    found = forecast(posterior(truth=(10.0, 2.0)), {"a": 10.0, "b": 2.0})
    modes = sum(2 * ell + 1 for ell in range(2, LMAX + 1))
    assert found.sigma == pytest.approx([11 * (2 / modes) ** 0.5, (2 / modes) ** 0.5], rel=1e-9)
    with pytest.raises(LikelihoodError, match="zero probability"):
        forecast(posterior(), {"a": 3.0, "b": 0.0})


def test_best_fits_of_drawn_data_scatter_as_forecast() -> None:
    """150 drawn data sets: to first order the best fit is off by F^-1 times the slope of ln L at the truth.

    Pulls have mean 0 +- 4 / sqrt(150) and width 1 +- 4 / sqrt(300).
    """
    expected = forecast(posterior(), {"a": 3.0, "b": 2.0})
    slopes = []
    for seed in range(150):
        theta = torch.tensor([[3.0, 2.0]], dtype=torch.float64, requires_grad=True)
        posterior(seed).log_prob(theta).sum().backward()
        assert theta.grad is not None
        slopes.append(theta.grad[0].numpy())
    pulls = np.array(slopes) @ expected.covariance / expected.sigma
    assert pulls.mean(axis=0) == pytest.approx(0, abs=0.33)
    assert pulls.std(axis=0) == pytest.approx(1, abs=0.24)


def of(data: str, **section: Any) -> dict[str, float]:
    """Errors of a fit's parameters at the truth of its mock data."""
    fit = complete_fit("mock", {"data": [data], **section}, "lcdm_high")
    found = forecast(build_posterior(fit, fold=False), {**TRUTH, "beta": 0.0, "nnu": 3.044, "r": 0.0})
    assert found.shift / found.sigma == pytest.approx(0, abs=0.5)
    return dict(zip(found.parameters, found.sigma, strict=True))


def test_a_planck_like_survey_has_plancks_published_errors() -> None:
    """Planck 2018 VI, table 2, TT,TE,EE+lowE: an idealised survey, without foregrounds, does better, by less than 30%."""
    found = of("mock_planck", priors=TAU)
    published = {"ombh2": 0.00015, "omch2": 0.0014, "theta_mc": 0.00031, "ns": 0.0044}
    for p, sigma in published.items():
        assert 0.7 * sigma < found[p] < sigma, p


def test_a_satellite_measures_tau_to_the_limit_of_cosmic_variance() -> None:
    """LiteBIRD's 0.002 (arXiv:2202.02773, section 7), of 60% of the sky."""
    assert of("mock_litebird")["tau"] == pytest.approx(0.002, rel=0.15)


def test_rotation_has_its_closed_form() -> None:
    """sigma^-2 = f sum (2 l + 1) [2 (EE - BB)]^2 / [(EE + N)(BB + N)] of EB, and TB's beside it, from the spectra alone."""
    theory = {"class": "rotated", "options": {"emulator": "lcdm_high"}}
    fit = complete_fit("mock", {"data": ["mock_litebird_eb"], "theory": theory}, "lcdm_high")
    made = build_posterior(fit, fold=False)
    found = forecast(made, {**TRUTH, "beta": 0.0})
    spectra = made.theory.spectra(torch.tensor([[*TRUTH.values(), 0.0]], dtype=torch.float64)).dl
    ell = np.arange(2, 1001)
    beam = np.exp(-ell * (ell + 1) * (30 * np.pi / 10800) ** 2 / 8 / np.log(2))
    white = {
        x: (level * np.pi / 10800) ** 2 * ell * (ell + 1) / 2 / np.pi / beam
        for x, level in (("p", 2.2), ("t", 1.56))
    }
    tt, te, ee, bb = (spectra[p][0, 2:1001].numpy() for p in ("tt", "te", "ee", "bb"))
    fisher = 0.0
    for k in range(len(ell)):  # (TB, EB) given B: covariance (B + N) times that of (T, E)
        slope = 2 * np.array([te[k], ee[k] - bb[k]])
        te_matrix = np.array([[tt[k] + white["t"][k], te[k]], [te[k], ee[k] + white["p"][k]]])
        fisher += 0.6 * (2 * ell[k] + 1) * slope @ np.linalg.solve(te_matrix, slope) / (bb[k] + white["p"][k])
    beta = found.sigma[found.parameters.index("beta")]
    assert np.radians(beta) == pytest.approx(
        fisher**-0.5, rel=1e-3
    )  # the step of 0.05 degrees bends sin 4 beta


@pytest.fixture
def so_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Simons Observatory's noise from the mirror beside a development checkout."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "data-mirror" / "so_noise"
    if not folder.is_dir():
        pytest.skip(f"the data mirror is not beside this checkout ({folder})")
    (tmp_path / "so_noise").mkdir()
    for file in folder.glob("*.xz"):
        (tmp_path / "so_noise" / file.stem).write_bytes(lzma.decompress(file.read_bytes()))
    monkeypatch.setenv("CMBFIT_DATA", str(tmp_path))


@pytest.mark.usefixtures("so_noise")
def test_simons_observatorys_tilt_is_the_published_one() -> None:
    """sigma(n_s) = 0.002 and sigma(Omega_b h^2) = 0.00005 (arXiv:1808.07445, table 3; rounded there, with Planck's larger sky)."""
    found = of("mock_so_lat_baseline", priors=TAU)
    assert 0.0015 < found["ns"] < 0.0025
    assert 0.000045 < found["ombh2"] < 0.00006


@pytest.mark.slow
@pytest.mark.usefixtures("so_noise")
def test_neutrinos_and_tensors_by_camb() -> None:
    """N_eff: 0.07 with Planck beside it (arXiv:1808.07445, abstract); here without, 40% of the sky: 0.05-0.09.

    r of a satellite without foregrounds or delensing: its closed form from the B modes of CAMB, sigma^-2 = f sum (2 l + 1) / 2
    [B_tensor / (B_lensing + N)]^2, to a tenth, since T and E and the other parameters matter a little; below the 0.001 that
    holds foregrounds and systematic errors (arXiv:2202.02773).
    """
    by_camb = {"class": "camb", "options": {"preset": "high", "vary": ["nnu"]}}
    assert 0.05 < of("mock_so_lat_baseline", theory=by_camb, priors=TAU)["nnu"] < 0.09
    found = of("mock_litebird", theory={"class": "camb", "options": {"vary": ["r"]}})["r"]
    template = tensor_template(TRUTH, lmax=600)
    lensing, one = (
        template.spectra(torch.tensor([[r]], dtype=torch.float64)).dl["bb"][0, 2:].numpy() for r in (0.0, 1.0)
    )
    ell = np.arange(2, 601)
    noise = (2.2 * np.pi / 10800) ** 2 * np.exp(ell * (ell + 1) * (30 * np.pi / 10800) ** 2 / 8 / np.log(2))
    fisher = (
        0.6
        * ((2 * ell + 1) / 2 * ((one - lensing) / (lensing + noise * ell * (ell + 1) / 2 / np.pi)) ** 2).sum()
    )
    assert found == pytest.approx(fisher**-0.5, rel=0.1)
    assert found < 1e-3


class Shifted:
    """ln L = -(a + u + v - 3)^2 / (2 0.1^2) with a joint prior of u and v."""

    cov = ((0.04, 0.03), (0.03, 0.09))
    info = DataSetInfo(
        "shifted", "", {}, 1, "", joint_priors=(JointGaussian(("u", "v"), (0.0, 0.0), cov),),
        nuisance={"u": Gaussian(0.0, 0.2), "v": Gaussian(0.0, 0.3)},
    )  # fmt: skip
    pairs = ("tt",)
    lmax = LMAX

    def log_prob(self, spectra: Spectra, nuisance: dict[str, torch.Tensor]) -> torch.Tensor:
        return -50 * (spectra.dl["tt"][:, 2] + nuisance["u"] + nuisance["v"] - 3).square()

    def settings(self) -> dict[str, Any]:
        return {}


def test_a_joint_prior_keeps_its_correlation() -> None:
    """sigma(a)^2 = 0.1^2 + var(u + v), of which the correlation makes 0.06."""
    made = Posterior(Powers(), [Shifted()], {"a": Uniform(0, 10), "b": Gaussian(2.0, 0.1)})
    found = forecast(made, {"a": 3.0, "b": 2.0, "u": 0.0, "v": 0.0})
    assert found.sigma[0] ** 2 == pytest.approx(0.01 + 0.04 + 0.09 + 2 * 0.03, rel=1e-9)


def test_what_cannot_be_forecast_is_said() -> None:
    with pytest.raises(ParameterError, match="no value of b"):
        forecast(posterior(), {"a": 3.0})
    with pytest.raises(ParameterError, match="no parameter of the theory"):
        forecast(posterior(), {"a": 3.0, "b": 2.0}, ["c"])
