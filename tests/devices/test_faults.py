"""A device that is not there, cannot do it, runs out of memory, or is another one after a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit.device import OnDevice, free_memory, moved, pick_device, usable
from cmbfit.errors import ConfigError, DeviceError, LikelihoodError, ResumeError, SamplerError
from cmbfit.inference.hmc import HmcSettings, _Hmc, run_hmc
from cmbfit.inference.linear_model import linearise
from cmbfit.inference.maximum import find_maximum
from cmbfit.likelihood import Gaussian, Posterior, Uniform
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.polynomial_rows import PolynomialRows
from cmbfit.theory.spectra import Spectra
from tests.devices import pretend
from tests.likelihood.helpers import LineTheory, info, toy_likelihood

FLAT = {"ombh2": Uniform(-3, 3), "ns": Uniform(-3, 3)}
SETTINGS = HmcSettings(
    walkers=16, max_steps=40, block_steps=10, tau_multiple=0.1, tau_rtol=1e3, warmup_steps=10
)


@pytest.fixture
def line(rng: np.random.Generator) -> Posterior:
    return Posterior(LineTheory(rng), [toy_likelihood(rng)], FLAT)


@pytest.fixture
def first(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(-1, 1, (16, 2))


def test_a_device_that_is_not_there_is_refused_by_name(line: Posterior) -> None:
    """This build of torch knows no GPU of Apple's or Intel's; on a machine with one the number is absurd."""
    for absent in ("cuda:77", "mps", "xpu:9", "gpu"):
        with pytest.raises(DeviceError, match=rf"{absent}.*take device cpu, or auto"):
            line.to(absent)


def no_float64(*_: Any, **kwargs: Any) -> torch.Tensor:
    raise TypeError(
        "Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."
    )


@pytest.mark.usefixtures("gpu")
def test_a_gpu_without_float64_is_refused_and_auto_takes_the_cpu(
    line: Posterior, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch, "zeros", no_float64)
    with pytest.raises(DeviceError, match=r"computes in float64.*doesn't support float64"):
        line.to("cuda")
    assert pick_device("auto").type == "cpu"
    assert "computing on the CPU" in caplog.text


class Forgetful:
    """A user's data set that holds tensors and cannot move."""

    info, pairs, lmax = info("forgetful"), ("tt",), 20

    def __init__(self) -> None:
        self.parts = {"weights": [torch.ones(19, dtype=torch.float64)]}

    def log_prob(self, spectra: Spectra, nuisance: Any) -> torch.Tensor:  # noqa: ARG002
        return -spectra.dl["tt"][:, 2:].square() @ self.parts["weights"][0]


@pytest.mark.usefixtures("gpu")
def test_what_holds_tensors_and_cannot_move_is_not_left_behind_in_silence(rng: np.random.Generator) -> None:
    posterior = Posterior(LineTheory(rng), [Forgetful()], FLAT)  # type: ignore[list-item]
    with pytest.raises(DeviceError, match=r"Forgetful holds tensors and has no to\(device\).*OnDevice"):
        posterior.to("cuda")
    posterior.to("cpu").log_prob(torch.zeros(1, 2, dtype=torch.float64))


def test_a_network_in_an_object_moves_and_the_original_stays() -> None:
    """torch's own `Module.to` moves the module itself. (The meta device takes modules; the pretended GPU does not.)"""

    class Holder(OnDevice):
        def __init__(self) -> None:
            self.k = torch.ones(3, dtype=torch.float64)
            self.network = torch.nn.Linear(2, 2).double()

    one = Holder()
    there = moved(one, "meta")
    assert {x.device.type for x in (there.k, *there.network.parameters())} == {"meta"}
    assert {x.device.type for x in (one.k, *one.network.parameters())} == {"cpu"}


@pytest.mark.usefixtures("gpu")
def test_a_theory_that_cannot_move_computes_on_the_host(line: Posterior) -> None:
    """A user's Boltzmann code in numpy; results and gradients are on the device."""
    theta = torch.tensor([[0.1, 0.2], [0.3, -0.4]], dtype=torch.float64)
    want, slope = line.log_prob_and_gradient(theta)
    value, gradient = line.to("cuda").log_prob_and_gradient(theta.to("cuda"))
    assert {value.device.type, gradient.device.type} == {"cuda"}
    torch.testing.assert_close(value.cpu(), want, rtol=1e-13, atol=0)
    torch.testing.assert_close(gradient.cpu(), slope, rtol=1e-12, atol=0)


