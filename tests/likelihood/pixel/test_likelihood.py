"""ln L against scipy's multivariate normal with an independently built covariance, marginalisation, gradients, errors."""

from __future__ import annotations

import dataclasses

import healpy
import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from cmbfit.errors import LikelihoodError, MapError, SpectrumError
from cmbfit.likelihood import Posterior
from cmbfit.likelihood.pixel import (
    CompressedPixelLikelihood,
    PixelLikelihood,
    dense_noise,
    inverse_noise,
    pixel_likelihood,
    regularise,
    white_noise,
)
from cmbfit.likelihood.pixel.build import data_vector, pixel_set
from cmbfit.likelihood.pixel.harmonics import mode_ell, mode_matrix, monopole_dipole
from cmbfit.likelihood.pixel.summary import summarise
from cmbfit.sky import Beam, Mask, StokesMap
from tests.likelihood.pixel import oracle
from tests.likelihood.pixel.helpers import NSIDE, all_spectra, batch, cap_mask, info, to_cl

LMAX, TOP = 8, 12  # varied, and signal in the map
RANGES = dict.fromkeys(("tt", "te", "ee", "bb", "tb", "eb"), (2, LMAX))
BEAM = Beam.gaussian(TOP, 600.0)


class Case:
    """One sky with its masks, noise and covariance from the oracle."""

    def __init__(self, rng: np.random.Generator, t: bool = True, p: bool = True) -> None:
        self.mask_t = cap_mask(rng) if t else None
        self.mask_p = cap_mask(rng, 0.6) if p else None
        self.pixels = pixel_set(self.mask_t, self.mask_p)
        n = len(self.pixels)
        a = rng.standard_normal((n, n))
        self.noise = a @ a.T / n + np.diag(rng.uniform(1, 3, n))
        self.stokes = StokesMap(*(20 * rng.standard_normal((3, 12 * NSIDE**2))), coord="G")
        self.data = data_vector(self.stokes, self.pixels)
        self.dl = all_spectra(TOP)
        self.ranges = {k: r for k, r in RANGES.items() if set(k) <= set(self.pixels.fields)}

    def likelihood(self, **kwargs: object) -> PixelLikelihood:
        given = {"noise": dense_noise(self.noise), "marginalise_dipole": False} | kwargs
        return pixel_likelihood(
            info(pairs=tuple(self.ranges), lmax=LMAX),
            self.stokes, self.mask_t, self.mask_p,
            ranges=self.ranges, fiducial=self.dl, lmax=TOP, beam=BEAM,
            **given,  # type: ignore[arg-type]
        )  # fmt: skip

    def covariance(self, factor: float = 1.0) -> np.ndarray:
        scaled = {k: np.where(np.arange(TOP + 1) <= LMAX, factor * v, v) for k, v in self.dl.items()}
        cl = {
            k: v * BEAM.teb["teb".index(k[0])] * BEAM.teb["teb".index(k[1])] for k, v in to_cl(scaled).items()
        }
        return oracle.covariance(NSIDE, self.pixels.t, self.pixels.p, cl, 2, TOP) + self.noise


@pytest.mark.parametrize(("t", "p"), [(True, False), (False, True), (True, True)])
def test_log_prob_against_scipy(rng: np.random.Generator, t: bool, p: bool) -> None:
    case = Case(rng, t, p)
    factors = np.array([1.0, 0.3, 2.5])
    got = case.likelihood().log_prob(batch(case.dl, factors), {}).numpy()
    want = [multivariate_normal.logpdf(case.data, cov=case.covariance(f)) for f in factors]
    # ln L of about -1000: 1e-7 is 1e-10 of it, the floor under the spectra and rounding
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-7)


def test_inverse_and_white_noise(rng: np.random.Generator) -> None:
    case = Case(rng)
    model = batch(case.dl)
    dense = case.likelihood().log_prob(model, {})
    inverse = case.likelihood(noise=inverse_noise(np.linalg.inv(case.noise))).log_prob(model, {})
    torch.testing.assert_close(dense, inverse, rtol=0, atol=1e-7)
    hits = rng.uniform(1, 5, len(case.pixels))
    case.noise = np.diag(9.0 / hits)
    white = case.likelihood(noise=white_noise(3.0, hits)).log_prob(model, {}).item()
    assert white == pytest.approx(multivariate_normal.logpdf(case.data, cov=case.covariance()), abs=1e-7)


