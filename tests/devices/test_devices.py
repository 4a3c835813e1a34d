"""Everything with tensors moves to another device as a whole; a pretended GPU tells what stays behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit import device
from cmbfit.inference.hmc import HmcSettings, _Hmc
from cmbfit.inference.restrict import restrict
from cmbfit.likelihood import Gaussian, GaussianBandpowers, Posterior, TabulatedSpectrum, Uniform
from cmbfit.likelihood.bandpower_model import pair_blocks
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.compiled import compile_posterior
from cmbfit.likelihood.evaluation import Counts
from cmbfit.likelihood.folded import FoldedLogLikelihood
from cmbfit.theory.emulator.design import LCDM_BOX
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.emulator.train import fit_emulator
from cmbfit.theory.spectra import Spectra
from tests.devices import pretend
from tests.likelihood.helpers import info, random_covariance
from tests.theory.synthetic import LMAX, SETTINGS, Universe

Check = Callable[..., None]


@pytest.fixture(scope="module")
def emulator() -> LinearEmulator:
    training = Universe(np.random.default_rng(5)).training_set(120)
    return LinearEmulator(fit_emulator(training, SETTINGS, LCDM_BOX), {"code": "synthetic"})


@pytest.fixture(scope="module")
def theta() -> torch.Tensor:
    low, high = torch.tensor(list(LCDM_BOX.values()), dtype=torch.float64).T
    generator = torch.Generator().manual_seed(1)
    return low + (high - low) * (0.3 + 0.4 * torch.rand(8, 6, dtype=torch.float64, generator=generator))


@pytest.fixture(scope="module")
def bandpowers(emulator: LinearEmulator, theta: torch.Tensor) -> GaussianBandpowers:
    """Of two pairs, with leakage, a calibration and a template."""
    rng = np.random.default_rng(2)
    windows = {
        p: rng.random((5, LMAX + 1)) * (np.arange(LMAX + 1) > low) for p, low in (("tt", 1), ("ee", 29))
    }
    dl = emulator.spectra(theta[:1]).dl
    data = np.concatenate([w @ dl[p][0].numpy() for p, w in windows.items()])
    blocks = pair_blocks(windows, {("ee", "tt"): 0.01 * windows["tt"]})
    about = info(
        "cmb", nuisance={"A": Gaussian(1, 0.05), "F": Uniform(-1, 1)}, pairs={"tt": (2, 80), "ee": (30, 80)}
    )
    size = 0.1 * data
    covariance = random_covariance(rng, 10) / 10 * np.outer(size, size)
    powers = {"A": {"tt": -2.0, "ee": -2.0}}
    return GaussianBandpowers(about, blocks, data, covariance, powers, templates={"F": 0.1 * data})


@pytest.fixture(scope="module")
def table() -> TabulatedSpectrum:
    rows = -0.5 * ((np.arange(3000.0)[:, None] * 1e-3 - 0.05) / 0.1) ** 2 * np.ones((1, 28))
    return TabulatedSpectrum(info("lowl", pairs={"ee": (2, 29)}, survey="lowl"), "ee", 2, 1e-3, rows)


@pytest.fixture(scope="module")
def posterior(emulator: LinearEmulator, bandpowers: Likelihood, table: Likelihood) -> Posterior:
    return Posterior(
        emulator, [bandpowers, table], {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    )


@pytest.fixture(scope="module")
def compiled(posterior: Posterior) -> Posterior:
    return compile_posterior(posterior)


@pytest.fixture(scope="module")
def points(theta: torch.Tensor) -> torch.Tensor:
    """Of the posterior: two nuisance parameters more."""
    return torch.cat([theta, torch.tensor([[1.01, 0.1]], dtype=torch.float64).expand(len(theta), 2)], 1)


def log_prob(thing: Any, x: torch.Tensor) -> torch.Tensor:
    return thing.log_prob(x)


def spectra(thing: Any, x: torch.Tensor) -> Spectra:
    return thing.spectra(x)


def test_an_emulator_moves(moves: Check, emulator: LinearEmulator, theta: torch.Tensor) -> None:
    moves(emulator, spectra, theta)


def test_likelihoods_move(
    moves: Check, bandpowers: GaussianBandpowers, table: TabulatedSpectrum, emulator: LinearEmulator,
    theta: torch.Tensor,
) -> None:  # fmt: skip
    dl = emulator.spectra(theta).dl

    def of_ee(like: Likelihood, ee: torch.Tensor) -> torch.Tensor:
        nuisance = {name: torch.ones_like(ee[:, 0]) for name in like.info.nuisance}
        return like.log_prob(Spectra({"tt": 100 * ee, "ee": ee}), nuisance)

    for like in (bandpowers, table):
        moves(like, of_ee, dl["ee"])


@pytest.mark.parametrize("fold", [False, True])
@pytest.mark.parametrize("held", [{}, {"ns": 0.96, "A": 1.0}])
def test_posteriors_move(
    moves: Check,
    posterior: Posterior,
    compiled: Posterior,
    points: torch.Tensor,
    fold: bool,
    held: dict[str, float],
) -> None:
    one = compiled if fold else posterior
    free = [i for i, p in enumerate(one.parameters) if p not in held]
    moves(restrict(one, held) if held else one, log_prob, points[:, free])


@pytest.mark.usefixtures("gpu")
def test_what_is_made_of_a_moved_posterior_is_on_its_device(
    posterior: Posterior, points: torch.Tensor
) -> None:
    moved = posterior.to("cuda")
    folded = compile_posterior(moved)
    for small in (restrict(moved, {"ns": 0.96}), restrict(folded, {"ns": 0.96})):
        assert small.device.type == small.whole.device.type == "cuda"
        x = points[:, [0, 1, 2, 3, 4, 6, 7]].to("cuda")
        assert small.log_prob(x).device.type == "cuda"


def check_devices_of_results(one: Posterior, points: torch.Tensor) -> None:
    """Results are on the points' device, whichever the posterior is on."""
    for x in (points, points.to("cuda"), points.numpy()):
        where = "cuda" if isinstance(x, pretend.GpuTensor) else "cpu"
        assert one.log_prob(x).device.type == where
        assert one.log_prior(x).device.type == where
        assert {v.device.type for v in one.log_likelihoods(x).values()} == {where}


