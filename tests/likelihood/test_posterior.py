"""A Posterior counts each thing once and is never NaN."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import scipy.stats
import torch

from cmbfit.errors import LikelihoodError, OutsideBoxError, ParameterError
from cmbfit.inference.ensemble import EnsembleSettings, run_ensemble
from cmbfit.likelihood import Gaussian, Posterior, Uniform, load_likelihood, pick_device
from cmbfit.likelihood.base import Likelihood, refuse_double_counting
from cmbfit.likelihood.shared_priors import shared_priors
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import LineTheory, info, toy_likelihood

PRIORS = {"ombh2": Uniform(-2, 3), "ns": Gaussian(0.5, 1.5)}
SHARED = {"A_planck": Gaussian(1.0, 0.0025)}


@pytest.fixture
def line(rng: np.random.Generator) -> LineTheory:
    return LineTheory(rng)


@pytest.fixture
def pair_of_data(rng: np.random.Generator) -> list[Likelihood]:
    return [toy_likelihood(rng, n, survey=n, nuisance=SHARED) for n in ("first", "second")]


def test_sums_likelihoods_and_each_prior_once(
    line: LineTheory, pair_of_data: list[Likelihood], rng: np.random.Generator
) -> None:
    """A calibration shared by two data sets has one prior in the sum (published chains had two)."""
    posterior = Posterior(line, pair_of_data, PRIORS)
    assert posterior.parameters == ("ombh2", "ns", "A_planck")
    theta = np.column_stack([rng.uniform(-2, 3, 20), rng.normal(0, 1, 20), rng.normal(1, 0.01, 20)])
    expected = (
        scipy.stats.uniform(-2, 5).logpdf(theta[:, 0])
        + scipy.stats.truncnorm(-5.5 / 1.5, 4.5 / 1.5, 0.5, 1.5).logpdf(theta[:, 1])  # the theory ends at +-5
        + scipy.stats.norm(1.0, 0.0025).logpdf(theta[:, 2])
    )
    for like in pair_of_data:
        model = (line.base + theta[:, :2] @ line.slopes) @ like.blocks[0].window.numpy().T
        residual = model / theta[:, 2:] ** 2 - like.data.numpy()
        covariance = like.covariance.numpy()
        expected -= 0.5 * np.einsum("bi,ij,bj->b", residual, np.linalg.inv(covariance), residual)
    got = posterior.log_prob(torch.from_numpy(theta)).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-11)
    assert posterior.counts.evaluations == 20


def test_planck_data_share_one_calibration_prior(posterior: Posterior) -> None:
    theta = torch.tensor([[0.0224, 0.12, 1.041, 0.055, 3.045, 0.965, 1.004]], dtype=torch.float64)
    assert posterior.parameters.count("A_planck") == 1
    parts = sum(posterior.log_likelihoods(theta).values()).item()
    widths = {"ombh2": 0.007, "omch2": 0.06, "theta_mc": 0.04, "tau": 0.13, "logA": 0.7, "ns": 0.18}
    prior = scipy.stats.norm(1, 0.0025).logpdf(1.004) - np.log(list(widths.values())).sum()
    # the sum of ln L is 700: 13 digits
    assert posterior.log_prob(theta).item() - parts == pytest.approx(prior, abs=1e-9)


def test_a_prior_given_for_a_nuisance_replaces_the_recommended_one(
    line: LineTheory, pair_of_data: list[Likelihood]
) -> None:
    theta = torch.tensor([[0.0, 0.0, 1.01]], dtype=torch.float64)
    default = Posterior(line, pair_of_data, PRIORS).log_prob(theta).item()
    wide = Posterior(line, pair_of_data, PRIORS | {"A_planck": Gaussian(1, 0.1)}).log_prob(theta).item()
    change = scipy.stats.norm(1, 0.1).logpdf(1.01) - scipy.stats.norm(1, 0.0025).logpdf(1.01)
    assert wide - default == pytest.approx(change, rel=1e-8)


def test_data_sets_that_disagree_about_a_shared_prior_are_refused(
    line: LineTheory, rng: np.random.Generator
) -> None:
    first = toy_likelihood(rng, "first", survey="first", nuisance=SHARED)
    second = toy_likelihood(rng, "second", survey="second", nuisance={"A_planck": Gaussian(1, 0.01)})
    with pytest.raises(LikelihoodError, match="recommend different priors for A_planck"):
        Posterior(line, [first, second], PRIORS)
    Posterior(line, [first, second], PRIORS | SHARED)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ("planck2018_plik_lite_tt", "planck2018_plik_lite_ttteee"),
            "count the same planck TT multipoles 30-2508",
        ),
        (("planck2018_lowl_ee", "planck2018_lowl_ee"), "listed twice"),
        (
            ("planck2018_plik_lite_ttteee", "planck2018_lowl_ee", "planck2018_plik_lite_ttteee"),
            "listed twice",
        ),
    ],
)
def test_the_same_sky_is_not_counted_twice(
    emulator: LinearEmulator, posterior: Posterior, names: tuple[str, ...], message: str
) -> None:
    priors = {p: posterior.priors[p] for p in emulator.parameters}
    with pytest.raises(LikelihoodError, match=message):
        Posterior(emulator, [load_likelihood(n) for n in names], priors)


def test_ranges_that_touch_but_do_not_overlap_are_accepted() -> None:
    low, high = info("low", pairs={"tt": (2, 29)}), info("high", pairs={"tt": (30, 100)})
    refuse_double_counting([low, high, info("other sky", survey="b", pairs={"tt": (2, 100)})])
    with pytest.raises(LikelihoodError, match="TT multipoles 29-29"):
        refuse_double_counting([low, info("high", pairs={"tt": (29, 100)})])


class NotANumber:
    """A data set that fails for ombh2 > 0, as a cut-off sum or a negative root would."""

    info = info("nan", survey="nan", pairs={"ee": (2, 3)})
    pairs = ("tt",)
    lmax = 20

    def log_prob(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> torch.Tensor:  # noqa: ARG002
        x = spectra.dl["tt"][:, 2]
        return torch.where(x > self.limit, torch.nan, 0 * x)

    limit = 0.0


def test_not_a_number_becomes_zero_probability_and_is_counted(
    line: LineTheory, rng: np.random.Generator
) -> None:
    toy, nan = toy_likelihood(rng), NotANumber()
    nan.limit = line.base[2]  # NaN where the slope raises tt at l = 2
    posterior = Posterior(line, [toy, nan], PRIORS)
    theta = torch.tensor([[0.5, 0.0], [-0.5, 0.0], [0.25, 0.0]], dtype=torch.float64)
    bad = (theta @ torch.from_numpy(line.slopes[:, 2:3]))[:, 0] > 0
    got = posterior.log_prob(theta)
    assert torch.isneginf(got[bad]).all()
    assert torch.isfinite(got[~bad]).all()
    assert posterior.counts.not_a_number == int(bad.sum()) > 0


def test_outside_prior_and_outside_box_are_counted_apart(
    line: LineTheory, pair_of_data: list[Likelihood]
) -> None:
    posterior = Posterior(line, pair_of_data, PRIORS)
    rows = [
        [0, 0, 1],
        [3.5, 0, 1],
        [0, 6, 1],
        [9, 9, 1],
        [torch.nan, 0, 1],
        [0, torch.nan, 1],
        [0, 0, torch.nan],
    ]
    got = posterior.log_prob(torch.tensor(rows, dtype=torch.float64))
    assert torch.isfinite(got[0])
    assert torch.isneginf(got[1:]).all()
    counts = posterior.counts
    assert (counts.outside_prior, counts.outside_box, counts.not_a_number) == (5, 1, 0)


def test_gradient_of_allowed_rows_is_clean_beside_refused_ones(
    line: LineTheory, pair_of_data: list[Likelihood]
) -> None:
    posterior = Posterior(line, pair_of_data, PRIORS)
    theta = torch.tensor([[0.1, 0.2, 1.0], [7.0, 0.2, 1.0]], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(posterior.log_prob(theta)[0], theta)
    h = 1e-5
    for i in range(3):
        shift = torch.zeros(1, 3, dtype=torch.float64)
        shift[0, i] = h
        up, down = (posterior.log_prob(theta[:1].detach() + s).item() for s in (shift, -shift))
        # central difference: h^2 third derivative; rounding 1e-16 of 1e2 over 1e-5
        assert gradient[0, i].item() == pytest.approx((up - down) / (2 * h), rel=1e-6, abs=1e-6)
    assert (gradient[1] == 0).all()


def test_a_direct_call_outside_the_box_raises(posterior: Posterior) -> None:
    theta = torch.tensor([[0.0224, 0.12, 1.041, 0.2, 3.045, 0.965, 1.0]], dtype=torch.float64)
    with pytest.raises(OutsideBoxError, match=r"tau = 0\.2 .* \[0\.02, 0\.15\]"):
        posterior.log_likelihoods(theta)
    assert torch.isneginf(posterior.log_prob(theta)).all()


def test_incomplete_posteriors_are_refused(line: LineTheory, pair_of_data: list[Likelihood]) -> None:
    with pytest.raises(ParameterError, match="no prior for ns"):
        Posterior(line, pair_of_data, {"ombh2": Uniform(0, 1)})
    with pytest.raises(ParameterError, match="did you mean 'ombh2'"):
        Posterior(line, pair_of_data, PRIORS | {"omb_h2": Uniform(0, 1)})
    with pytest.raises(LikelihoodError, match="at least one data set"):
        Posterior(line, [], PRIORS)
    with pytest.raises(LikelihoodError, match="needs l = 2508, the theory stops at 20"):
        Posterior(line, [load_likelihood("planck2018_plik_lite_tt")], PRIORS)


def test_theta_of_another_shape_is_refused(line: LineTheory, pair_of_data: list[Likelihood]) -> None:
    posterior = Posterior(line, pair_of_data, PRIORS)
    for shape in ((3,), (2, 2), (2, 4)):
        with pytest.raises(ParameterError, match=r"expected shape \(batch, 3\)"):
            posterior.log_prob(torch.zeros(shape, dtype=torch.float64))


@pytest.mark.parametrize("compiled_too", [False, True])
def test_points_of_any_float_type_give_a_float64_tensor(
    posterior: Posterior, compiled: Posterior, compiled_too: bool
) -> None:
    point = [[0.0224, 0.12, 1.041, 0.055, 3.045, 0.965, 1.0]]
    one = compiled if compiled_too else posterior
    exact = torch.tensor(point, dtype=torch.float64)
    rounded = exact.float()
    for theta, same in (
        (np.array(point), exact),
        (np.array(point, dtype=">f8"), exact),
        (np.array(point, dtype=np.float32), rounded.double()),
        (rounded, rounded.double()),
        (exact.bfloat16(), exact.bfloat16().double()),
    ):
        for call in (one.log_prob, one.log_prior):
            got = call(theta)
            assert got.dtype == torch.float64
            assert torch.equal(got, call(same))
    assert one.log_likelihoods(np.array(point)).keys() == one.log_likelihoods(exact).keys()
    leaf = rounded.clone().requires_grad_()
    (slope,) = torch.autograd.grad(one.log_prob(leaf).sum(), leaf)
    double = rounded.double().requires_grad_()
    (wanted,) = torch.autograd.grad(one.log_prob(double).sum(), double)
    assert torch.equal(slope, wanted.float())


@pytest.mark.parametrize(
    "theta", [[[0.0, 0.0, 1.0]], np.zeros((1, 3), dtype=int), torch.zeros(1, 3, dtype=torch.int64), None, "x"]
)
def test_points_that_are_no_floats_are_refused(
    line: LineTheory, pair_of_data: list[Likelihood], theta: object
) -> None:
    posterior = Posterior(line, pair_of_data, PRIORS)
    for call in (posterior.log_prob, posterior.log_prior, posterior.log_likelihoods):
        with pytest.raises(ParameterError, match="expected a torch tensor of floats or a numpy array"):
            call(theta)  # type: ignore[operator]


def test_data_sets_that_recommend_different_priors_are_refused(
    line: LineTheory, rng: np.random.Generator
) -> None:
    pair = [
        toy_likelihood(rng, name, survey=name, nuisance={"A": Gaussian(1.0, std)})
        for name, std in (("first", 0.1), ("second", 0.2))
    ]
    for build in (lambda: shared_priors(pair), lambda: Posterior(line, pair, PRIORS)):
        with pytest.raises(LikelihoodError, match="first and second recommend different priors for A"):
            build()
    given = {"A": Uniform(0.9, 1.1)}
    assert shared_priors(pair, given) == (given, ())
    assert Posterior(line, pair, PRIORS | given).nuisances == given


def test_support_is_the_prior_cut_by_the_box(line: LineTheory, pair_of_data: list[Likelihood]) -> None:
    posterior = Posterior(line, pair_of_data, PRIORS)
    assert posterior.support == {
        "ombh2": (-2, 3),  # its prior, inside the box
        "ns": (-5, 5),  # the box, around which the prior has tails
        "A_planck": (-np.inf, np.inf),
    }
    assert posterior.cut_share("ombh2") == 0
    tails = scipy.stats.norm(0.5, 1.5).cdf(-5) + scipy.stats.norm(0.5, 1.5).sf(5)
    assert posterior.cut_share("ns") == pytest.approx(tails, rel=1e-12)


@pytest.mark.parametrize(
    ("prior", "recorded"), [(Gaussian(0, 1.2), False), (Gaussian(0, 2), True), (Uniform(-7, 5), True)]
)
def test_priors_that_the_box_cuts_are_said_and_recorded(
    line: LineTheory,
    pair_of_data: list[Likelihood],
    caplog: pytest.LogCaptureFixture,
    prior: Gaussian | Uniform,
    recorded: bool,
) -> None:
    """The Gaussian tails beyond 5: 3e-5 at sigma 1.2, 0.012 at 2; a sixth of the flat prior."""
    posterior = Posterior(line, pair_of_data, PRIORS | {"ns": prior})
    assert ("of the prior of ns lies outside [-5, 5]" in caplog.text) == recorded
    got = posterior.settings().get("support")
    expected = scipy.stats.norm(0, 2).sf(5) * 2 if isinstance(prior, Gaussian) else 1 / 6
    wanted = {"ns": {"range": [-5, 5], "cut_share": pytest.approx(expected, rel=1e-12)}}
    assert got == (wanted if recorded else None)


def test_a_gaussian_prior_far_outside_the_box_is_refused(
    line: LineTheory, pair_of_data: list[Likelihood]
) -> None:
    """A half of its mass: the box would make another prior of it."""
    with pytest.raises(
        ParameterError, match=r"0\.5 of the prior of ns lies outside \[-5, 5\].*narrow the prior"
    ):
        Posterior(line, pair_of_data, PRIORS | {"ns": Gaussian(5.0, 0.1)})


def test_device_names_are_checked() -> None:
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ParameterError, match="expected auto, cpu or cuda"):
        pick_device("gpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
def test_cuda_agrees_with_the_cpu(
    posterior: Posterior, compiled: Posterior, rng: np.random.Generator
) -> None:
    theta = torch.from_numpy(
        np.column_stack([posterior.priors[p].sample(rng, 256) for p in posterior.parameters])
    )
    for path in (posterior, compiled):
        on_gpu = path.to("cuda").log_prob(theta.cuda()).cpu()
        torch.testing.assert_close(on_gpu, path.log_prob(theta), rtol=1e-8, atol=0)


def test_one_prior_value_outside_support_does_not_stop_a_batch(
    line: LineTheory, pair_of_data: list[Likelihood]
) -> None:
    posterior = Posterior(line, pair_of_data, PRIORS)
    good = torch.tensor([[0.1, 0.2, 1.0]], dtype=torch.float64)
    bad = torch.tensor([[3.5, 0.2, 1.0]], dtype=torch.float64)
    alone = posterior.log_prob(good)
    torch.testing.assert_close(
        posterior.log_prob(torch.cat([bad, good, bad]))[1:2], alone, rtol=1e-13, atol=0
    )
    assert torch.isneginf(posterior.log_prob(torch.cat([bad, bad]))).all()


def test_evaluate_says_why_points_have_no_probability(
    line: LineTheory, pair_of_data: list[Likelihood]
) -> None:
    posterior = Posterior(line, pair_of_data, PRIORS)
    theta = torch.tensor([[0, 0, 1], [3.5, 0, 1], [0, 6, 1]], dtype=torch.float64)
    value, counts = posterior.evaluate(theta)
    assert vars(counts) == {"evaluations": 3, "outside_prior": 1, "outside_box": 1, "not_a_number": 0}
    assert posterior.counts.evaluations == 0  # running totals belong to log_prob
    torch.testing.assert_close(posterior.log_prob(theta), value, rtol=0, atol=0)
    assert posterior.counts == counts


class Scarce:
    """A data set for which only so many points fit into memory."""

    info = info("scarce")
    pairs = ("tt",)
    lmax = 20

    def __init__(self, fits: int, error: Exception) -> None:
        self.fits, self.error, self.sizes = fits, error, []

    def log_prob(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> torch.Tensor:  # noqa: ARG002
        self.sizes.append(spectra.batch)
        if spectra.batch > self.fits:
            raise self.error
        return -0.5 * spectra.dl["tt"][:, 2:].square().sum(1)

    def settings(self) -> dict[str, object]:
        return {"fits": self.fits}


PLAIN = {"ombh2": Uniform(-3, 3), "ns": Uniform(-3, 3)}
OUT_OF_MEMORY = [
    MemoryError(),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried ..."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_out_of_memory_makes_the_chunks_smaller_and_loses_nothing(
    line: LineTheory, rng: np.random.Generator, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    theta = torch.from_numpy(rng.uniform(-1, 1, (100, 2)))
    plenty, scarce = (Posterior(line, [Scarce(n, error)], PLAIN) for n in (1000, 10))
    torch.testing.assert_close(scarce.log_prob(theta), plenty.log_prob(theta), rtol=1e-13, atol=0)
    assert scarce.chunk == 6  # 100, 50, 25, 12 do not fit
    assert "out of memory with 12 points at once: going on with 6" in caplog.text
    assert scarce.counts.evaluations == 100
    sizes = scarce.likelihoods[0].sizes
    scarce.log_prob(theta)
    assert max(scarce.likelihoods[0].sizes[len(sizes) :], default=6) <= 6


def test_no_memory_for_one_point_is_a_typed_error(line: LineTheory) -> None:
    posterior = Posterior(line, [Scarce(0, MemoryError())], PLAIN)
    with pytest.raises(LikelihoodError, match="no memory for a single point"):
        posterior.log_prob(torch.zeros(3, 2, dtype=torch.float64))


def test_other_failures_are_not_taken_for_lack_of_memory(line: LineTheory) -> None:
    posterior = Posterior(line, [Scarce(1, RuntimeError("shapes do not match"))], PLAIN)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        posterior.log_prob(torch.zeros(3, 2, dtype=torch.float64))


def test_a_chain_goes_on_through_lack_of_memory_to_the_same_samples(
    line: LineTheory, rng: np.random.Generator, tmp_path: Path
) -> None:
    """Memory that runs out in the middle of a chain costs speed, not the chain."""
    start = rng.uniform(-1, 1, (16, 2))
    settings = EnsembleSettings(walkers=16, max_steps=300, block_steps=50, tau_multiple=0.1, tau_rtol=10)
    chains = []
    for name, fits in (("plenty", 100), ("scarce", 3)):
        posterior = Posterior(line, [Scarce(fits, MemoryError())], PLAIN)
        chains.append(run_ensemble(posterior, start, settings, 1, tmp_path / name, {}, progress=False))
    np.testing.assert_array_equal(chains[0].samples, chains[1].samples)


def test_a_gpu_without_room_for_one_point_hands_over_to_the_cpu(
    line: LineTheory, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The meta device stands for a GPU: it refuses to compute, here with a GPU's error."""
    posterior = Posterior(line, [toy_likelihood(np.random.default_rng(1))], PLAIN)
    theta = torch.zeros(2, 2, dtype=torch.float64)
    expected = posterior.log_prob(theta)
    real = Posterior._evaluate_chunk

    def full(self: Posterior, rows: torch.Tensor) -> object:
        if self.device.type == "meta":
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(self, rows)

    monkeypatch.setattr(Posterior, "_evaluate_chunk", full)
    posterior.device = torch.device("meta")
    torch.testing.assert_close(posterior.log_prob(theta), expected, rtol=0, atol=0)
    assert posterior.device.type == "cpu"
    assert "no memory for a single point: going on with the CPU" in caplog.text
    assert posterior.counts.evaluations == 4


def test_asking_for_an_absent_gpu_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("cuda").type == "cpu"
    assert "CUDA was asked for, but torch finds no GPU" in caplog.text
