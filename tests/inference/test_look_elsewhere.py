"""The search for oscillations against ordinary least squares, its distributions, and injected signals."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from scipy.interpolate import CubicSpline

from cmbfit.errors import LikelihoodError, ParameterError
from cmbfit.figures.look_elsewhere import look_elsewhere_table, plot_look_elsewhere
from cmbfit.fit import build_posterior, complete_fit
from cmbfit.inference.linear_model import LinearModel, linearise, power_response
from cmbfit.inference.look_elsewhere import FrequencySearch, averaged_bayes, gross_vitells, search_record
from cmbfit.likelihood.posterior import Posterior
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.primordial import get_model
from cmbfit.theory.transfer.camb_matrices import TransferSettings
from cmbfit.theory.transfer.operator import TransferOperator
from tests.conftest import PLANCK_POINT

POINT = {"logA": 3.044, "ns": 0.965}
K = torch.logspace(-3, -0.6, 300, dtype=torch.float64)
SMOOTH = get_model("power_law")


def toy(sigma: float) -> tuple[LinearModel, torch.Tensor]:
    """Data that see P/P0 itself at 300 wavenumbers with errors `sigma`; free amplitude and tilt."""
    power = SMOOTH.power(K, SMOOTH.point(POINT))[0]
    jacobian = torch.stack([torch.ones(300, dtype=torch.float64), torch.log(K / 0.05)], 1) / sigma
    model = LinearModel(torch.zeros(300, dtype=torch.float64), jacobian, ("logA", "ns"), POINT, ())
    return model, torch.diag(1 / (sigma * power))


def toy_search(sigma: float, frequencies: torch.Tensor, **options: float) -> FrequencySearch:
    model, response = toy(sigma)
    return FrequencySearch(model, response, K, "oscillation_log", frequencies, **options)


GRID = torch.linspace(1, 40, 400, dtype=torch.float64)


def noise(rng: np.random.Generator, n: int) -> torch.Tensor:
    return torch.from_numpy(rng.standard_normal((n, 300)))


def test_each_fit_is_that_of_least_squares(rng: np.random.Generator) -> None:
    sigma = 0.2
    model, _ = toy(sigma)
    skies = noise(rng, 3)
    fit = toy_search(sigma, GRID).fits(skies)
    for i in (0, 77, 399):
        angle = GRID[i] * torch.log(K / 0.05)
        columns = torch.stack([torch.cos(angle), -torch.sin(angle)], 1) / sigma
        both = torch.cat([model.jacobian, columns], 1).numpy()
        for b, sky in enumerate(skies.numpy()):
            x, chi2 = np.linalg.lstsq(both, sky)[:2]
            without = np.linalg.lstsq(model.jacobian.numpy(), sky)[1]
            assert fit.improvement[b, i].item() == pytest.approx(float(without[0] - chi2[0]), rel=1e-8)
            assert fit.amplitude[b, i].item() == pytest.approx(math.hypot(*x[2:]), rel=1e-8)
            expected = math.atan2(x[3], x[2]) % (2 * math.pi)
            assert fit.phase[b, i].item() == pytest.approx(expected, rel=1e-8)


def test_the_amplitude_s_prior_edge(rng: np.random.Generator) -> None:
    """Noise of twice P itself asks for amplitudes beyond 0.3: the best phase on the edge, by trying all."""
    search = toy_search(2.0, GRID[:30], amplitude_max=0.3)
    skies = noise(rng, 5)
    fit = search.fits(skies)
    assert (fit.amplitude > 0.2999).double().mean() > 0.05
    assert fit.amplitude.max() < 0.3 + 1e-9
    phase = torch.linspace(0, 2 * math.pi, 361, dtype=torch.float64)
    size = torch.linspace(0, 0.3, 61, dtype=torch.float64)[:, None]
    y = torch.stack([size * torch.cos(phase), -size * torch.sin(phase)], -1).flatten(0, 1)
    for i in (0, 9, 29):
        templates = search.template(i)
        model = y @ templates
        tried = 2 * skies @ model.T - model.square().sum(1)
        # sizes in steps of 0.005 at a curvature of 300/2/2^2 = 38 miss up to 2e-4
        assert torch.allclose(tried.amax(1), fit.improvement[:, i], rtol=5e-4, atol=5e-4)


def test_one_frequency_is_chi_square_of_two_and_the_maximum_is_not(rng: np.random.Generator) -> None:
    search = toy_search(0.1, GRID)
    skies = noise(rng, 2000)
    single = search.fits(skies[:, :]).improvement[:, [13, 250]]
    for column in single.T.numpy():
        assert stats.kstest(column, "chi2", args=(2,)).pvalue > 1e-3
    largest, crossings = search.simulate(skies)
    assert largest.median() > 6  # that of one frequency is 1.4
    # Gross & Vitells: an upper bound that is near where up-crossings are rare; 2000 skies know p = 0.05 to 10%
    level = float(np.percentile(largest.numpy(), 95))
    assert 0.05 * 0.85 < gross_vitells(level, crossings, 2.0) < 0.05 * 1.35


def test_a_finer_grid_finds_no_more(rng: np.random.Generator) -> None:
    """The grid's step is a small part of a peak's width: the maximum over it is the maximum."""
    skies = noise(rng, 50)
    coarse = toy_search(0.1, GRID).simulate(skies)[0]
    fine = toy_search(0.1, torch.linspace(1, 40, 3991, dtype=torch.float64)).simulate(skies)[0]
    assert (fine - coarse).mean() < 0.01 * coarse.mean()
    assert (fine >= coarse - 1e-9).all()


def test_bayes_factors_by_adaptive_quadrature(rng: np.random.Generator) -> None:
    """Noise, a signal of five sigma, and one whose best amplitude lies beyond the prior's edge."""
    sigma = 0.1
    osc = get_model("oscillation_log")
    skies = noise(rng, 3)
    for i, amplitude in ((1, 0.05), (2, 0.12)):
        theta = osc.point({**POINT, "amplitude": amplitude, "log10_omega": math.log10(23.4), "phase": 1.1})
        skies[i] += (osc.power(K, theta) / SMOOTH.power(K, SMOOTH.point(POINT)) - 1)[0] / sigma
    search = toy_search(sigma, GRID, amplitude_max=0.1)
    index = int((GRID - 23.4).abs().argmin())
    templates = search.template(index)
    for sky in skies:
        slope, gram = (templates @ sky).numpy(), (templates @ templates.T).numpy()

        def density(phase: float, size: float, slope: Any = slope, gram: Any = gram) -> float:
            y = size * np.array([math.cos(phase), -math.sin(phase)])
            return math.exp(y @ slope - 0.5 * y @ gram @ y)

        wanted, _ = integrate.dblquad(density, 0, 0.1, 0, 2 * math.pi, epsrel=1e-8)
        got = search.log_bayes(sky)
        assert got[index].item() == pytest.approx(math.log(wanted / (0.1 * 2 * math.pi)), abs=1e-6)
    # of a prior flat in ln(frequency): a Bayes factor of one everywhere stays one
    assert averaged_bayes(torch.zeros(400, dtype=torch.float64), GRID) == pytest.approx(0, abs=1e-12)
    assert averaged_bayes(torch.log(GRID), GRID) == pytest.approx(math.log(39 / math.log(40)), rel=1e-4)


