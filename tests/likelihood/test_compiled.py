"""The folded posterior against the path through full spectra."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood import Gaussian, GaussianBandpowers, Posterior, TabulatedSpectrum, load_likelihood
from cmbfit.likelihood.base import Likelihood
from cmbfit.likelihood.compiled import compile_if_possible, compile_posterior
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import LineTheory, info, random_covariance, toy_likelihood
from tests.likelihood.test_posterior import PRIORS, NotANumber


def draws(posterior: Posterior, rng: np.random.Generator, n: int) -> torch.Tensor:
    return torch.from_numpy(
        np.column_stack([posterior.priors[p].sample(rng, n) for p in posterior.parameters])
    )


def emulator_posterior(posterior: Posterior, likelihoods: list[Likelihood]) -> Posterior:
    theory = posterior.theory
    return Posterior(theory, likelihoods, {p: posterior.priors[p] for p in theory.parameters})


def bandpowers(
    rng: np.random.Generator, pairs: tuple[str, ...], lmin: int, name: str = "toy"
) -> GaussianBandpowers:
    """Random windows from `lmin`, with separate calibrations of temperature and polarisation."""
    windows = {p: np.zeros((4, 301)) for p in pairs}
    for window in windows.values():
        window[:, lmin:] = rng.uniform(0, 1e-2, (4, 301 - lmin))
    n = 4 * len(pairs)
    nuisance = {"A": Gaussian(1, 0.05), "P": Gaussian(1, 0.05)}
    powers = {"A": {"tt": -2.0, "te": -2.0}, "P": {"te": 1.0, "ee": 2.0}}
    description = info(name, pairs=dict.fromkeys(pairs, (lmin, 300)), survey=name, nuisance=nuisance)
    covariance = 1e3 * random_covariance(rng, n)
    return GaussianBandpowers(description, windows, rng.normal(0, 100, n), covariance, powers)


@pytest.fixture(scope="module")
def exact(posterior: Posterior) -> Posterior:
    """With every direction that the emulator's components can reach."""
    return compile_posterior(posterior, neglect=0.0)


def near_planck(rng: np.random.Generator, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points scattered like Planck's posterior, and its widths."""
    centre = torch.tensor([0.0224, 0.12, 1.041, 0.055, 3.045, 0.965, 1.0], dtype=torch.float64)
    scale = torch.tensor([1.5e-4, 1.4e-3, 3e-4, 7e-3, 0.016, 4e-3, 2.5e-3], dtype=torch.float64)
    return centre + scale * torch.from_numpy(rng.standard_normal((n, 7))), scale


def test_folded_equals_unfolded_over_the_prior(
    posterior: Posterior, exact: Posterior, rng: np.random.Generator
) -> None:
    theta = draws(posterior, rng, 200)
    unfolded = posterior.log_prob(theta)
    assert torch.isfinite(unfolded).any()
    # rounding of another order of summation; -inf of the low-l table included
    torch.testing.assert_close(exact.log_prob(theta), unfolded, rtol=1e-10, atol=0)
    assert exact.fold_difference < 1e-10


def test_dropped_directions_stay_far_below_the_emulators_error(
    posterior: Posterior, compiled: Posterior, exact: Posterior, rng: np.random.Generator
) -> None:
    """Mean 1e-4 of chi2 over the box, in ln L half of it; a hundred times that in its corners, and nothing near
    the data, where the emulator's own |delta chi2| is 0.03."""
    assert compiled.log_like.n_directions < 0.8 * exact.log_like.n_directions
    anywhere, (near, scale) = draws(posterior, rng, 1000), near_planck(rng, 500)
    truth = exact.log_prob(anywhere)
    wrong = (compiled.log_prob(anywhere) - truth)[torch.isfinite(truth)].abs()
    # the box of the theory is wider than its coordinates' cube, and the amplitude varies: a factor of a few
    assert 0 < wrong.mean() < 2e-4
    assert wrong.max() < 5e-3
    torch.testing.assert_close(compiled.log_prob(near), exact.log_prob(near), rtol=0, atol=1e-4)
    gradients = []
    for path in (exact, compiled):
        x = near.clone().requires_grad_()
        gradients.append(torch.autograd.grad(path.log_prob(x).sum(), x)[0] * scale)
    torch.testing.assert_close(gradients[1], gradients[0], rtol=0, atol=1e-4)


def test_what_is_dropped_counts_as_asked(posterior: Posterior) -> None:
    lengths = [compile_posterior(posterior, neglect=x).log_like.n_directions for x in (1e-8, 1e-5, 1e-2)]
    assert lengths[0] > lengths[1] > lengths[2] > 2


@pytest.mark.parametrize("batch", [511, 512, 2000])
def test_threads_give_the_same_numbers_and_counts(compiled: Posterior, batch: int) -> None:
    theta = draws(compiled, np.random.default_rng(5), batch)
    theta[7, 3] = 1.0  # outside the prior
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = compiled.evaluate(theta)
        torch.set_num_threads(2)
        together = compiled.evaluate(theta)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(together.log_prob, alone.log_prob, rtol=1e-12, atol=0)
    assert together.counts == alone.counts
    assert together.counts.evaluations == batch
    assert together.counts.outside_prior == 1


def test_folded_gradients_equal_unfolded_ones(
    posterior: Posterior, exact: Posterior, rng: np.random.Generator
) -> None:
    theta, scale = near_planck(rng, 16)
    gradients = []
    for path in (posterior, exact):
        x = theta.clone().requires_grad_()
        (g,) = torch.autograd.grad(path.log_prob(x).sum(), x)
        gradients.append(g * scale)  # change of ln L over one posterior sigma
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-10, atol=1e-9)


