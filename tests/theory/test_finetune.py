"""Corrections: networks and extensions recover what is known; at the base values they are the base."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import BundleError, ConfigError, DataError, OutsideBoxError
from cmbfit.theory.base import Theory
from cmbfit.theory.camb_code import CambSettings, camb_parameters
from cmbfit.theory.emulator.accuracy import measure
from cmbfit.theory.emulator.base_network import tune_network
from cmbfit.theory.emulator.bundle import load_emulator, write_bundle
from cmbfit.theory.emulator.comparison import compare_models
from cmbfit.theory.emulator.correction import CorrectedEmulator, cut
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.finetune import METHODS, FineTuneSettings, fine_tune
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.network import Mlp, NetworkSettings, minimise
from cmbfit.theory.emulator.train import fit_emulator
from cmbfit.theory.emulator.trainingset import TrainingSet
from cmbfit.theory.parameters import LCDM
from tests.theory.synthetic import LMAX, SETTINGS, Universe

BOX = {**LCDM_BOX, "nnu": (2.0, 4.0)}
SMALL = NetworkSettings(width=24, depth=2, steps=50)
CAMB = {"camb": {"lmax": LMAX, "tcmb": 2.7255}}


@pytest.fixture(scope="module")
def universe() -> Universe:
    return Universe(np.random.default_rng(5))


@pytest.fixture(scope="module")
def base(universe: Universe) -> LinearEmulator:
    return LinearEmulator(fit_emulator(universe.training_set(120), SETTINGS, LCDM_BOX), {"trained_on": CAMB})


def effect(theta: np.ndarray) -> np.ndarray:  # shape: (n, 5, LMAX + 1)
    """A made-up effect of nnu on ln D_l: e (a + b theta), with a shape that the base has not."""
    ell = np.arange(LMAX + 1)
    e = theta[:, 6] - 3.044
    x = (theta[:, 5] - 0.97) / 0.09
    out = 0.02 * e[:, None] * (1 + 0.3 * x[:, None]) * np.sin(ell / 11)
    return np.repeat(out[:, None], 5, axis=1)


@pytest.fixture(scope="module")
def runs(universe: Universe) -> TrainingSet:
    rng = np.random.default_rng(8)
    theta = np.column_stack([universe.theta(160), rng.uniform(2, 4, 160)])
    dl, bare, derived = universe.training_arrays(theta[:, :6])
    factor = effect(theta)
    return TrainingSet(
        theta,
        dl * (1 + factor),
        bare * (1 + factor[:, :3]),
        derived * (1 + 0.01 * (theta[:, 6:] - 3.044)),
        np.arange(160) // 2,
        [],
        CAMB,
        (*LCDM, "nnu"),
    )


@pytest.mark.parametrize("method", METHODS)
def test_at_the_base_value_the_base_comes_back(base: LinearEmulator, runs: TrainingSet, method: str) -> None:
    """The features are differences: 1e-12 is rounding, and the promise is 1e-6."""
    emulator, _ = fine_tune(base, runs, FineTuneSettings(method=method, network=SMALL, degree=2.5), BOX)
    assert isinstance(emulator, Theory)
    theta = torch.from_numpy(runs.theta[:20]).clone()
    theta[:, 6] = 3.044
    extended, plain = emulator.spectra(theta), base.spectra(theta[:, :6])
    for pair, x in plain.dl.items():
        torch.testing.assert_close(extended.dl[pair], x, rtol=1e-12, atol=1e-12 * x.abs().max().item())
    for name, x in plain.parameters.items():
        torch.testing.assert_close(extended.parameters[name], x, rtol=1e-12, atol=0)
    assert torch.equal(extended.parameters["nnu"], theta[:, 6])


def test_an_effect_that_is_a_polynomial_is_recovered(base: LinearEmulator, runs: TrainingSet) -> None:
    """TT is a quadratic base times e (a + b ns): mostly cubic, within `polynomial`'s reach, not `quadratic`'s."""
    fit, held = runs.select(np.arange(120)), runs.select(np.arange(120, 160))
    errors = {}
    for method in ("quadratic", "polynomial"):
        settings = FineTuneSettings(method=method, degree=3, weights=(1.0,) * 7)
        emulator, history = fine_tune(base, fit, settings, BOX)
        assert history is None
        got = emulator.spectra(torch.from_numpy(held.theta)).dl["tt"].numpy()[:, 2:]
        ignored = base.spectra(torch.from_numpy(held.theta[:, :6])).dl["tt"].numpy()[:, 2:]
        exact = held.dl[:, 0, 2:]
        errors[method] = np.abs(got - exact).max() / np.abs(ignored - exact).max()
    assert errors["quadratic"] < 0.2
    assert errors["polynomial"] < 0.5 * errors["quadratic"]


def test_the_same_seed_gives_the_same_network(base: LinearEmulator, runs: TrainingSet) -> None:
    settings = FineTuneSettings(method="scratch", network=NetworkSettings(width=8, depth=2, steps=40))
    (one, first), (two, second) = (fine_tune(base, runs, settings, BOX) for _ in range(2))
    assert first == second
    for a, b in zip(one.correction.layers, two.correction.layers, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    other = dataclasses.replace(settings, network=dataclasses.replace(settings.network, seed=2))
    assert fine_tune(base, runs, other, BOX)[1] != first


def test_gradients_equal_finite_differences(base: LinearEmulator, runs: TrainingSet) -> None:
    emulator, _ = fine_tune(base, runs, FineTuneSettings(method="low_rank", network=SMALL), BOX)
    theta = torch.from_numpy(runs.theta[:1]).clone()
    theta[0, 6] = 3.2
    gradient = torch.autograd.functional.jacobian(lambda t: emulator.spectra(t).dl["tt"][0, 40], theta)[0]
    for i in range(7):
        step = torch.zeros_like(theta)
        step[0, i] = 1e-5 * (BOX[emulator.parameters[i]][1] - BOX[emulator.parameters[i]][0])
        up, down = (emulator.spectra(theta + s).dl["tt"][0, 40] for s in (step, -step))
        # second order 1e-10, rounding 1e-11 of D_l over the step
        assert gradient[i].item() == pytest.approx(
            ((up - down) / (2 * step[0, i])).item(), rel=1e-4, abs=1e-4
        )


def test_bundles_keep_corrections_exactly(base: LinearEmulator, runs: TrainingSet, tmp_path: Path) -> None:
    for method in ("polynomial", "last_layer"):
        emulator, _ = fine_tune(base, runs, FineTuneSettings(method=method, network=SMALL, degree=2.5), BOX)
        accuracy = measure(emulator, runs.theta[:8], runs.dl[:8], runs.derived[:8])
        folder = tmp_path / method
        write_bundle(
            folder, emulator.base_arrays, emulator.settings, accuracy, correction=emulator.correction
        )
        loaded = load_emulator(folder)
        assert isinstance(loaded, CorrectedEmulator)
        assert loaded.parameters == (*LCDM, "nnu")
        theta = torch.from_numpy(runs.theta)
        assert torch.equal(loaded.spectra(theta).dl["ee"], emulator.spectra(theta).dl["ee"])
        raw = bytearray((folder / "arrays.safetensors").read_bytes())
        raw[len(raw) // 2] ^= 1
        (folder / "arrays.safetensors").write_bytes(raw)
        with pytest.raises(BundleError, match="altered"):
            load_emulator(folder)


def test_points_outside_the_extended_box_are_refused(base: LinearEmulator, runs: TrainingSet) -> None:
    emulator, _ = fine_tune(base, runs, FineTuneSettings(method="quadratic"), BOX)
    theta = torch.from_numpy(runs.theta[:1]).clone()
    for value in (4.1, float("nan")):
        theta[0, 6] = value
        with pytest.raises(OutsideBoxError, match="nnu"):
            emulator.spectra(theta)


def test_runs_that_do_not_fit_the_base_are_refused(base: LinearEmulator, runs: TrainingSet) -> None:
    settings = FineTuneSettings(method="quadratic")
    other = dataclasses.replace(runs, settings={"camb": {"lmax": LMAX, "tcmb": 2.726}})
    with pytest.raises(DataError, match=r"tcmb is 2\.726 in the runs, but 2\.7255"):
        fine_tune(base, other, settings, BOX)
    plain = dataclasses.replace(runs, theta=runs.theta[:, :6], names=LCDM)
    few = runs.select(np.arange(18))
    with pytest.raises(DataError, match="9 backgrounds are too few"):
        fine_tune(base, few, settings, BOX)
    with pytest.raises(DataError, match="vary an extension"):
        fine_tune(base, plain, settings, BOX)
    with pytest.raises(BundleError, match="leaves the base's"):
        fine_tune(base, runs, settings, {**BOX, "tau": (0.01, 0.15)})
    with pytest.raises(ConfigError, match="expected a method of"):
        FineTuneSettings(method="some_weights")


def test_a_base_that_goes_further_is_cut(base: LinearEmulator) -> None:
    theta = torch.from_numpy(Universe(np.random.default_rng(1)).theta(3))
    short = LinearEmulator(cut(base.arrays, 60), {})
    for pair, x in base.spectra(theta).dl.items():
        torch.testing.assert_close(short.spectra(theta).dl[pair], x[:, :61], rtol=1e-12, atol=0)


def test_a_network_fits_a_known_function() -> None:
    """A smooth function of two variables, to 10% of its scatter on rows that it has not seen."""
    rng = np.random.default_rng(3)
    x = torch.from_numpy(rng.uniform(-1, 1, (800, 2))).float()
    y = torch.sin(2 * x[:, :1]) * x[:, 1:]
    settings = NetworkSettings(width=32, depth=2, steps=600, batch=200)
    net = Mlp(2, 1, settings)
    history = minimise(net, list(net.parameters()), x, y, np.arange(800) % 5 == 0, settings)
    assert min(history.validation) < 1e-2 * y.var().item()
    with torch.no_grad():
        final = (net(x[::5]) - y[::5]).square().mean().item()
    assert final == pytest.approx(min(history.validation), rel=1e-5)  # the best state is kept


@pytest.mark.parametrize("field", ["width", "depth", "steps", "learning_rate"])
def test_malformed_network_settings_are_refused(field: str) -> None:
    with pytest.raises(ConfigError, match=f"{field} must be positive"):
        NetworkSettings(**{field: 0})


def test_a_network_on_the_residual_does_not_spoil_exact_polynomials(
    base: LinearEmulator, universe: Universe
) -> None:
    """The spectra are polynomials: nothing is left to learn, while a network alone starts from scratch."""
    training = universe.training_set(160)
    fit, held = training.select(np.arange(120)), training.select(np.arange(120, 160))
    out = compare_models(base, fit, held, {"network": SMALL, "polynomial + network": SMALL})
    worst = {model: max(e[1] for e in record["errors"]["box"].values()) for model, record in out.items()}
    assert worst["polynomial"] < 1e-4
    assert worst["polynomial + network"] < 0.02
    assert worst["network"] > worst["polynomial + network"]


def test_networks_that_diverge_are_refused() -> None:
    x, y = torch.ones(20, 2), torch.full((20, 1), torch.nan)
    net = Mlp(2, 1, SMALL)
    with pytest.raises(DataError, match="validation loss is nan after 15 steps"):
        minimise(net, list(net.parameters()), x, y, np.arange(20) < 5, SMALL)


def test_helium_follows_the_baryons(base: LinearEmulator, runs: TrainingSet) -> None:
    """Helium has no number as base value but nucleosynthesis' relation, which CAMB itself would have used."""
    box = {**LCDM_BOX, "YHe": (0.2, 0.3)}
    theta = runs.theta.copy()
    theta[:, 6] = 0.2 + (theta[:, 6] - 2) / 20
    helium = dataclasses.replace(runs, theta=theta, names=(*LCDM, "YHe"))
    emulator, _ = fine_tune(base, helium, FineTuneSettings(method="quadratic"), box)
    ombh2 = np.array([0.0192, 0.0224, 0.0257])
    settings = CambSettings(lmax=100)
    table = [camb_parameters(settings, ombh2=x, omch2=0.12, tau=0.05, H0=67.0).YHe for x in ombh2.tolist()]
    relation = np.polynomial.Polynomial(emulator.correction.base_values["YHe"])
    np.testing.assert_allclose(relation(ombh2), table, rtol=0, atol=2e-5)  # the table's own last digits
    points = torch.from_numpy(theta[:3]).clone()
    points[:, 0] = torch.from_numpy(ombh2)
    points[:, 6] = torch.from_numpy(relation(ombh2))
    for pair, x in base.spectra(points[:, :6]).dl.items():
        got = emulator.spectra(points).dl[pair]
        torch.testing.assert_close(got, x, rtol=1e-6, atol=1e-6 * x.abs().max().item())
    assert not torch.allclose(
        emulator.spectra(torch.from_numpy(theta[:3])).dl["tt"], base.spectra(torch.from_numpy(theta[:3, :6])).dl["tt"],
        rtol=1e-3,
    )  # fmt: skip
    tilt = dataclasses.replace(runs, names=(*LCDM, "nt"))
    with pytest.raises(DataError, match="nt has no value in the base model"):
        fine_tune(base, tilt, FineTuneSettings(), {**LCDM_BOX, "nt": (2.0, 4.0)})


def test_the_search_for_a_network_is_reproducible_and_picks_the_best(
    base: LinearEmulator, universe: Universe
) -> None:
    pytest.importorskip("optuna", reason="the optional dependency optuna")
    training = universe.training_set(60)
    settings = NetworkSettings(steps=10)
    best, trials = tune_network(base, training, settings, 2)
    assert (best, trials) == tune_network(base, training, settings, 2)
    chosen = min(trials, key=lambda trial: trial["loss"])
    assert (best.width, best.depth) == (chosen["width"], chosen["depth"])
