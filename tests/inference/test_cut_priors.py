"""Evidences under priors that a theory's domain cuts: flat likelihoods, whose ln Z is 0, and truncated normals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from cmbfit.inference.evidence import EvidenceTask, measure_evidence
from cmbfit.inference.model_table import Candidate, compare
from cmbfit.inference.products import Samples
from cmbfit.inference.restrict import restrict
from cmbfit.inference.samplers import Start
from cmbfit.likelihood import GaussianBandpowers, Posterior, Uniform
from cmbfit.likelihood.prior_mass import prior_mass
from cmbfit.likelihood.priors import Gaussian
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.model import PIVOT
from cmbfit.theory.primordial_theory import seen
from cmbfit.theory.spectra import Spectra
from tests.inference.test_model_table import Line, closed_form, problem
from tests.likelihood.helpers import info

LOG_A, NS = (2.5, 3.5), (0.8, 1.2)


class Unseen:
    """A primordial model that no data see: its domain alone counts."""

    lmax = 20
    settings = {"kind": "unseen"}  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.model = get_model(name)
        self.parameters = self.model.parameter_names
        self.box = {p.name: (p.prior.low, p.prior.high) for p in self.model.parameters}
        self.k = torch.logspace(math.log10(7e-6), math.log10(1.3), 400, dtype=torch.float64)

    def allowed(self, theta: torch.Tensor) -> torch.Tensor:
        return self.model.valid(self.k, theta, seen(self.k, 13_870.0, 2500))

    def spectra(self, theta: torch.Tensor) -> Spectra:
        return Spectra({"tt": torch.zeros(len(theta), 21, dtype=torch.float64)})


def flat(name: str) -> Posterior:
    theory = Unseen(name)
    like = GaussianBandpowers(info(), {"tt": np.ones((5, 21))}, np.zeros(5), np.eye(5) / (2 * math.pi))
    return Posterior(theory, [like], {p: Uniform(*limits) for p, limits in theory.box.items()})


def uniform(rng: np.random.Generator, n: int, *limits: tuple[float, float]) -> np.ndarray:
    return rng.uniform(*np.array(limits).T, (n, len(limits)))


# what is left of the priors, with the bounds as their papers have them, for points (logA, ns, own ...)
def excited(x: np.ndarray) -> np.ndarray:
    return 2e-10 * np.exp(x[:, 0]) * 10 ** x[:, 2] * (np.exp(x[:, 3]) / 2e-4) ** 4 < 1


def trans_planckian(x: np.ndarray) -> np.ndarray:
    return math.pi * 2.435323e18 * np.sqrt(np.exp(x[:, 0]) * 1e-10 * x[:, 2] / 2) < 10 ** x[:, 3]


def monodromy(x: np.ndarray) -> np.ndarray:
    y = 10 ** x[:, 3] * 10.8813
    return x[:, 2] < 12 / np.sqrt(1 + 9 * y**2) * np.sqrt(math.pi / 8 / np.tanh(math.pi / 2 / y) * y)


MASSES = {
    "excited_state": (excited, ((-6, 0), (-8, 0), (0, 2 * math.pi))),
    "alpha_vacuum": (trans_planckian, ((1e-4, 0.036), (13, 18.5))),
    "axion_monodromy": (monodromy, ((0, 0.7), (-4, -1), (0, 2 * math.pi))),
}


@pytest.mark.parametrize("name", MASSES)
def test_what_no_data_see_has_no_evidence(name: str) -> None:
    """ln Z = ln int L pi = 0 for L = 1, whatever part of the prior the model refuses."""
    posterior = flat(name)
    left, own = MASSES[name]
    points = uniform(np.random.default_rng(5), 200_000, LOG_A, NS, *own)
    share = left(points).mean()
    assert share < 0.95  # a box's density is wrong by more than 0.05
    # counted with an error of sqrt((1 - share)/share/n) < 0.2% here and 0.2% there
    assert posterior.prior_mass.log_mass == pytest.approx(math.log(share), abs=0.01)
    few = points[:20_000]
    density = posterior.log_prob(torch.from_numpy(few)).exp()
    volume = np.prod([high - low for low, high in (LOG_A, NS, *own)])
    assert math.log(density.mean().item() * volume) == pytest.approx(0.0, abs=0.02)  # 20,000 points: 0.5%


def test_a_spectrum_may_be_anything_where_no_data_look() -> None:
    """A (k/k*)^n < 1 is asked for at 0.7 < k D < 1.5 l_max, not down to 7e-6 and up to 1.3 /Mpc."""
    posterior = flat("oscillation_linear")
    own = ((0, 0.5), (0, 2.1), (0, 2 * math.pi), (-1, 1))
    x = uniform(np.random.default_rng(6), 20_000, LOG_A, NS, *own)
    ends = np.array([0.7, 1.5 * 2500]) / 13_870.0 / PIVOT
    envelope = (x[:, 2, None] * ends ** x[:, 5, None]).max(1)
    got = posterior.theory.allowed(torch.from_numpy(x)).numpy()  # type: ignore[attr-defined]
    assert got[envelope < 1].all()
    # where the envelope exceeds 1 by a half, P < 0 somewhere within: nearly all are refused (a slow oscillation may miss it)
    assert got[envelope > 1.5].mean() < 0.5
    wide = (x[:, 2, None] * (np.array([7e-6, 1.3]) / PIVOT) ** x[:, 5, None]).max(1)
    assert got.mean() > 1.1 * (wide < 1).mean()


class Half(Line):
    """A line that makes sense where a > b only: of the box [-3, 3]^2 one half."""

    def allowed(self, theta: torch.Tensor) -> torch.Tensor:
        columns = [self.parameters.index(p) for p in "ab"]
        return theta[:, columns[0]] > theta[:, columns[1]]


A0 = 0.4


def truncated() -> tuple[Posterior, float, float]:
    """The posterior, its ln Z, and that with a held at A0, in closed form."""
    whole = problem()
    posterior = Posterior(Half(), whole.likelihoods, dict(whole.priors))
    mean, covariance, _, log_z = closed_form(whole)
    towards = np.array([1.0, -1.0, 0.0])
    share = scipy.stats.norm.cdf(mean @ towards / math.sqrt(towards @ covariance @ towards))
    at = scipy.stats.norm(mean[0], math.sqrt(covariance[0, 0]))
    slope = covariance[1, 0] / covariance[0, 0]
    given = scipy.stats.norm(
        mean[1] + slope * (A0 - mean[0]), math.sqrt(covariance[1, 1] - slope * covariance[1, 0])
    )
    # density of a: that of the normal, times the share of b < A0 there; priors: 1/2 of the box, (A0 + 3)/6 of the slice
    held = log_z + at.logpdf(A0) + math.log(6.0) + given.logcdf(A0) - math.log((A0 + 3) / 6)
    return posterior, log_z + math.log(share / 0.5), held


def drawn(posterior: Posterior, n: int = 20_000) -> Samples:
    mean, covariance, _, _ = closed_form(problem())
    x = np.random.default_rng(1).multivariate_normal(mean, covariance, n)
    x = x[x[:, 0] > x[:, 1]]
    log_prob = posterior.log_prob(torch.from_numpy(x)).numpy()
    parts = (slice(0, len(x) // 2), slice(len(x) // 2, None))
    return Samples(
        posterior.parameters,
        [x[p] for p in parts],
        [log_prob[p] for p in parts],
        3,
        dict.fromkeys("abc", (-3.0, 3.0)),
    )


BEGIN, SCALE = {"a": 0.3, "b": -0.2, "c": 0.5}, dict.fromkeys("abc", 0.3)


@pytest.mark.parametrize(
    ("section", "tolerance"),
    [
        ({"method": "importance", "draws": 20_000}, 0.02),  # weights of 20,000 points: 0.5%
        ({"method": "chain", "draws": 20_000}, 0.03),
        # 1,500 effective points: 2.6% a run
        pytest.param(
            {"method": "nested", "n_live": 200, "n_effective": 1500, "networks": 0},
            0.08,
            marks=pytest.mark.slow,
        ),
    ],
    ids=lambda x: x["method"] if isinstance(x, dict) else "",
)
def test_every_method_normalises_by_what_is_left(section: dict[str, object], tolerance: float) -> None:
    posterior, log_z, held = truncated()
    start = Start(BEGIN, SCALE)
    samples = drawn(posterior) if section["method"] == "chain" else None
    got = measure_evidence(EvidenceTask(posterior, start, 3, samples), section)
    assert got.log_z == pytest.approx(log_z, abs=tolerance)
    assert got.log_z_error is not None
    assert got.log_z_error > posterior.prior_mass.error > 0
    if section["method"] == "importance":
        inner = restrict(posterior, {"a": A0})
        own = Start({p: BEGIN[p] for p in "bc"}, {p: SCALE[p] for p in "bc"})
        got = measure_evidence(EvidenceTask(inner, own, 3, None, {"a": A0}), section)
        assert got.log_z == pytest.approx(held, abs=tolerance)


def test_savage_dickey_divides_by_the_marginal_prior_at_the_point() -> None:
    posterior, log_z, held = truncated()
    samples = drawn(posterior, 200_000)
    model = Candidate("all", "all", posterior, BEGIN, SCALE, samples=samples)
    inner = Candidate(
        "held", "held", restrict(posterior, {"a": A0}), BEGIN, SCALE, samples=samples, fixed={"a": A0}
    )
    row = compare([model, inner], np.random.default_rng(2), starts=1)["models"][1]["savage_dickey"]
    # a flat density is off by ln((A0 + 3)/6 / 0.5) = 0.125
    assert row["error"] < 0.02
    assert row["ln_b"] == pytest.approx(held - log_z, abs=3 * row["error"])


def test_mass_within_a_box_is_that_of_the_densities() -> None:
    """Closed form, error 0: a flat and a normal prior of which a box leaves a half and one standard deviation."""

    class Boxed(Line):
        box = {"a": (0.0, 3.0), "b": (-1.0, 1.0)}  # noqa: RUF012

    priors = {"a": Uniform(-3, 3), "b": Gaussian(0, 1)}
    got = prior_mass(("a", "b"), priors, (), Boxed(("a", "b")))
    assert got.log_mass == pytest.approx(math.log(0.5 * math.erf(math.sqrt(0.5))), abs=1e-12)
    assert got.error == 0