def test_separate_calibrations_are_folded_apart(posterior: Posterior, rng: np.random.Generator) -> None:
    likes = [bandpowers(rng, ("tt", "te", "ee"), 30, "a"), bandpowers(rng, ("ee", "tt"), 30, "b")]
    plain = emulator_posterior(posterior, likes)
    theta = draws(plain, rng, 100)
    folded = compile_posterior(plain)
    torch.testing.assert_close(folded.log_prob(theta), plain.log_prob(theta), rtol=1e-10, atol=0)
    moved = theta.clone()
    moved[:, plain.parameters.index("P")] += 0.1
    assert (folded.log_prob(moved) - folded.log_prob(theta)).abs().min() > 0


def test_one_data_set_alone_folds(
    posterior: Posterior, likelihoods: dict[str, Likelihood], rng: np.random.Generator
) -> None:
    for name in ("tt", "lowe"):
        plain = emulator_posterior(posterior, [likelihoods[name]])
        theta = draws(plain, rng, 30)
        torch.testing.assert_close(
            compile_posterior(plain, neglect=0.0).log_prob(theta), plain.log_prob(theta), rtol=1e-10, atol=0
        )


def test_folding_shortens_the_residual(compiled: Posterior) -> None:
    # 615 bandpowers depend on the decoder's directions and the mean only
    assert 0 < compiled.log_like.n_directions < 200


def test_outside_prior_box_and_table_stay_zero_probability(compiled: Posterior) -> None:
    good = torch.tensor([0.0224, 0.12, 1.041, 0.055, 3.045, 0.965, 1.0], dtype=torch.float64)
    theta = good.repeat(4, 1)
    theta[1, 3] = 0.2
    theta[2, 0] = torch.nan
    theta[3, 6] = torch.nan
    got = compiled.log_prob(theta)
    assert torch.isfinite(got[0])
    assert torch.isneginf(got[1:]).all()


@pytest.mark.parametrize(("pairs", "lmin"), [(("ee",), 2), (("pp",), 8), (("tt", "pp", "ee"), 20)])
def test_lensing_and_low_l_ee_fold_too(
    posterior: Posterior, rng: np.random.Generator, pairs: tuple[str, ...], lmin: int
) -> None:
    """Their components have another amplitude, and at low l they are exponentials."""
    plain = emulator_posterior(posterior, [bandpowers(rng, pairs, lmin)])
    theta = draws(plain, rng, 100)
    folded = compile_posterior(plain)
    torch.testing.assert_close(folded.log_prob(theta), plain.log_prob(theta), rtol=1e-10, atol=0)
    x, y = theta.clone().requires_grad_(), theta.clone().requires_grad_()
    (a,), (b,) = (torch.autograd.grad(path.log_prob(z).sum(), z) for path, z in ((folded, x), (plain, y)))
    torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8 * float(b.abs().max()))


