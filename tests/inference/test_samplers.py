"""Samplers by name: their settings, their starts, one's own; and what stands in a run's products."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.fit import Fit, Gate
from cmbfit.inference.chain import Chain
from cmbfit.inference.ensemble import EnsembleSettings
from cmbfit.inference.hmc import HmcSettings, run_hmc
from cmbfit.inference.maximum import BestFit, find_maximum, laplace_factor
from cmbfit.inference.nested import NestedSettings
from cmbfit.inference.products import collect_samples
from cmbfit.inference.samplers import settings_of
from cmbfit.inference.sampling import sample
from cmbfit.inference.starts import draw_starts
from cmbfit.inference.summary import summarise
from cmbfit.likelihood import Uniform
from cmbfit.report.fit_checks import fit_checks
from tests.inference.test_model_table import problem
from tests.inference.toy import GaussianToy

WHERE = "fits.mine.sampler"


def test_each_sampler_has_its_own_settings() -> None:
    assert settings_of({}) == EnsembleSettings()
    assert settings_of({"kind": "hmc", "leapfrog": 5, "block_steps": 20}) == HmcSettings(
        leapfrog=5, block_steps=20
    )
    assert settings_of({"kind": "nested", "n_live": 300}) == NestedSettings(n_live=300)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"kind": "gibbs"}, "unknown sampler 'gibbs'"),
        (
            {"kind": "hmc", "moves": "stretch"},
            r"fits\.mine\.sampler\.moves: unknown setting of the sampler hmc",
        ),
        ({"leapfrog": 3}, r"fits\.mine\.sampler\.leapfrog: unknown setting of the sampler emcee"),
        ({"walker": 8}, "did you mean 'walkers'"),
        ({"walkers": 64.0}, r"fits\.mine\.sampler\.walkers: expected a whole number, found 64\.0"),
        ({"walkers": True}, r"sampler\.walkers: expected a whole number"),
        ({"tau_multiple": "50"}, r"sampler\.tau_multiple: expected a number, found '50'"),
        ({"walkers": 15}, r"fits\.mine\.sampler\.walkers: expected an even number"),
        ({"block_steps": 0}, r"fits\.mine\.sampler\.block_steps"),
        ({"walkers": 4}, r"fits\.mine\.sampler\.walkers: 3 parameters need at least 6, found 4"),
        ({"kind": "hmc", "leapfrog": 0}, r"fits\.mine\.sampler\.leapfrog: expected at least 1"),
        ({"kind": "hmc", "target_acceptance": 1.0}, r"sampler\.target_acceptance: expected 0\.5 to 1"),
        ({"kind": "nested", "n_effective": 5}, r"sampler\.n_effective: expected at least 100"),
    ],
)
def test_settings_that_are_not_the_samplers_are_refused_by_their_place(
    spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        settings_of(spec, WHERE, 3)


OWN = """
from dataclasses import dataclass
import numpy as np
from cmbfit.inference.chain import Chain

@dataclass(frozen=True)
class Settings:
    points: int = 10

class Constant:
    settings = Settings
    def sample(self, posterior, start, settings, seed, folder, identity, *, progress=True):
        x = np.full((settings.points, 1, len(posterior.parameters)), list(start.centre.values()))
        n = x.shape[2]
        return Chain(posterior.parameters, x, x[..., 0], np.ones(n), [], 1.0, True, 0.0, 0, {}, kind="constant", independent=True)

