"""Evidence around a chain: posteriors whose integral is known, with the shapes that one peak around a maximum misses."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, SamplerError
from cmbfit.inference.evidence import EvidenceTask, measure_evidence
from cmbfit.inference.kernel_evidence import kernel_evidence
from cmbfit.inference.products import Samples
from cmbfit.inference.samplers import Start
from cmbfit.likelihood import Uniform
from cmbfit.likelihood.posterior import EvaluationCounts
from tests.inference.test_model_table import SCALE, START, closed_form, drawn, problem


class Shape:
    """A density over (scale, x, y): a plateau in the scale that ends in a wall, and two peaks of unequal weight in (x, y).

    L = [1 - s^8 for s < 1] (0.8 N(+3, 1) + 0.2 N(-3, 1)) N(y; 0, 1), flat priors on s in [-4, 2] and x, y in [-10, 10].
    """

    parameters = ("scale", "x", "y")
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.counts = EvaluationCounts()
        self.priors = {"scale": Uniform(-4, 2), "x": Uniform(-10, 10), "y": Uniform(-10, 10)}
        self.support = {p: prior.support for p, prior in self.priors.items()}
        self.theory = SimpleNamespace(box={})

    def log_prior(self, theta: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.priors[p].log_prob(theta[:, i]) for i, p in enumerate(self.parameters)]).sum(
            0
        )

    def log_likelihoods(self, theta: torch.Tensor) -> dict[str, torch.Tensor]:
        s, x, y = theta.T
        wall = torch.log((1 - s.clamp(0, 1) ** 8).clamp(min=1e-300))
        peaks = torch.logaddexp(
            math.log(0.8) - 0.5 * (x - 3) ** 2, torch.tensor(math.log(0.2)).double() - 0.5 * (x + 3) ** 2
        )
        return {"shape": wall + peaks - 0.5 * y**2 - math.log(2 * math.pi)}

    def log_prob(self, theta: torch.Tensor) -> torch.Tensor:
        return self.log_prior(theta) + self.log_likelihoods(theta)["shape"]

    def chain(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Independent draws, the scale by rejection."""
        s = rng.uniform(-4, 1, 4 * n)
        s = s[rng.uniform(size=4 * n) < 1 - s.clip(0, 1) ** 8][:n]
        x = np.where(rng.uniform(size=n) < 0.8, 3, -3) + rng.standard_normal(n)
        return np.column_stack([s, x, rng.standard_normal(n)])


LN_Z = math.log((4 + 8 / 9) / (6 * 20 * 20))
"""The wall leaves 4 + 1 - 1/9 of the scale's range of 6; x and y integrate to one over ranges of 20."""


@pytest.mark.parametrize("own", [["scale", "x"], ["scale", "x", "y"]])
def test_plateaus_walls_and_two_peaks(own: list[str], rng: np.random.Generator) -> None:
    shape = Shape()
    chain = shape.chain(3000, rng)
    log_prob = shape.log_prob(torch.from_numpy(chain)).numpy()
    got = kernel_evidence(shape, chain, log_prob, rng, own=own)  # type: ignore[arg-type]
    assert got.log_z_error < 0.02
    assert got.log_z == pytest.approx(LN_Z, abs=4 * got.log_z_error)
    assert got.ess_fraction > 0.3
    assert got.best.point["x"] == pytest.approx(3, abs=0.1)
    mean, covariance = got.moments()
    assert mean[1] == pytest.approx(0.8 * 3 - 0.2 * 3, abs=0.1)
    assert covariance[1, 1] == pytest.approx(1 + 36 * 0.8 * 0.2, rel=0.05)


def test_the_error_is_the_scatter(rng: np.random.Generator) -> None:
    shape = Shape()
    chain = shape.chain(1500, rng)
    log_prob = shape.log_prob(torch.from_numpy(chain)).numpy()
    runs = [kernel_evidence(shape, chain, log_prob, rng, own=["scale", "x"], n=1000) for _ in range(40)]  # type: ignore[arg-type]
    pulls = [(r.log_z - LN_Z) / r.log_z_error for r in runs]
    assert np.std(pulls) == pytest.approx(1, abs=4 / math.sqrt(80))
    assert np.mean(pulls) == pytest.approx(0, abs=4 / math.sqrt(40))


def test_it_is_the_closed_form_of_a_fit(rng: np.random.Generator) -> None:
    posterior, samples = problem(), drawn(problem(), 2000)
    task = EvidenceTask(posterior, Start(START, SCALE), 1, samples)
    got = measure_evidence(task, {"method": "chain"})
    assert got.method == "importance sampling around its chain"
    assert got.log_z_error is not None
    assert got.log_z == pytest.approx(closed_form(posterior)[3], abs=4 * got.log_z_error)
    with pytest.raises(ConfigError, match="needs the fit's chain"):
        measure_evidence(replace(task, samples=None), {"method": "chain"})
    few = Samples(samples.names, [samples.joined[:20]], [samples.log_prob[0][:20]], 3, samples.ranges)
    assert "at least 100 points" in measure_evidence(replace(task, samples=few), {"method": "chain"}).why_not
    far = samples.joined + 40.0
    for own in ([], ["a"], ["a", "b", "c"]):
        weighted = kernel_evidence(posterior, samples.joined, samples.log_prob[0], rng, own=own)
        assert weighted.log_z == pytest.approx(closed_form(posterior)[3], abs=4 * weighted.log_z_error)
    with pytest.raises(SamplerError, match="above zero"):
        kernel_evidence(posterior, far, samples.log_prob[0], rng, own=["a"])