@pytest.mark.usefixtures("gpu")
def test_a_linear_model_is_on_its_posterior_s_device(rng: np.random.Generator) -> None:
    class Moving(LineTheory):
        def spectra(self, theta: torch.Tensor) -> Spectra:
            return Spectra({"tt": super().spectra(theta.cpu()).dl["tt"].to(theta.device)})

    posterior = Posterior(Moving(rng), [toy_likelihood(rng)], FLAT | {"ns": Gaussian(0, 1)})
    point = {"ombh2": 0.1, "ns": 0.2}
    here, there = linearise(posterior, point), linearise(posterior.to("cuda"), point)
    assert there.residual.device.type == there.jacobian.device.type == "cuda"
    torch.testing.assert_close(there.jacobian.cpu(), here.jacobian, rtol=1e-12, atol=1e-14)
    back = there.to("cpu")
    torch.testing.assert_close(back.residual, here.residual, rtol=1e-12, atol=1e-14)


def test_only_cuda_is_asked_for_its_memory(compiled: Posterior, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(_: Any) -> tuple[int, int]:
        raise AssertionError("asked")

    monkeypatch.setattr(torch.cuda, "mem_get_info", refuses)
    for other in ("meta", "cpu"):
        assert compiled.log_like.chunk(torch.device(other)) > 0
    # an H200 with 139 GiB free: a quarter of it in ten copies of four float64 spectra to l = 2508
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (139 * 2**30, 141 * 2**30))
    plain = compiled.unfolded
    assert plain.chunk(torch.device("cuda")) == 139 * 2**28 // (10 * 4 * 8 * (plain.theory.lmax + 1)) > 40_000
    assert compiled.log_like.chunk(torch.device("cuda")) > 500_000