SAMPLER = Constant()
"""


def fit_of(sampler: dict[str, Any]) -> Fit:
    start = dict.fromkeys("abc", (0.0, 0.2))
    return Fit("mine", "mine", (), {}, start, {}, {"kind": "emcee", **sampler})


def test_a_sampler_of_ones_own_runs_by_its_files_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mysampler.py"
    file.write_text(OWN)
    monkeypatch.setenv("CMBFIT_ALLOW_CODE", "1")
    fit = fit_of({"kind": f"{file}:SAMPLER", "points": 7})
    chain, record = sample(problem(), fit, [1, 0], tmp_path / "checkpoint", "code", progress=False)
    assert chain.kind == "constant"
    assert chain.samples.shape == (7, 1, 3)
    assert len(record["sampler_code"]) == 64
    with pytest.raises(ConfigError, match="unknown setting of the sampler"):
        sample(problem(), fit_of({"kind": f"{file}:SAMPLER", "walkers": 8}), [1, 0], tmp_path, "code")


class CornerToy(GaussianToy):
    """ln L = sum of 4 x_i, correlated by a ridge, in the box [-1, 1]^d: greatest in the corner."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.parameters = tuple(f"x{i}" for i in range(d))  # type: ignore[assignment]
        self.priors = {p: Uniform(-1.0, 1.0) for p in self.parameters}
        self.ridge = 20.0

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        self.counts.evaluations += len(theta)
        value = 4 * theta.sum(1) - self.ridge * (theta[:, 1:] - theta[:, :-1]).square().sum(1)
        return value.masked_fill((theta.abs() > 1).any(1), -torch.inf)


@pytest.mark.parametrize("d", [3, 7])
def test_hmc_starts_where_the_maximum_is_in_a_corner(d: int, tmp_path: Path) -> None:
    toy: Any = CornerToy(d)
    centre, scale = dict.fromkeys(toy.parameters, 0.0), dict.fromkeys(toy.parameters, 0.5)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        best = find_maximum(toy, centre, scale, starts=3, rng=rng)
        mean = np.array(list(best.point.values()))
        np.testing.assert_allclose(mean, 1, atol=1e-6)
        factor = laplace_factor(toy, best.point, scale)
        points = draw_starts(toy, mean, 2 * factor, 64, rng, centre)
        assert points.shape == (64, d)
        assert (np.abs(points) <= 1).all()
        assert len(np.unique(points, axis=0)) == 64
    settings = HmcSettings(walkers=64, max_steps=400, tau_multiple=5, tau_rtol=1)
    chain = run_hmc(toy, points, factor, settings, 1, tmp_path, {"posterior": "corner"}, progress=False)
    assert (np.abs(chain.samples) <= 1).all()


def test_a_start_that_cannot_be_had_is_named_as_the_user_gave_it(rng: np.random.Generator) -> None:
    toy: Any = CornerToy(3)
    toy.log_prob = lambda theta: torch.full((len(theta),), -math.inf)
    with pytest.raises(SamplerError, match=r"from the start x0 0\.1, x1 0\.1, x2 0\.1; give another"):
        draw_starts(toy, np.ones(3), np.eye(3), 4, rng, dict.fromkeys(toy.parameters, 0.1))


def one_ensemble(rng: np.random.Generator, **more: Any) -> list[Chain]:
    x = rng.standard_normal((2000, 1, 2))
    log_prob = -0.5 * (x**2).sum(2)
    return [Chain(("a", "b"), x, log_prob, np.ones(2), [(2000, [1.0, 1.0])], 0.5, True, 1.0, 9, {}, **more)]


@pytest.fixture
def summary(rng: np.random.Generator) -> dict[str, Any]:
    chains = one_ensemble(rng)
    samples = collect_samples(chains, [{}], {})
    best = BestFit({"a": 0.0, "b": 0.0}, 0.0, {"x": 1.0}, 1)
    return summarise(samples, chains, best, {}) | {"fold_difference": None}


def test_one_ensemble_says_that_convergence_is_untested(summary: dict[str, Any]) -> None:
    assert summary["convergence"]["r_minus_1_max"] is None
    assert summary["evidence"] is None
    length, between = fit_checks(fit_of({}), summary)
    assert length.name.startswith("chain length")
    assert (between.value, between.passed, between.tolerance) == (None, True, "not tested")
    assert "untested" in between.comment


def test_nested_runs_are_held_against_each_other(summary: dict[str, Any]) -> None:
    """No length in autocorrelation times; the scatter of ln Z instead."""
    summary["evidence"] = {"log_z": -7.0, "log_z_error": 0.1, "scatter": 3.5, "runs": []}
    summary["convergence"]["r_minus_1_max"] = 0.001
    between, scatter = fit_checks(fit_of({"kind": "nested"}), summary)
    assert between.passed
    assert Gate().r_minus_1 == 0.01
    assert not scatter.passed
