"""Primordial models as a theory: emulator plus imprint, lensing of a change, folding onto bandpowers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from click.testing import Result
from typer.testing import CliRunner

from cmbfit.cli.app import app
from cmbfit.errors import (
    ConfigError,
    DataError,
    LikelihoodError,
    OutsideBoxError,
    ParameterError,
    SpectrumError,
)
from cmbfit.fit import Fit, build_posterior, complete_fit, start_point
from cmbfit.likelihood import Gaussian, GaussianBandpowers, Posterior, TabulatedSpectrum, Uniform
from cmbfit.likelihood.compiled import compile_if_possible, compile_posterior
from cmbfit.theory import primordial_exact
from cmbfit.theory.camb_code import CambSettings
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.lensing import Lensing
from cmbfit.theory.lensing_response import LensingResponse
from cmbfit.theory.primordial import MODELS, get_model
from cmbfit.theory.primordial.knots import RANGE
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.transfer.expansion import ExpansionArrays, TransferExpansion
from cmbfit.theory.transfer.nodes import NodeSettings
from cmbfit.theory.transfer.plan import CENTRE, STEPS, ExpansionPlan, plan_from_config
from cmbfit.theory.transfer.store import write_transfer
from tests.likelihood.helpers import info, random_covariance

LMAX = 1200


LEVELS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "tt": lambda ell: 1000 + 0 * ell,
    "te": lambda ell: 5e-3 * ell,
    "ee": lambda ell: 5e-4 + 40 * (ell / 1000) ** 3,
    "pp": lambda ell: 5e-8 + 0 * ell,
}


def kernels(ell: np.ndarray, k: np.ndarray, pair: str) -> np.ndarray:
    """Broad bumps at k = l/14000 Mpc in place of Bessel functions; D_l of the right size for A_s = 2e-9."""
    peak = np.exp(-0.5 * ((np.log(k)[None] - np.log((ell[:, None] + 3) / 14_000)) / 0.1) ** 2)
    return LEVELS[pair](ell)[:, None] / 2.1e-9 * peak / peak.sum(1, keepdims=True)


def made_up_expansion() -> TransferExpansion:
    """Made-up matrices with corrections of a percent, in the real format."""
    rng = np.random.default_rng(5)
    k = np.geomspace(5e-6, 0.6, 900)
    ell, sampled = np.arange(2, LMAX + 1), np.unique(np.geomspace(2, LMAX, 40).astype(int))
    corrections = {}
    for pair in LEVELS:
        size = 0.01 * rng.normal(size=(24, 1, 1)) * np.cos(sampled / 300)[None, :, None]
        corrections[pair] = (size * kernels(sampled, k, pair)).astype(np.float32)
    arrays = ExpansionArrays(
        k,
        ell,
        sampled,
        np.array(list(CENTRE.values())),
        np.array(list(STEPS.values())),
        np.concatenate([[9.54], 1e-3 * rng.normal(size=24)]),
        {p: kernels(ell, k, p).astype(np.float32) for p in LEVELS},
        corrections,
    )
    return TransferExpansion(arrays, {"code": "toy", "nodes": {"reach": 0.4}})


@pytest.fixture(scope="module")
def expansion() -> TransferExpansion:
    return made_up_expansion()


@pytest.fixture(scope="module")
def emulator() -> LinearEmulator:
    return load_emulator("lcdm_planck2018")


@pytest.fixture(scope="module")
def cutoff(emulator: LinearEmulator, expansion: TransferExpansion) -> PrimordialTheory:
    return PrimordialTheory(emulator, get_model("cutoff_exponential"), expansion)


def points(theory: PrimordialTheory, n: int, **own: float) -> torch.Tensor:
    """Points around the expansion's centre, the model's own parameters as given or at their defaults."""
    rng = np.random.default_rng(11)
    columns = []
    for name in theory.parameters:
        if name in CENTRE:
            columns.append(CENTRE[name] + STEPS[name] * rng.uniform(-1, 1, n))
        elif name in ("logA", "ns"):
            columns.append({"logA": 3.05, "ns": 0.965}[name] + 0.01 * rng.uniform(-1, 1, n))
        else:
            default = next(p.default for p in theory.model.parameters if p.name == name)
            columns.append(np.full(n, own.get(name, default)))
    return torch.from_numpy(np.stack(columns, 1))


def test_the_lensing_response_is_the_derivative_of_lensing() -> None:
    """Exactly linear in the unlensed spectra, to second order in the potential."""
    lensing, ell = Lensing(900, 500), torch.arange(901.0, dtype=torch.float64)
    rng = torch.Generator().manual_seed(3)
    fiducial = {
        "tt": 2000 + 1000 * torch.cos(ell / 60),
        "te": 50 * torch.sin(ell / 60),
        "ee": 0.02 * ell,
        "pp": 1e-7 * torch.exp(-ell / 400),
    }
    response = LensingResponse(lensing, fiducial)
    base = lensing.lensed({p: x[None] for p, x in fiducial.items()})
    for moved, tolerance in (("tt", 1e-9), ("te", 1e-9), ("ee", 1e-9), ("pp", 1e-4)):
        change = {p: torch.zeros(1, 901, dtype=torch.float64) for p in fiducial}
        change[moved] = 1e-4 * fiducial[moved] * torch.randn(1, 901, generator=rng, dtype=torch.float64)
        changed = lensing.lensed({p: x + change[p] for p, x in fiducial.items()})
        got = response(change)
        for pair in ("tt", "te", "ee", "bb"):
            wanted = changed[pair] - base[pair]
            # below that the difference of two lensed spectra is rounding
            floor = 1e-11 * base["tt"].abs().max()
            assert (got[pair] - wanted).abs().max() < tolerance * wanted.abs().max() + floor, (moved, pair)
    with pytest.raises(SpectrumError, match="expected spectra to l = 900"):
        response({p: x[None, :100] for p, x in fiducial.items()})


def test_a_power_law_is_the_emulator_itself(emulator: LinearEmulator, expansion: TransferExpansion) -> None:
    theory = PrimordialTheory(emulator, get_model("power_law"), expansion)
    theta = points(theory, 3)
    got, wanted = theory.spectra(theta), emulator.spectra(theta)
    for pair in wanted.dl:
        assert torch.equal(got.dl[pair], wanted.dl[pair][:, : theory.lmax + 1])
    assert torch.equal(got.parameters["H0"], wanted.parameters["H0"])


def test_the_imprint_is_linear_in_the_change_of_p(cutoff: PrimordialTheory) -> None:
    """The lensed imprint against expansion and full lensing applied to the same spectra."""
    theta = points(cutoff, 2, ln_kc=-6.0)
    background = theta[:, :4]
    power, change = cutoff.power(theta)
    expansion, lensing = cutoff.expansion, Lensing(LMAX, cutoff.lmax)
    centre = torch.tensor([list(CENTRE.values())], dtype=torch.float64)
    smooth = get_model("power_law").power(
        expansion.wavenumbers(centre), torch.tensor([[3.045, 0.9649]], dtype=torch.float64)
    )
    fiducial, part = expansion.undamped(centre, smooth), expansion.undamped(background, change)
    wanted = {}
    for sign in (1, -1):
        for pair, x in lensing.lensed({p: fiducial[p] + sign * 1e-3 * part[p] for p in part}).items():
            wanted[pair] = wanted.get(pair, 0) + sign * x / 2e-3
    damping = torch.exp(-2 * (theta[:, 3] - CENTRE["tau"]))[:, None]
    got = cutoff.imprint(theta)
    for pair in ("tt", "te", "ee"):
        torch.testing.assert_close(got[pair], wanted[pair] * damping, rtol=1e-5, atol=1e-5)
    # scale of D_l: everything below the cut-off is gone, nothing far above it is touched
    assert (got["tt"][:, 2] < -500).all()
    assert got["tt"][:, 150].abs().max() < 1
    assert (power > 0).all()


def test_few_wavenumbers_serve_a_smooth_model(cutoff: PrimordialTheory) -> None:
    coarse, theta = cutoff.coarse(), points(cutoff, 3)
    assert len(coarse.k) < len(cutoff.k)
    torch.testing.assert_close(coarse.imprint(theta)["tt"], cutoff.imprint(theta)["tt"], rtol=0, atol=2e-3)
    fast = PrimordialTheory(
        cutoff.emulator, replace(cutoff.model, resolution=(130.0, 130.0)), cutoff.expansion
    )
    assert len(fast.coarse().k) > len(coarse.k)


def test_two_knots_are_the_emulators_power_law(
    emulator: LinearEmulator, expansion: TransferExpansion
) -> None:
    """A model without an amplitude lends its nearest power law: of two knots, itself; beyond the ends no multipole here looks."""
    theory = PrimordialTheory(emulator, get_model("knots_2"), expansion)
    assert theory.parameters == ("ombh2", "omch2", "theta_mc", "tau", "d1", "d2")
    theta = points(theory, 2)
    _, own, of_emulator = theory.split(theta)
    own = own + torch.tensor([[0.02, -0.01]], dtype=torch.float64)
    theta = torch.cat([theta[:, :4], own], 1)
    _, _, of_emulator = theory.split(theta)
    slope = -0.03 / np.log(RANGE[1] / RANGE[0])
    wanted = [3.044 + 0.02 + slope * np.log(0.05 / RANGE[0]), 0.9649 + slope]
    torch.testing.assert_close(of_emulator[0, 4:], torch.tensor(wanted, dtype=torch.float64))
    torch.testing.assert_close(
        theory.spectra(theta).dl["tt"],
        emulator.spectra(of_emulator).dl["tt"][:, : theory.lmax + 1],
        rtol=1e-6,
        atol=1e-6,
    )


def test_a_model_that_predicts_its_tilt(emulator: LinearEmulator, expansion: TransferExpansion) -> None:
    """Without n_s the emulator takes the slope at the pivot, and the imprint what is left."""
    own = replace(get_model("power_law"), name="fixed_tilt", parameters=(MODELS["power_law"].parameters[0],))
    own = replace(
        own, function=lambda k, v: get_model("power_law").function(k, {**v, "ns": 0.96 + 0 * v["logA"]})
    )
    theory = PrimordialTheory(emulator, own, expansion)
    assert theory.parameters == ("ombh2", "omch2", "theta_mc", "tau", "logA")
    theta = points(theory, 2)
    _, _, of_emulator = theory.split(theta)
    torch.testing.assert_close(of_emulator[:, 5], torch.full((2,), 0.96, dtype=torch.float64))
    torch.testing.assert_close(
        theory.spectra(theta).dl["tt"],
        emulator.spectra(of_emulator).dl["tt"][:, : theory.lmax + 1],
        rtol=1e-9,
        atol=1e-9,
    )


def test_what_cannot_be_a_theory(emulator: LinearEmulator, expansion: TransferExpansion) -> None:
    with pytest.raises(ParameterError, match="one of tensors"):
        PrimordialTheory(emulator, get_model("tensor_free"), expansion)
    short = replace(expansion.arrays, ell=np.arange(2, 40), sampled=np.array([2, 10, 20, 39]))
    short = replace(
        short,
        base={p: x[:38] for p, x in short.base.items()},
        corrections={p: x[:, :4] for p, x in short.corrections.items()},
    )
    with pytest.raises(SpectrumError, match="1000 more"):
        PrimordialTheory(emulator, get_model("running"), TransferExpansion(short, {}))
    theory = PrimordialTheory(emulator, get_model("running"), expansion)
    far = points(theory, 1)
    far[0, 3] = 0.12
    with pytest.raises(OutsideBoxError, match="tau"):
        theory.spectra(far)


def likelihoods(
    rng: np.random.Generator, theory: PrimordialTheory
) -> list[GaussianBandpowers | TabulatedSpectrum]:
    """Bandpowers of TT, TE and EE with calibrations, of the potential, and a low-l EE table."""
    middle = points(theory, 1)[:, : len(theory.parameters)]
    truth = theory.spectra(middle)
    out: list[GaussianBandpowers | TabulatedSpectrum] = []
    for name, pairs in (("cmb", ("tt", "te", "ee")), ("potential", ("pp",))):
        windows = {p: np.zeros((5, theory.lmax + 1)) for p in pairs}
        for window in windows.values():
            for i in range(5):
                window[i, 2 + 35 * i : 2 + 35 * (i + 1)] = 1 / 35
        mean = np.concatenate([windows[p] @ truth.dl[p][0].numpy() for p in pairs])
        size = np.abs(mean).clip(1e-30) * 0.05
        covariance = random_covariance(rng, len(mean)) * np.outer(size, size)
        about = info(
            name, pairs=dict.fromkeys(pairs, (2, 176)), survey=name, nuisance={"A": Gaussian(1, 0.05)}
        )
        powers = {"A": dict.fromkeys(pairs, -2.0)}
        out.append(GaussianBandpowers(about, windows, mean * 1.02, covariance, powers))
    table = -0.5 * ((np.arange(3000.0)[:, None] * 1e-4 - 0.03) / 0.02) ** 2 * np.ones((1, 28))
    lowl = info("lowl", pairs={"ee": (2, 29)}, survey="lowl", nuisance={})
    out.append(TabulatedSpectrum(lowl, "ee", 2, 1e-4, table))
    return out


@pytest.fixture(scope="module")
def posterior(cutoff: PrimordialTheory) -> Posterior:
    priors = {p: Uniform(*cutoff.box[p]) for p in cutoff.parameters}
    return Posterior(cutoff, likelihoods(np.random.default_rng(2), cutoff), priors)


def test_folded_equals_unfolded(posterior: Posterior, cutoff: PrimordialTheory) -> None:
    """To 0.02 in ln L, the limit that the posterior sets itself; and gradients, over a step of each parameter."""
    folded = compile_if_possible(posterior)
    assert folded.not_folded is None
    assert folded.fold_difference is not None
    assert folded.fold_difference < 1e-4
    theta = torch.cat(
        [points(cutoff, 20, ln_kc=-7.0), torch.linspace(0.97, 1.03, 20, dtype=torch.float64)[:, None]], 1
    )
    one, two = theta.clone().requires_grad_(True), theta.clone().requires_grad_(True)
    wanted, got = posterior.log_prob(one), folded.log_prob(two)
    assert torch.isfinite(wanted).all()
    torch.testing.assert_close(got, wanted, rtol=1e-5, atol=0.02)
    slopes = [torch.autograd.grad(v.sum(), x)[0] for v, x in ((wanted, one), (got, two))]
    # over the range in which the expansion may be used, or the data's own errors
    size = torch.tensor([*STEPS.values(), 0.02, 0.02, 0.5, 2.0, 0.05], dtype=torch.float64)
    assert ((slopes[0] - slopes[1]) * size).abs().max() < 0.05


def test_spectra_that_cannot_be_have_probability_zero(
    emulator: LinearEmulator, expansion: TransferExpansion
) -> None:
    """Growing oscillations make P negative; quanta above the back-reaction bound do not go with inflation."""
    cases = {
        "oscillation_linear": ({"amplitude": 0.4, "growth": -0.9}, {"amplitude": 0.01, "growth": 0.0}),
        "excited_state": ({"log10_quanta": -0.1, "ln_km": 0.0}, {"log10_quanta": -3.0, "ln_km": -6.0}),
    }
    for name, (bad, good) in cases.items():
        theory = PrimordialTheory(emulator, get_model(name), expansion)
        theta = torch.cat([points(theory, 1, **bad), points(theory, 1, **good)])
        assert theory.allowed(theta).tolist() == [False, True], name
        priors = {p: Uniform(*theory.box[p]) for p in theory.parameters}
        posterior = Posterior(theory, likelihoods(np.random.default_rng(2), theory)[:1], priors)
        for one in (posterior, compile_posterior(posterior)):
            with_nuisance = torch.cat([theta, torch.ones(2, 1, dtype=torch.float64)], 1).requires_grad_(True)
            value = one.log_prob(with_nuisance)
            assert value[0] == -torch.inf, name
            assert torch.isfinite(value[1]), name
            assert vars(one.counts) == {
                "evaluations": 2,
                "outside_prior": 0,
                "outside_box": 1,
                "not_a_number": 0,
            }
            (gradient,) = torch.autograd.grad(value[1], with_nuisance)
            assert torch.isfinite(gradient).all()
            assert not gradient[0].any()


def primordial_fit(section: dict[str, Any], transfer: Path) -> Fit:
    return complete_fit("mine", section, "lcdm_planck2018", transfer=str(transfer), transfer_box={})


def test_a_fit_takes_over_its_model_s_priors(tmp_path: Path) -> None:
    section = {"data": ["planck2018"], "theory": {"primordial": "excited_state"}}
    fit = primordial_fit(section | {"priors": {"angle": {"uniform": [1, 2]}}}, tmp_path)
    assert fit.priors["angle"] == {"uniform": [1, 2]}
    assert fit.priors["log10_quanta"] == {"uniform": [-6.0, 0.0]}
    assert 1 < fit.start["angle"][0] < 2
    assert tuple(fit.priors)[-3:] == ("log10_quanta", "ln_km", "angle")
    low, high = MODELS["excited_state"].priors["angle"].describe()["uniform"]
    assert low < primordial_fit(section, tmp_path).start["angle"][0] < high
    with pytest.raises(ConfigError, match="unknown primordial model"):
        primordial_fit({"data": ["planck2018"], "theory": {"primordial": "foo"}}, tmp_path)


def test_a_configuration_becomes_a_posterior(tmp_path: Path, expansion: TransferExpansion) -> None:
    write_transfer(tmp_path, expansion)
    path = Path(__file__).parents[2] / "pipeline/config/early_universe.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    fit = primordial_fit({**config["fits"]["cutoff_kinetic"], "data": ["planck2018_lowl_ee"]}, tmp_path)
    posterior = build_posterior(fit)
    assert posterior.parameters == ("ombh2", "omch2", "theta_mc", "tau", "logA", "ns", "ln_kc", "A_planck")
    centre, scale = start_point(fit, posterior)
    assert centre["ln_kc"] == -7.6
    assert scale["ln_kc"] > 0
    write_transfer(tmp_path, expansion.at_centre())
    with pytest.raises(ConfigError, match="an operator of one cosmology"):
        build_posterior(fit)


def test_exact_spectra_of_a_learned_model_are_of_evolved_modes(
    emulator: LinearEmulator, expansion: TransferExpansion, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What CAMB is given is the solver's P(k), not the network's: so are the weights of the chain."""
    model, asked = get_model("attractor"), []
    theory = PrimordialTheory(emulator, model, expansion)
    theta = points(theory, 1, n_star=52.0, log10_alpha=0.7)

    def noted(*words: Any) -> dict[str, Any]:
        asked.append(words)
        return {"dl": np.zeros((5, 3)), "unlensed": np.zeros((3, 3)), "derived": [0.0]}

    monkeypatch.setattr(primordial_exact, "_run", noted)
    primordial_exact.compute_primordial(theory, theta.numpy(), CambSettings(), log=lambda _: None)
    _, _, k, power, *_ = asked[0]
    at = np.searchsorted(k, np.geomspace(1e-4, 0.2, 30))  # within the expansion; beyond it is the power law
    own, grid = theory.split(theta)[1], torch.from_numpy(k[at])
    assert power[at] == pytest.approx(model.exact.power(grid, own)[0].numpy(), rel=1e-9)
    learned = model.power(grid, own)[0].numpy()
    assert 1e-7 < np.abs(power[at] / learned - 1).max() < 5e-4


