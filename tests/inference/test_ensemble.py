"""The emcee driver on a Gaussian whose mean, covariance and normalisation are known."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, DataError, ResumeError, SamplerError
from cmbfit.inference.chain import Chain
from cmbfit.inference.diagnostics import effective_samples, kept_samples
from cmbfit.inference.ensemble import EnsembleSettings, run_ensemble
from cmbfit.inference.starts import initial_walkers
from cmbfit.inference.trace import autocorrelation_time
from tests.conftest import ROOT
from tests.inference.toy import COVARIANCE, MEAN, SIGMA, GaussianToy, start

IDENTITY = {"posterior": {"priors": {"ns": [0, 1]}, "data": "toy"}}
# ends at the third block whatever the chain does: for tests of files and of identity
SHORT = EnsembleSettings(walkers=16, max_steps=150, block_steps=50, tau_multiple=0.001, tau_rtol=10)


def run(folder: Path, toy: GaussianToy | None = None, *, seed: int = 3, **change: object) -> Chain:
    settings = replace(SHORT, **change)
    return run_ensemble(
        toy or GaussianToy(), start(settings.walkers), settings, seed, folder, IDENTITY, progress=False
    )  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=["stretch", "differential_evolution"])
def long_chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Chain]:
    settings = {"walkers": 32, "max_steps": 20_000, "block_steps": 1000, "tau_multiple": 50, "tau_rtol": 0.1}
    return request.param, run(tmp_path_factory.mktemp("chain"), moves=request.param, **settings)


def test_mean_and_covariance_are_recovered(long_chain: tuple[str, Chain]) -> None:
    chain = long_chain[1]
    x = kept_samples(chain)[0]
    n = effective_samples(chain).min()
    # statistical errors of mean (1/sqrt n), width (1/sqrt 2n), correlation (<= 1/sqrt n), five of them;
    # n itself comes from tau, which its own test checks
    assert (np.abs(x.mean(0) - MEAN) / SIGMA).max() < 5 / np.sqrt(n)
    assert np.abs(x.std(0) / SIGMA - 1).max() < 5 / np.sqrt(2 * n)
    correlation = COVARIANCE / np.outer(SIGMA, SIGMA)
    assert np.abs(np.corrcoef(x.T) - correlation).max() < 5 / np.sqrt(n)
    assert n > 500


def test_convergence_rule_is_kept(long_chain: tuple[str, Chain]) -> None:
    moves, chain = long_chain
    assert chain.converged
    assert chain.steps > 50 * chain.tau.max()
    (_, before), (steps, now) = chain.tau_history[-2:]
    assert steps == chain.steps
    np.testing.assert_allclose(before, now, rtol=0.11)
    # emcee's documentation: some 30-60 steps for the stretch move in a few dimensions
    if moves == "stretch":
        assert 15 < chain.tau.max() < 80
    assert 0.2 < chain.acceptance < 0.8


def test_a_run_stops_at_the_first_check_that_is_long_and_stable_enough(tmp_path: Path) -> None:
    chain = run(tmp_path, max_steps=20_000, block_steps=100, tau_multiple=40, tau_rtol=0.05)
    enough = []
    for (_, before), (steps, now) in zip(chain.tau_history, chain.tau_history[1:], strict=False):
        stable = all(abs(b - a) <= 0.05 * b for a, b in zip(before, now, strict=True))
        enough.append(steps > 40 * max(now) and stable)
    assert enough[-1]
    assert not any(enough[:-1])
    assert len(enough) > 3


def test_log_prob_column_belongs_to_the_samples(long_chain: tuple[str, Chain]) -> None:
    chain = long_chain[1]
    x = chain.samples[::97, 5] - MEAN
    expected = -0.5 * np.einsum("si,ij,sj->s", x, np.linalg.inv(COVARIANCE), x)
    np.testing.assert_allclose(chain.log_prob[::97, 5], expected, rtol=1e-9, atol=1e-9)


def test_autocorrelation_time_of_a_known_process(rng: np.random.Generator) -> None:
    """AR(1) with coefficient a: tau = (1 + a) / (1 - a) = 19 for a = 0.9."""
    a, steps = 0.9, 20_000
    x = np.zeros((steps, 8, 1))
    noise = rng.standard_normal((steps, 8, 1))
    for i in range(1, steps):
        x[i] = a * x[i - 1] + noise[i]
    # 8 series of 840 tau after burn-in: some percent of error
    assert autocorrelation_time(x)[0] == pytest.approx(19, rel=0.15)


def test_the_seed_makes_the_chain(tmp_path: Path) -> None:
    first, again, other = (run(tmp_path / n, seed=s) for n, s in (("a", 3), ("b", 3), ("c", 4)))
    np.testing.assert_array_equal(first.samples, again.samples)
    assert not np.array_equal(first.samples, other.samples)
    assert len(np.unique(first.samples[-1], axis=0)) == 16


@pytest.mark.parametrize(("calls", "blocks"), [(60, 0), (160, 1), (300, 2)])
def test_an_interrupted_run_goes_on_to_the_same_chain(tmp_path: Path, calls: int, blocks: int) -> None:
    """A step calls the posterior twice, or four times for a snooker move (every fifth): 120 calls a block.

    Block 0 holds the start.
    """
    settings = {"tau_rtol": 1e-12, "max_steps": 200}  # never converges: runs all its blocks
    with pytest.raises(SamplerError, match="not converged after 200 steps"):
        run(tmp_path / "whole", **settings)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", GaussianToy(fail_after=calls), **settings)
    assert len(list((tmp_path / "cut").glob("block_*.npz"))) == 1 + blocks
    with pytest.raises(SamplerError, match="not converged after 200 steps"):
        run(tmp_path / "cut", **settings)
    for name in (f"block_0000{i}.npz" for i in range(5)):
        with np.load(tmp_path / "whole" / name) as a, np.load(tmp_path / "cut" / name) as b:
            for key in a.files:
                np.testing.assert_array_equal(a[key], b[key])


def test_a_run_killed_by_the_system_goes_on_to_the_same_chain(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from tests.inference.test_ensemble import GaussianToy, run\n"
        f"run(Path({str(tmp_path / 'cut')!r}), GaussianToy(kill_after=160))\n"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr.decode()
    assert sorted(p.name for p in (tmp_path / "cut").iterdir()) == [
        "block_00000.npz",
        "block_00001.npz",
        "identity.json",
    ]
    resumed, whole = run(tmp_path / "cut"), run(tmp_path / "whole")
    np.testing.assert_array_equal(resumed.samples, whole.samples)
    np.testing.assert_array_equal(resumed.log_prob, whole.log_prob)
    np.testing.assert_array_equal(resumed.tau, whole.tau)
    assert resumed.acceptance == whole.acceptance


def test_a_finished_run_is_not_sampled_again(tmp_path: Path) -> None:
    first = run(tmp_path)
    toy = GaussianToy()
    np.testing.assert_array_equal(run(tmp_path, toy).samples, first.samples)
    assert toy.calls == 0


def test_max_steps_stop_with_an_error_and_can_be_raised(tmp_path: Path) -> None:
    with pytest.raises(SamplerError, match=r"not converged after 50 steps.*raise max_steps"):
        run(tmp_path / "a", max_steps=50)
    assert len(list((tmp_path / "a").glob("block_*.npz"))) == 2
    np.testing.assert_array_equal(run(tmp_path / "a").samples, run(tmp_path / "b").samples)


def test_a_chain_does_not_depend_on_its_blocks(tmp_path: Path) -> None:
    one = run(tmp_path / "a", block_steps=50)
    other = run(tmp_path / "b", block_steps=30)
    n = min(one.steps, other.steps)
    np.testing.assert_array_equal(one.samples[:n], other.samples[:n])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, r"seed \(3 -> 4\)"),
        ({"walkers": 20}, r"sampler\.walkers \(16 -> 20\)"),
        ({"moves": "stretch"}, r"sampler\.moves"),
    ],
)
def test_a_resume_with_other_settings_names_them(tmp_path: Path, change: dict, named: str) -> None:
    run(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(ResumeError, match=named):
        run(tmp_path, **change)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_resume_with_another_posterior_names_the_difference(tmp_path: Path) -> None:
    run(tmp_path)
    other = {"posterior": {"priors": {"ns": [0, 2]}, "data": "toy", "code": "new"}}
    with pytest.raises(ResumeError, match=r"posterior\.code \(new\); posterior\.priors\.ns"):
        run_ensemble(GaussianToy(), start(16), SHORT, 3, tmp_path, other, progress=False)


@pytest.mark.parametrize("keep", [0.0, 0.5, 0.99])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, keep: float) -> None:
    run(tmp_path)
    path = tmp_path / "block_00001.npz"
    raw = path.read_bytes()
    path.write_bytes(raw[: int(keep * len(raw))])
    with pytest.raises(DataError, match=r"block_00001\.npz: expected a checkpoint"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"moves": "gibbs"}, "moves: expected one of"),
        ({"walkers": 15}, "even number"),
        ({"walkers": 2}, "even number"),
        ({"block_steps": 0}, "block_steps"),
        ({"max_steps": 10}, "block_steps <= max_steps"),
        ({"walkers": 4}, "3 parameters need at least 6"),
    ],
)
def test_settings_that_cannot_run_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(tmp_path, **change)


def test_walkers_start_where_the_probability_is_not_zero(rng: np.random.Generator) -> None:
    class Half(GaussianToy):
        def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
            return super().log_prob(theta).masked_fill(theta[:, 2] < MEAN[2], -np.inf)

    centre, scale = (dict(zip(Half.parameters, x, strict=True)) for x in (MEAN, SIGMA))
    points = initial_walkers(Half(), centre, scale, 400, rng)  # type: ignore[arg-type]
    assert points.shape == (400, 3)
    assert (points[:, 2] >= MEAN[2]).all()
    # the other parameters keep their normal: the width is known to 1/sqrt(800)
    np.testing.assert_allclose(points[:, :2].std(0) / SIGMA[:2], 1, atol=5 / np.sqrt(800))
    with pytest.raises(SamplerError, match="only 0 of 10 starting points"):
        initial_walkers(Half(), centre | {"ns": MEAN[2] - 50 * SIGMA[2]}, scale, 10, rng)  # type: ignore[arg-type]