def test_inverse_noise_without_fixed_multipoles(rng: np.random.Generator) -> None:
    """The path on which the inverse is never inverted: nothing but noise besides the varied modes."""
    case = Case(rng, t=False)
    modes, ell = mode_matrix(case.pixels, 2, LMAX), mode_ell(2, LMAX)
    like = PixelLikelihood(
        info(pairs=tuple(case.ranges)),
        summarise(case.data, modes, ell, "eb", inverse_noise(np.linalg.inv(case.noise))),
        case.ranges,
    )
    want = oracle.covariance(NSIDE, case.pixels.t, case.pixels.p, to_cl(case.dl), 2, LMAX) + case.noise
    got = like.log_prob(batch(case.dl), {}).item()
    assert got == pytest.approx(multivariate_normal.logpdf(case.data, cov=want), abs=1e-7)


def test_marginalisation_is_the_density_of_projected_data(rng: np.random.Generator) -> None:
    """Infinite prior variance leaves the density of the data on the complement of the templates."""
    case = Case(rng)
    template = StokesMap(*rng.standard_normal((3, 12 * NSIDE**2)), coord="G")
    like = case.likelihood(templates=[template], marginalise_dipole=True)
    columns = np.column_stack([data_vector(template, case.pixels), monopole_dipole(case.pixels)])
    full, _ = np.linalg.qr(columns, mode="complete")
    rest = full[:, 5:]
    for factor in (0.5, 1.5):
        want = multivariate_normal.logpdf(rest.T @ case.data, cov=rest.T @ case.covariance(factor) @ rest)
        assert like.log_prob(batch(case.dl, factor), {}).item() == pytest.approx(want, abs=1e-6)
    # a template a million times the data, and a monopole and dipole of a kelvin, change nothing but rounding
    x, y, z = healpy.pix2vec(NSIDE, np.arange(192))
    dirty = case.stokes.i + 1e6 * (1 + 0.3 * x - 0.5 * y + z)
    i, q, u = (a + 1e3 * b for a, b in zip((dirty, case.stokes.q, case.stokes.u), template.iqu, strict=True))
    case.stokes = StokesMap(i, q, u, coord="G")
    again = case.likelihood(templates=[template], marginalise_dipole=True)
    a, b = (x.log_prob(batch(case.dl), {}).item() for x in (like, again))
    assert b == pytest.approx(a, abs=1e-3)


def test_a_large_prior_variance_tends_to_the_limit(rng: np.random.Generator) -> None:
    """N + s^2 T T^T: differences of ln L between models tend to the exact limit as 1 / s^2."""
    case = Case(rng, p=False)
    limit = case.likelihood(marginalise_dipole=True).log_prob(batch(case.dl, [1.0, 2.0]), {})
    t = monopole_dipole(case.pixels)
    error = []
    for s in (1e2, 1e3):
        like = case.likelihood(noise=dense_noise(case.noise + s**2 * t @ t.T))
        got = like.log_prob(batch(case.dl, [1.0, 2.0]), {})
        error.append(abs(float((got[1] - got[0]) - (limit[1] - limit[0]))))
    assert error[1] < 1e-3
    assert error[1] < 0.03 * error[0]


def test_batches_chunks_and_singles_agree(rng: np.random.Generator) -> None:
    case = Case(rng)
    factors = rng.uniform(0.5, 2, 7)
    like = case.likelihood()
    small = PixelLikelihood(like.info, like.summary, case.ranges, case.dl, max_bytes=1)
    assert like.chunk > small.chunk == 1
    whole = like.log_prob(batch(case.dl, factors), {})
    torch.testing.assert_close(small.log_prob(batch(case.dl, factors), {}), whole, rtol=0, atol=1e-9)
    singles = torch.cat([like.log_prob(batch(case.dl, f), {}) for f in factors])
    torch.testing.assert_close(singles, whole, rtol=0, atol=1e-9)
    empty = {k: torch.zeros(0, TOP + 1, dtype=torch.float64) for k in case.dl}
    assert like.log_prob(dataclasses.replace(batch(case.dl), dl=empty), {}).shape == (0,)


@pytest.mark.parametrize("form", ["whole", "chunks", "compressed"])
def test_gradient_against_finite_differences(rng: np.random.Generator, form: str) -> None:
    case = Case(rng)
    like: PixelLikelihood | CompressedPixelLikelihood = case.likelihood()
    if form == "chunks":
        like = PixelLikelihood(like.info, like.summary, case.ranges, case.dl, max_bytes=1)
    if form == "compressed":
        like = CompressedPixelLikelihood(case.likelihood(), batch(case.dl))
    model = batch(case.dl, [1.0, 1.3])
    for x in model.dl.values():
        x.requires_grad_(True)
    like.log_prob(model, {}).sum().backward()
    with torch.no_grad():
        for pair, ell in (("tt", 2), ("te", 3), ("ee", 5), ("bb", LMAX), ("tb", 4), ("eb", 2)):
            step = 1e-3 * model.dl["bb"][0, ell].item()
            ends = []
            for sign in (1, -1):
                dl = {k: x.detach().clone() for k, x in model.dl.items()}
                dl[pair][1, ell] += sign * step
                ends.append(like.log_prob(type(model)(dl), {})[1].item())
            slope = (ends[0] - ends[1]) / (2 * step)
            # central difference: step^2 f''' / 6 ~ 1e-6, rounding 1e-10 / step
            assert model.dl[pair].grad[1, ell].item() == pytest.approx(slope, rel=1e-4, abs=1e-6)