def test_plans_are_checked() -> None:
    plan = plan_from_config({"lmax": 2000, "log_frequency": 60}, {"mnu": 0.06, "version": "1"})
    assert plan.settings.camb.lmax == 2000
    assert plan.nodes == NodeSettings(60, 130, reach=0.4)
    assert plan.box["tau"] == pytest.approx((0.01615, 0.09265))
    with pytest.raises(ConfigError, match="'lmax'"):
        plan_from_config({"lmaxx": 2000}, {})
    with pytest.raises(ConfigError, match="expected ombh2"):
        ExpansionPlan(centre={"tau": 0.05})
    with pytest.raises(ConfigError, match="must be positive"):
        ExpansionPlan(steps={**STEPS, "tau": 0.0})
    with pytest.raises(DataError, match=r"points \[0, 1, 2"):
        plan.assemble({}, {})


def test_data_that_cannot_be_folded_stay_unfolded(posterior: Posterior) -> None:
    class Odd:
        info = info("odd", pairs={"tt": (2, 10)}, survey="odd", nuisance={})
        pairs, lmax = ("tt",), 10

        def settings(self) -> dict[str, str]:
            return {}

    odd = Posterior(
        posterior.theory,
        [*posterior.likelihoods, Odd()],
        {p: posterior.priors[p] for p in posterior.theory.parameters},
    )
    with pytest.raises(LikelihoodError, match="odd cannot be folded"):
        compile_posterior(odd)