@pytest.mark.usefixtures("gpu")
def test_points_of_any_device_are_taken(
    posterior: Posterior, compiled: Posterior, points: torch.Tensor
) -> None:
    for one in (posterior, compiled, restrict(compiled, {"ns": 0.96})):
        x = points[:, [i for i, p in enumerate(compiled.parameters) if p in one.parameters]]
        check_devices_of_results(one, x)
        check_devices_of_results(one.to("cuda"), x)


@pytest.mark.usefixtures("gpu")
def test_mixed_devices_raise(emulator: LinearEmulator, theta: torch.Tensor) -> None:
    """What the pretended GPU is for."""
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        emulator.spectra(theta.to("cuda"))
    with pytest.raises(RuntimeError, match="Expected all tensors to be on the same device"):
        emulator.to("cuda").spectra(theta)
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        theta.to("cuda").numpy()


def test_a_move_that_forgets_an_array_is_caught(
    moves: Check, monkeypatch: pytest.MonkeyPatch, emulator: LinearEmulator, theta: torch.Tensor
) -> None:
    def forgetful(self: LinearEmulator, where: str) -> LinearEmulator:
        out = device.moved(self, where)
        out.lowl_ee_coefficients = self.lowl_ee_coefficients
        return out

    monkeypatch.setattr(LinearEmulator, "to", forgetful)
    with pytest.raises(AssertionError, match=r"stayed on the CPU: .*lowl_ee"):
        moves(emulator, spectra, theta)


def test_a_move_that_does_nothing_is_caught(
    moves: Check, monkeypatch: pytest.MonkeyPatch, emulator: LinearEmulator, theta: torch.Tensor
) -> None:
    monkeypatch.setattr(device, "moved", lambda thing, *_: thing)
    with pytest.raises(AssertionError, match="stayed on the CPU"):
        moves(emulator, spectra, theta)


def test_a_move_of_the_original_is_caught(
    moves: Check, monkeypatch: pytest.MonkeyPatch, emulator: LinearEmulator, theta: torch.Tensor
) -> None:
    mine = device.moved(emulator, "cpu")
    monkeypatch.setattr(
        LinearEmulator, "to", lambda self, where: vars(self).update(vars(device.moved(self, where))) or self
    )
    with pytest.raises(AssertionError, match="the original moved"):
        moves(mine, spectra, theta)


def test_a_fold_that_leaves_its_tables_behind_is_caught(
    moves: Check, monkeypatch: pytest.MonkeyPatch, compiled: Posterior, points: torch.Tensor
) -> None:
    real = device.moved

    def forgetful(thing: Any, where: Any, memo: Any = None) -> Any:
        out = real(thing, where, memo)
        if isinstance(thing, FoldedLogLikelihood):
            out._tables = thing._tables
        return out

    monkeypatch.setattr(device, "moved", forgetful)
    monkeypatch.setattr("cmbfit.likelihood.posterior.moved", forgetful)
    with pytest.raises(AssertionError, match=r"stayed on the CPU: .*_tables"):
        moves(compiled, log_prob, points)


@pytest.mark.usefixtures("gpu")
def test_a_value_that_stays_on_the_posterior_s_device_is_caught(
    monkeypatch: pytest.MonkeyPatch, compiled: Posterior, points: torch.Tensor
) -> None:
    """As if evaluate did not bring its values back to the points' device."""
    real = Posterior._evaluate_in_turn

    def forgetful(self: Posterior, x: torch.Tensor) -> tuple[torch.Tensor, Counts]:
        value, counts = real(self, x)
        return value.to(self.device), counts

    monkeypatch.setattr(Posterior, "_evaluate_in_turn", forgetful)
    with pytest.raises(AssertionError):
        check_devices_of_results(compiled.to("cuda"), points)


def test_hamiltonian_chains_start_on_the_device_as_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, compiled: Posterior, points: torch.Tensor
) -> None:
    """The pretended GPU draws the CPU's random numbers."""
    settings = HmcSettings(walkers=len(points), warmup_steps=10, leapfrog=1)
    width = [0.01 * (high - low) for low, high in list(LCDM_BOX.values())]
    start, factor = points.numpy(), np.diag([*width, 0.01, 0.01])
    want = _Hmc(compiled, start, factor, settings, 1).prepare()
    with pretend.machine(monkeypatch):
        sampler = _Hmc(compiled.to("cuda"), start, factor, settings, 1)
        got = sampler.prepare()
        sampler.advance(got, 1)
    np.testing.assert_array_equal(got.state["position"], want.state["position"])