def test_second_derivative(rng: np.random.Generator) -> None:
    """Hessians, for Laplace approximations: autograd twice against differences of the gradient."""
    case = Case(rng, p=False)
    like = case.likelihood()
    base = torch.from_numpy(case.dl["tt"])

    def slope(x: float) -> tuple[torch.Tensor, torch.Tensor]:
        amplitude = torch.tensor(x, dtype=torch.float64, requires_grad=True)
        value = like.log_prob(type(batch(case.dl))({"tt": amplitude * base[None]}), {}).sum()
        return amplitude, torch.autograd.grad(value, amplitude, create_graph=True)[0]

    amplitude, first = slope(1.2)
    second = torch.autograd.grad(first, amplitude)[0].item()
    difference = (slope(1.2 + 1e-5)[1] - slope(1.2 - 1e-5)[1]).item() / 2e-5
    assert second == pytest.approx(difference, rel=1e-5)


def test_zero_power_has_a_value_and_a_gradient(rng: np.random.Generator) -> None:
    """BB = 0 is a usual model: the value is scipy's and d ln L / d BB is the one-sided difference."""
    case = Case(rng, t=False)
    case.dl = {"ee": case.dl["ee"], "bb": 0 * case.dl["bb"]}
    case.ranges = {k: case.ranges[k] for k in ("ee", "bb")}
    like = case.likelihood()
    model = batch(case.dl)
    model.dl["bb"].requires_grad_(True)
    value = like.log_prob(model, {})
    assert value.item() == pytest.approx(
        multivariate_normal.logpdf(case.data, cov=case.covariance()), abs=1e-6
    )
    value.sum().backward()
    moved = model.dl["bb"].detach().clone()
    moved[0, 4] += 1e-4
    slope = (like.log_prob(type(model)({"ee": model.dl["ee"], "bb": moved}), {}) - value).item() / 1e-4
    assert model.dl["bb"].grad[0, 4].item() == pytest.approx(slope, rel=1e-3)


def test_impossible_spectra_have_probability_zero(rng: np.random.Generator) -> None:
    case = Case(rng)
    like = case.likelihood()
    good = batch(case.dl, np.ones(4))
    dl = {k: x.clone() for k, x in good.dl.items()}
    dl["tt"][1, 5] = -1.0
    dl["te"][2, 3] = 2 * torch.sqrt(dl["tt"][2, 3] * dl["ee"][2, 3])
    dl["bb"][3, 2] = torch.nan
    for x in dl.values():
        x.requires_grad_(True)
    compressed = CompressedPixelLikelihood(like, batch(case.dl))
    for form in (like, compressed):
        value = form.log_prob(type(good)(dl), {})
        assert torch.isneginf(value).tolist() == [False, True, True, True]
    value[0].backward()
    assert torch.isfinite(dl["tt"].grad[0]).all()


def test_compression_keeps_ln_l(rng: np.random.Generator) -> None:
    case = Case(rng)
    like = case.likelihood(marginalise_dipole=True)
    models = batch(case.dl, [1.0, 0.4, 3.0])
    full = like.log_prob(models, {})
    exact = CompressedPixelLikelihood(like, batch(case.dl), threshold=0.0)
    # 231 modes, but fewer pixels than that see them
    assert exact.n_modes < like.summary.n_modes
    torch.testing.assert_close(exact.log_prob(models, {}), full, rtol=0, atol=1e-6)
    coarse = CompressedPixelLikelihood(like, batch(case.dl), threshold=0.03)
    assert coarse.n_modes < exact.n_modes
    assert coarse.dropped > 0
    # first order in s, at models of up to 3 times the fiducial power
    error = (coarse.log_prob(models, {}) - full).abs()
    assert (error < torch.tensor([1.0, 0.4, 3.0]) * coarse.dropped).all()
    assert error.max() > 1e-3
    with pytest.raises(LikelihoodError, match="no mode has signal to noise"):
        CompressedPixelLikelihood(like, batch(case.dl), threshold=1e9)
    with pytest.raises(LikelihoodError, match="raise the threshold"):
        CompressedPixelLikelihood(like, batch(case.dl), max_bytes=1000)