def test_the_command_line(tmp_path: Path, expansion: TransferExpansion, cutoff: PrimordialTheory) -> None:
    write_transfer(tmp_path / "transfer", expansion)
    point = {**CENTRE, "logA": 3.05, "ns": 0.965}
    words = [
        "theory",
        "--transfer",
        str(tmp_path / "transfer"),
        "--lmax",
        "150",
        "-o",
        str(tmp_path / "out.txt"),
    ]
    words += [w for p, x in point.items() for w in ("--set", f"{p}={x}")]
    run = CliRunner()

    def call(*more: str) -> Result:
        return run.invoke(app, [*words, *more])

    name = ["--primordial", "cutoff_exponential"]
    out = call(*name, "--set", "ln_kc=-6.5", "--figure", str(tmp_path / "figure"))
    assert out.exit_code == 0, out.output
    got = np.loadtxt(tmp_path / "out.txt")
    values = {**point, "ln_kc": -6.5, "steepness": 3.35}
    wanted = cutoff.spectra(torch.tensor([[values[p] for p in cutoff.parameters]], dtype=torch.float64))
    np.testing.assert_allclose(got[:, 1], wanted.dl["tt"][0, 2:151], rtol=1e-6)
    header = (tmp_path / "figure.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header.split(",") == [
        "ell",
        *(f"{p}{kind}" for p in ("tt", "te", "ee") for kind in ("", "_power_law")),
    ]
    for more, error in (
        (["--primordial", "tensor_free"], ParameterError),
        (["--primordial", "nothing"], ParameterError),
        ([*name, "--set", "ln_kb=-7"], ParameterError),
        ([*name, "--unlensed"], ConfigError),
        ([], ConfigError),
        # back-reaction
        (["--primordial", "excited_state", "--set", "log10_quanta=-0.1", "--set", "ln_km=0"], ParameterError),
    ):
        assert isinstance(call(*more).exception, error), more