def test_an_injected_signal_is_found(rng: np.random.Generator) -> None:
    sigma, truth = 0.1, {"amplitude": 0.06, "log10_omega": math.log10(23.4), "phase": 1.1}
    search = toy_search(sigma, GRID)
    osc = get_model("oscillation_log")
    signal = osc.power(K, osc.point({**POINT, **truth})) / SMOOTH.power(K, SMOOTH.point(POINT)) - 1
    skies = noise(rng, 300)
    fit = search.fits(skies + signal / sigma)
    best = fit.improvement.argmax(1)
    # expected improvement of about 0.06^2 / 2 * 300 / 0.1^2 = 54: always the highest peak
    assert fit.improvement.amax(1).mean() == pytest.approx(0.06**2 / 2 * 300 / sigma**2 + 2, rel=0.1)
    found = GRID[best]
    assert found.mean() == pytest.approx(23.4, abs=0.05)
    assert found.std() < 0.5
    # at the true frequency the region of delta chi2 < 2.30 holds the amplitudes in 68% of skies
    there = int((GRID - 23.4).abs().argmin())
    exact = search.template(there)
    y = torch.tensor([0.06 * math.cos(1.1), -0.06 * math.sin(1.1)], dtype=torch.float64)
    a, p = fit.amplitude[:, there], fit.phase[:, there]
    shift = torch.stack([a * torch.cos(p), -a * torch.sin(p)], 1) - y
    inside = ((shift @ exact).square().sum(1) < 2.30).double().mean()
    assert inside == pytest.approx(0.683, abs=4 * math.sqrt(0.68 * 0.32 / 300))


def test_the_record_and_its_figure(rng: np.random.Generator) -> None:
    model, response = toy(0.1)
    searches = [
        FrequencySearch(model, response, K, name, GRID[::4])
        for name in ("oscillation_log", "oscillation_linear")
    ]
    skies = LinearModel(noise(rng, 1)[0], model.jacobian, model.parameters, POINT, ())
    record = search_record(searches, skies, 200, rng)
    curves = record.pop("curves")
    assert json.loads(json.dumps(record)) == record
    one = record["models"]["oscillation_log"]
    assert one["best"]["improvement"] == max(curves["oscillation_log"]["improvement"])
    assert sum(curves["oscillation_log"]["maxima"]["count"]) == 200
    each = [m["global"]["p_value"] for m in record["models"].values()]
    assert record["all_models"]["global"]["p_value"] >= min(each)  # more tries, less surprise
    assert len(plot_look_elsewhere(record, curves).axes) == 4
    table = look_elsewhere_table(curves)
    assert len(table["omega"]) == 200
    assert set(table["model"]) == {"oscillation_log", "oscillation_linear"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "running"}, "oscillating"),
        ({"frequencies": GRID.flip(0)}, "ascend"),
        ({"amplitude_max": 1.5}, "A < 1"),
    ],
)
def test_bad_searches(change: dict[str, Any], message: str) -> None:
    model, response = toy(0.1)
    options = {"name": "oscillation_log", "frequencies": GRID, **change}
    with pytest.raises(ParameterError, match=message):
        FrequencySearch(model, response, K, **options)