def test_regularisation_noise_is_added_to_both(rng: np.random.Generator) -> None:
    noise = white_noise(1.0, np.full(600, 4.0))
    values, more = regularise(np.zeros(600), noise, 2.0, rng)
    assert values.std() == pytest.approx(2.0, rel=0.15)  # 5 sigma of 600 draws
    np.testing.assert_allclose(np.diag(more.dense()), 4.25)
    with pytest.raises(LikelihoodError, match="above zero"):
        regularise(values, noise, 0.0, rng)


def test_posterior_refuses_the_same_sky_twice(rng: np.random.Generator, likelihoods, emulator) -> None:
    case = Case(rng, p=False)
    like = case.likelihood()
    like.info = dataclasses.replace(like.info, sky={"planck": {"tt": (2, LMAX)}})
    with pytest.raises(LikelihoodError, match="count the same planck TT multipoles 2-8"):
        Posterior(emulator, [like, likelihoods["bins"]], {})


def test_bad_input(rng: np.random.Generator) -> None:
    case = Case(rng)
    like = case.likelihood()
    with pytest.raises(SpectrumError, match="needed but not given: bb"):
        like.log_prob(batch({k: v for k, v in case.dl.items() if k != "bb"}), {})
    with pytest.raises(SpectrumError, match="must reach l = 8"):
        like.log_prob(batch({k: v[:8] for k, v in case.dl.items()}), {})
    with pytest.raises(LikelihoodError, match="noise covariance: not positive definite"):
        dense_noise(np.diag([1.0, -1.0]))
    with pytest.raises(LikelihoodError, match="not symmetric"):
        dense_noise(np.array([[1.0, 0.5], [0.0, 1.0]]))
    with pytest.raises(LikelihoodError, match="inverse noise covariance: not positive definite"):
        inverse_noise(np.zeros((3, 3)))
    with pytest.raises(LikelihoodError, match="hits above zero"):
        white_noise(1.0, np.array([1.0, 0.0]))
    with pytest.raises(LikelihoodError, match="noise of 3 pixels"):
        case.likelihood(noise=white_noise(1.0, np.ones(3)))
    with pytest.raises(LikelihoodError, match="templates are not independent"):
        case.likelihood(templates=[case.stokes, case.stokes])
    zero = StokesMap(*np.zeros((3, 192)), coord="G")
    with pytest.raises(LikelihoodError, match="template 0 is zero in every used pixel"):
        case.likelihood(templates=[zero])
    with pytest.raises(MapError, match="no sky is left"):
        Mask(np.zeros(192), coord="G")
    fine = StokesMap(*np.zeros((3, 768)), coord="G")
    with pytest.raises(LikelihoodError, match="nside 8, the masks 4"):
        data_vector(fine, case.pixels)
    with pytest.raises(LikelihoodError, match="the masks differ"):
        pixel_set(case.mask_t, Mask(np.ones(768), coord="G"))
    holed = case.stokes.i.copy()
    holed[case.pixels.t[0]] = np.nan
    case.stokes = dataclasses.replace(case.stokes, i=holed)
    with pytest.raises(MapError, match="pixels with NaN or UNSEEN"):
        case.likelihood()


def test_bad_ranges(rng: np.random.Generator) -> None:
    case = Case(rng, p=False)
    summary = case.likelihood().summary
    for ranges, fiducial, message in (
        ({}, None, "no spectrum is varied"),
        ({"ee": (2, 8)}, None, "the maps have the spectra tt, not ee"),
        ({"tt": (2, 9)}, None, "tt at l = 2-9, but the maps' modes are l = 2-8"),
        ({"tt": (2, 5)}, None, "tt is needed at l = 6-8: vary it there or give a fiducial"),
        ({"tt": (2, 5)}, {"tt": np.ones(7)}, "fiducial tt stops at l = 6"),
    ):
        with pytest.raises(LikelihoodError, match=message):
            PixelLikelihood(info(), summary, ranges, fiducial)
    part = PixelLikelihood(info(), summary, {"tt": (2, 5)}, case.dl)
    whole = PixelLikelihood(info(), summary, {"tt": (2, 8)})
    model = batch(case.dl)
    torch.testing.assert_close(part.log_prob(model, {}), whole.log_prob(model, {}), rtol=0, atol=1e-10)
    case.dl = {"tt": case.dl["tt"][:12]}
    with pytest.raises(LikelihoodError, match="fiducial tt stops at l = 11, 12 is needed"):
        case.likelihood()
