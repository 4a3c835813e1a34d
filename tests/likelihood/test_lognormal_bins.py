"""Log-normal bins of Planck's low l: scipy's densities, Commander's published chi2, folding, the guard."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from cmbfit import data
from cmbfit.errors import DataError, LikelihoodError
from cmbfit.fit.build import load_data
from cmbfit.likelihood import Posterior, Uniform, load_likelihood
from cmbfit.likelihood.compiled import compile_posterior
from cmbfit.likelihood.lognormal_bins import LogNormalBins
from cmbfit.theory.base import point_from_values
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra

from .helpers import info, one

FILES = {"tt": "lognormal_fit_2bins_TT.txt", "ee": "lognormal_fit_3bins_EE.txt"}
NAMES = {pair: f"planck2018_lowl_{pair}_lognormal" for pair in FILES}


@pytest.mark.parametrize("pair", ["tt", "ee"])
def test_scipys_densities_of_the_bins_means(pair: str, rng: np.random.Generator) -> None:
    """Means of D_l within each bin, over A_planck^2; the table read by numpy."""
    table = np.array(
        [
            line.split()
            for line in data.read_bytes(f"planck_low_lognormal/{FILES[pair]}").decode().splitlines()[1:]
        ],
        dtype=float,
    )
    dl = {"tt": 900.0, "ee": 0.05}[pair] * rng.uniform(0.8, 1.2, 30)
    dl[:2] = 0
    expected = 0.0
    for first, last, mu, sigma, *shift in table:
        mean = dl[int(first) : int(last) + 1].mean() / 1.01**2
        expected += stats.lognorm(s=sigma, scale=np.exp(mu), loc=sum(shift)).logpdf(mean)
    got = load_likelihood(NAMES[pair]).log_prob(
        Spectra({pair: torch.from_numpy(dl)[None]}), {"A_planck": one(value=1.01)}
    )
    assert got.item() == pytest.approx(expected, rel=1e-12)


def test_below_the_shift_nothing_is_possible_and_gradients_stay_finite() -> None:
    like = load_likelihood(NAMES["ee"])
    scale = torch.tensor([1.0, -3.0, float("nan")], dtype=torch.float64, requires_grad=True)
    dl = 0.05 * scale[:, None] * torch.ones(30, dtype=torch.float64)
    got = like.log_prob(Spectra({"ee": dl}), {"A_planck": one(3)})
    assert torch.isfinite(got).tolist() == [True, False, False]
    (gradient,) = torch.autograd.grad(got[0], scale)
    assert torch.isfinite(gradient).all()


COMMANDER = [
    # parameters and Commander's chi2 of Cobaya's own tests (test_cosmo_planck_2018, test_cosmo_planck_NPIPE)
    ({"ombh2": 0.022383, "omch2": 0.12011, "theta_MC_100": 1.040909, "tau": 0.0543, "logA": 3.0448, "ns": 0.96605}, 1.00044, 23.16),
    ({"ombh2": 0.0224, "omch2": 0.1172, "theta_MC_100": 1.04117, "tau": 0.0862, "logA": 3.1, "ns": 0.9733}, 1.00008, 22.83),
    ({"ombh2": 0.02235048, "omch2": 0.12121379, "theta_MC_100": 1.04240171, "tau": 0.05, "logA": 3.04920413, "ns": 0.96399503}, 0.99818025, 24.81),
]  # fmt: skip


def differences(name: str, emulator: LinearEmulator) -> np.ndarray:
    """Chi2 less that at the first point."""
    like = load_likelihood(name)
    chi2 = [
        -2
        * like.log_prob(emulator.spectra(point_from_values(emulator, p)), {"A_planck": one(value=a)}).item()
        for p, a, _ in COMMANDER
    ]
    return np.array(chi2[1:]) - chi2[0]


def test_commanders_published_chi2(emulator: LinearEmulator) -> None:
    """Changes of chi2 between models, +-0.1 by Cobaya's word: log-normal bins are nearer than Gaussian ones."""
    wanted = np.array([x for *_, x in COMMANDER[1:]]) - COMMANDER[0][2]
    off = {
        n: differences(n, emulator) - wanted
        for n in ("planck2018_lowl_tt_lognormal", "planck2018_lowl_tt_2bin")
    }
    assert np.abs(off["planck2018_lowl_tt_lognormal"]).max() < 0.15
    assert np.abs(off["planck2018_lowl_tt_2bin"]).max() < 0.3
    root_mean_square = {n: np.sqrt((x**2).mean()) for n, x in off.items()}
    assert root_mean_square["planck2018_lowl_tt_lognormal"] < root_mean_square["planck2018_lowl_tt_2bin"]


def test_folding_and_its_gradient(emulator: LinearEmulator) -> None:
    names = ["planck2018_plik_lite_tt", *NAMES.values()]
    box: dict[str, Any] = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    posterior = Posterior(emulator, [load_likelihood(n) for n in names], box)
    compiled = compile_posterior(posterior)
    assert compiled.fold_difference is not None
    assert compiled.fold_difference < 1e-9
    middle = [sum(emulator.box[p]) / 2 for p in emulator.parameters]
    theta = torch.tensor([[*middle, 1.0]], dtype=torch.float64, requires_grad=True)
    gradients = [torch.autograd.grad(p.log_prob(theta).sum(), theta)[0] for p in (posterior, compiled)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("pair", "other"), [("tt", "planck2018_lowl_tt_2bin"), ("ee", "planck2018_lowl_ee"), ("ee", "tau_lowe")]
)
def test_beside_the_likelihood_that_they_stand_for_they_are_refused(pair: str, other: str) -> None:
    with pytest.raises(LikelihoodError, match=f"{NAMES[pair]} .* and {other}"):
        load_data([NAMES[pair], other])


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        (np.ones((2, 3)), r"shape \(2, 3\)"),
        (np.array([[2, 15, 6.7, 0.1, 0], [15, 29, 6.7, 0.1, 0]]), "follow each other"),
        (np.array([[2, 15, 6.7, 0.0, 0]]), "positive widths"),
        (np.array([[15, 2, 6.7, 0.1, 0]]), "follow each other"),
    ],
)
def test_bins_that_make_no_sense_are_refused(bins: np.ndarray, message: str) -> None:
    with pytest.raises(DataError, match=message):
        LogNormalBins(info(), "tt", bins)