def test_several_surveys_fold_side_by_side(
    posterior: Posterior, likelihoods: dict[str, Likelihood], rng: np.random.Generator
) -> None:
    """Planck with its tables, a survey of two calibrations and a lensing survey: three clusters."""
    lensing = bandpowers(rng, ("pp",), 8, "lensing")
    likes = [likelihoods["ttteee"], likelihoods["bins"], likelihoods["lowe"]]
    plain = emulator_posterior(posterior, [*likes, bandpowers(rng, ("tt", "te", "ee"), 30, "b"), lensing])
    theta = draws(plain, rng, 100)
    folded = compile_posterior(plain)
    assert folded.fold_difference < 1e-11
    torch.testing.assert_close(folded.log_prob(theta), plain.log_prob(theta), rtol=1e-10, atol=0)


def test_hessian_of_the_folded_path_is_that_of_the_unfolded_one(
    posterior: Posterior, likelihoods: dict[str, Likelihood]
) -> None:
    plain = emulator_posterior(posterior, [likelihoods["ttteee"]])
    folded = compile_posterior(plain, neglect=0.0)
    centre = torch.tensor([0.0224, 0.12, 1.041, 0.055, 3.045, 0.965, 1.0], dtype=torch.float64)
    scale = torch.tensor([1.5e-4, 1.4e-3, 3e-4, 7e-3, 0.016, 4e-3, 2.5e-3], dtype=torch.float64)
    hessians = [
        torch.autograd.functional.hessian(
            lambda z, p=path: p.log_prob((centre + scale * z)[None])[0], 0 * centre
        )
        for path in (plain, folded)
    ]
    torch.testing.assert_close(
        hessians[1], hessians[0], rtol=1e-8, atol=1e-8 * float(hessians[0].abs().max())
    )


class Wrong(GaussianBandpowers):
    """Says it is Gaussian but adds a term of its own."""

    def log_prob(self, spectra: Spectra, nuisance: Mapping[str, torch.Tensor]) -> torch.Tensor:
        return super().log_prob(spectra, nuisance) - 1e-3 * spectra.dl["tt"][:, 100]


def test_a_data_set_that_is_more_than_its_bandpowers_is_found_out(
    posterior: Posterior, rng: np.random.Generator
) -> None:
    honest = bandpowers(rng, ("tt",), 30)
    honest.__class__ = Wrong
    with pytest.raises(LikelihoodError, match="folded ln L differs from the unfolded one"):
        compile_posterior(emulator_posterior(posterior, [honest]))


@pytest.mark.parametrize(("pair", "n_ell"), [("tt", 28), ("ee", 40)])
def test_tables_beyond_low_l_ee_cannot_be_folded(posterior: Posterior, pair: str, n_ell: int) -> None:
    description = info("table", pairs={pair: (2, n_ell + 1)})
    plain = emulator_posterior(
        posterior, [TabulatedSpectrum(description, pair, 2, 1.0, np.zeros((9, n_ell)))]
    )
    with pytest.raises(LikelihoodError, match="reaches beyond the emulator's low-l EE"):
        compile_posterior(plain)


def test_other_likelihoods_and_theories_cannot_be_folded(
    posterior: Posterior, rng: np.random.Generator
) -> None:
    with pytest.raises(LikelihoodError, match="nan cannot be folded"):
        compile_posterior(emulator_posterior(posterior, [NotANumber()]))
    with pytest.raises(LikelihoodError, match="only posteriors of a linear-decoder emulator"):
        compile_posterior(Posterior(LineTheory(rng), [toy_likelihood(rng)], PRIORS))
    with pytest.raises(LikelihoodError, match="every data set measures a parameter"):
        compile_posterior(emulator_posterior(posterior, [load_likelihood("tau_lowe")]))


def test_what_cannot_be_folded_is_used_as_it_is(posterior: Posterior, rng: np.random.Generator) -> None:
    plain = Posterior(LineTheory(rng), [toy_likelihood(rng)], PRIORS)
    assert compile_if_possible(plain) is plain
    assert plain.not_folded == "only posteriors of a linear-decoder emulator can be compiled"
    folded = compile_if_possible(posterior)
    assert folded.fold_difference is not None
    assert folded.not_folded is None


@pytest.mark.parametrize("batch", [1, 63, 512, 513])
def test_the_size_of_the_batch_does_not_change_the_numbers(
    compiled: Posterior, rng: np.random.Generator, batch: int
) -> None:
    theta = draws(compiled, rng, 600)
    whole = compiled.log_prob(theta)
    parts = torch.cat([compiled.log_prob(rows) for rows in theta.split(batch)])
    # sums of 540 terms in an order that the matrix library picks by the shape
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=0)