@pytest.fixture(scope="module")
def planck(fit_config: dict[str, Any]) -> Posterior:
    cuts = {"tt": [30, 190], "te": [30, 190], "ee": [30, 190]}
    data = [{"planck2018_plik_lite_ttteee": {"cuts": cuts}}, "planck2018_lowl_tt_2bin", "tau_lowe"]
    fit = complete_fit("mine", {**fit_config, "data": data}, "lcdm_planck2018")
    return build_posterior(fit, fold=False)


@pytest.fixture(scope="module")
def operator() -> TransferOperator:
    """CAMB's sparse multipoles, splined: within 1% of every one."""
    settings = TransferSettings(CambSettings(lmax=300, lens_potential_accuracy=1), l_sampling=1, k_sampling=1)
    background = {"ombh2": 0.022383, "omch2": 0.12011, "theta_mc": 1.040909, "tau": 0.0543}
    sparse = TransferOperator.from_camb(background, settings)
    ell = np.arange(2, sparse.lmax + 1)
    rows = {p: CubicSpline(sparse.ell.numpy(), w.numpy())(ell) for p, w in sparse.matrices.items()}
    return TransferOperator(sparse.k.numpy(), ell, rows, sparse.settings)


def test_linear_model_of_real_data(
    planck: Posterior, emulator: LinearEmulator, operator: TransferOperator
) -> None:
    theta = point_from_values(emulator, PLANCK_POINT)
    point = dict(zip(emulator.parameters, theta[0].tolist(), strict=True)) | {"A_planck": 1.0004}
    model = linearise(planck, point)
    at = torch.tensor([[point[p] for p in planck.parameters]], dtype=torch.float64)
    assert model.residual.square().sum() == pytest.approx(-2 * _log_gaussian(planck, at), rel=1e-10)
    # a step of a tenth of Planck's sigma: the linear model's change of chi2 against the posterior's own
    steps = {
        "ombh2": 1.5e-5,
        "omch2": 1.4e-4,
        "theta_mc": 3e-5,
        "tau": 7e-4,
        "logA": 1.6e-3,
        "ns": 4e-4,
        "A_planck": 2.5e-4,
    }
    for i, (p, step) in enumerate(steps.items()):
        moved = at.clone()
        moved[0, planck.parameters.index(p)] += step
        linear = (model.residual - model.jacobian[:, i] * step).square().sum()
        change = -2 * (_log_gaussian(planck, moved) - _log_gaussian(planck, at))
        expected = float(linear - model.residual.square().sum())
        assert change == pytest.approx(expected, abs=2e-3 + 0.02 * abs(expected)), p
    # P(k) of another amplitude or tilt: what the emulator, trained on CAMB's lensed spectra, says
    power = SMOOTH.power(operator.k, SMOOTH.point({p: point[p] for p in ("logA", "ns")}))[0]
    response = power_response(model, operator, power)
    n = model.n_bandpowers
    for p, change in (("logA", power), ("ns", power * torch.log(operator.k / 0.05))):
        expected = model.jacobian[:n, planck.parameters.index(p)]
        got = (response @ change)[:n]
        # 1%: the splined multipoles, and non-linear lensing that the emulator lets follow the amplitude
        assert (got - expected).norm() < 0.01 * expected.norm(), p
    assert not response[n:].any()


def _log_gaussian(posterior: Posterior, theta: torch.Tensor) -> float:
    """Return ln (L prior) without the priors' normalisation: flat ones, and A_planck = 1 +- 0.0025."""
    sigma = 0.0025
    return (
        posterior.log_prob(theta).item()
        - posterior.log_prior(theta).item()
        - (theta[0, -1].item() - 1) ** 2 / (2 * sigma**2)
    )


def test_what_cannot_be_linear(
    posterior: Posterior, planck: Posterior, fit_config: dict[str, Any], operator: TransferOperator
) -> None:
    point = {p: x[0] for p, x in fit_config["start"].items()}
    with pytest.raises(LikelihoodError, match="planck2018_lowl_ee; take tau_lowe"):
        linearise(posterior, point)
    short = TransferOperator(
        operator.k.numpy(),
        operator.ell.numpy()[:300],
        {p: w[:300].numpy() for p, w in operator.matrices.items()},
        {},
    )
    with pytest.raises(LikelihoodError, match="reach l = 1"):
        power_response(linearise(planck, point), short, torch.ones_like(short.k))