def test_memory_that_runs_out_backwards_makes_the_chunks_smaller(
    compiled: Posterior, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    theta = compiled.prior_table.middle.repeat(40, 1)
    want = compiled.log_prob_and_gradient(theta)
    real = PolynomialRows.pull_back

    def scarce(self: PolynomialRows, x: torch.Tensor, *more: Any) -> torch.Tensor:
        if len(x) > 12:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return real(self, x, *more)

    monkeypatch.setattr(PolynomialRows, "pull_back", scarce)
    small = compiled.to("cpu")
    got = small.log_prob_and_gradient(theta)
    assert small.chunk == 10
    assert small.counts.evaluations == 40
    assert "out of memory with 20 points at once" in caplog.text
    for x, y in zip(got, want, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-11 * float(y.abs().max()))


@pytest.mark.usefixtures("gpu")
def test_two_jobs_on_one_card_share_its_memory(compiled: Posterior, caplog: pytest.LogCaptureFixture) -> None:
    """Another job takes what was free when the chunk was chosen."""
    moved = compiled.to("cuda")
    theta = compiled.prior_table.middle.repeat(64, 1).to("cuda")
    want = moved.log_prob(theta)
    with pretend.memory(20_000):
        got = moved.log_prob(theta)
    assert moved.chunk < 64
    assert "out of memory with 64 points at once" in caplog.text
    torch.testing.assert_close(got.cpu(), want.cpu(), rtol=1e-12, atol=0)


@pytest.mark.usefixtures("gpu")
def test_a_chain_goes_on_where_its_posterior_goes(
    line: Posterior, first: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A GPU that is full in the middle of a block: that block ends, the next is the CPU's, walls and all."""
    there, calls = line.to("cuda"), []
    real = Posterior._evaluate_chunk

    def full(self: Posterior, rows: torch.Tensor) -> Any:
        calls.append(self.device.type)
        if self.device.type == "cuda" and len(calls) > 50:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, rows)

    monkeypatch.setattr(Posterior, "_evaluate_chunk", full)
    chain = run_hmc(there, first, 0.1 * np.eye(2), SETTINGS, 1, tmp_path, {}, progress=False)
    assert there.device.type == "cpu"
    assert calls[0] == "cuda"
    assert np.isfinite(chain.log_prob).all()
    assert (np.abs(chain.samples) <= 3).all()


def test_a_checkpoint_of_a_gpu_goes_on_on_a_cpu_and_back(
    line: Posterior, first: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real CUDA generator's state has 16 bytes and a CPU's 5056: neither may be asked to read the other's."""
    settings, factor = HmcSettings(walkers=16, warmup_steps=10), 0.1 * np.eye(2)
    on_cpu = _Hmc(line, first, factor, settings, 1)
    with pretend.machine(monkeypatch):
        on_gpu = _Hmc(line.to("cuda"), first, factor, settings, 1)
        last = on_gpu.advance(on_gpu.prepare(), 3)
    assert all(isinstance(x, np.ndarray) and x.dtype != np.uint8 for x in last.state.values())
    last = on_cpu.advance(last, 3)
    alone = on_cpu.advance(last, 3)
    with pretend.machine(monkeypatch):
        back = on_gpu.advance(last, 3)
    # the pretended GPU draws the CPU's numbers
    np.testing.assert_allclose(back.chain, alone.chain, rtol=1e-9)
    assert not np.array_equal(back.chain[-1], last.chain[-1])


def test_a_checkpoint_with_a_generator_s_state_is_refused(line: Posterior, first: np.ndarray) -> None:
    """As earlier versions wrote them."""
    sampler = _Hmc(line, first, 0.1 * np.eye(2), HmcSettings(walkers=16, warmup_steps=10), 1)
    old = sampler.prepare()
    old.state["generator"] = torch.Generator().get_state().numpy()
    del old.state["block"]
    with pytest.raises(ResumeError, match=r"version of torch.*remove its folder"):
        sampler.advance(old, 1)


def test_a_prior_without_density_is_refused_by_name(rng: np.random.Generator) -> None:
    class Range:
        support = (-1.0, 1.0)

    with pytest.raises(ConfigError, match="prior of ns: Range has no log_prob, mass_outside"):
        Posterior(LineTheory(rng), [toy_likelihood(rng)], FLAT | {"ns": Range()})  # type: ignore[dict-item]


def test_a_posterior_without_gradients_is_refused_by_what_needs_them(
    rng: np.random.Generator, first: np.ndarray, tmp_path: Path
) -> None:
    class Numpy(LineTheory):
        def spectra(self, theta: torch.Tensor) -> Spectra:
            return super().spectra(theta.detach())

    posterior = Posterior(Numpy(rng), [toy_likelihood(rng)], FLAT)
    remedy = "Numpy computes outside torch, so that ln L has no gradient; sample with emcee or nested"
    with pytest.raises(LikelihoodError, match=remedy):
        run_hmc(posterior, first, np.eye(2), SETTINGS, 1, tmp_path, {}, progress=False)
    with pytest.raises(LikelihoodError, match=remedy):
        find_maximum(posterior, {"ombh2": 0.0, "ns": 0.0}, {"ombh2": 1.0, "ns": 1.0})
    assert torch.isfinite(posterior.log_prob(torch.zeros(1, 2, dtype=torch.float64))).all()


class Kinked(OnDevice):
    """ln L = -x^2, to which sqrt(0 x) adds nothing, and 0 times infinity to its gradient."""

    info, pairs, lmax = info("kinked"), ("tt",), 20

    def log_prob(self, spectra: Spectra, nuisance: Any) -> torch.Tensor:  # noqa: ARG002
        x = spectra.dl["tt"][:, 2]
        return (0 * x).sqrt() - x.square()

    def settings(self) -> dict[str, Any]:
        return {}


def test_gradients_that_are_no_numbers_are_said(
    rng: np.random.Generator, first: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    like: Likelihood = Kinked()
    theory = LineTheory(rng)
    theory.base[:], theory.slopes[:] = 0.0, 1.0
    posterior = Posterior(theory, [like], FLAT)
    with pytest.raises(SamplerError, match=r"gradient of ln P is not finite at .*ombh2"):
        find_maximum(posterior, {"ombh2": -0.1, "ns": -0.1}, {"ombh2": 1, "ns": 1})
    sampler = _Hmc(posterior, first, np.eye(2), HmcSettings(walkers=16, warmup_steps=10), 1)
    sampler.prepare()
    assert "gradients were not finite and taken as zero" in caplog.text


def test_what_is_there_is_taken_and_says_nothing_of_its_memory() -> None:
    assert usable("cpu").type == "cpu"
    assert free_memory(torch.device("cpu")) is None
