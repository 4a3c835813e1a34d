"""Hamimeche-Lewis against the exact Wishart likelihood of the full sky (scipy)."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from mpmath import mp, mpf

from cmbfit.errors import LikelihoodError, SpectrumError
from cmbfit.likelihood.hamimeche_lewis import HamimecheLewis, canonical_pair, g
from cmbfit.theory.spectra import Spectra
from tests.likelihood.helpers import info

LMIN, LMAX = 2, 6


def positive(rng: np.random.Generator, bins: int, n: int) -> np.ndarray:
    a = rng.standard_normal((bins, n, n))
    return a @ a.transpose(0, 2, 1) + n * np.eye(n)


def full_sky_covariance(fiducial: np.ndarray) -> np.ndarray:
    """(C_ik C_jl + C_il C_jk) / (2 l + 1) for every l."""
    bins, n, _ = fiducial.shape
    i, j = np.triu_indices(n)
    size = len(i)
    out = np.zeros((bins * size, bins * size))
    for b, c in enumerate(fiducial):
        block = c[np.ix_(i, i)] * c[np.ix_(j, j)] + c[np.ix_(i, j)] * c[np.ix_(j, i)]
        out[b * size : (b + 1) * size, b * size : (b + 1) * size] = block / (2 * (LMIN + b) + 1)
    return out


def one_window_per_multipole(elements: int) -> np.ndarray:
    eye = np.eye(LMAX + 1)[LMIN:]
    return np.tile(eye, (elements, 1, 1))


class Case:
    """Full-sky matrices of fields at l = 2-6; model D_l are the matrices themselves."""

    def __init__(self, rng: np.random.Generator, fields: str, batch: int = 6, noise: float = 0.5) -> None:
        n, bins = len(fields), LMAX + 1 - LMIN
        self.n, self.fields, self.batch = n, fields, batch
        self.offset = np.tile(noise * np.eye(n), (bins, 1, 1))
        self.fiducial = positive(rng, bins, n)
        self.data = np.array(
            [
                scipy.stats.wishart(2 * (LMIN + b) + 1 + n, c / (2 * (LMIN + b) + 1)).rvs(random_state=rng).reshape(n, n)
                for b, c in enumerate(self.fiducial)
            ]
        )  # fmt: skip
        self.models = positive(rng, batch * bins, n).reshape(batch, bins, n, n)
        elements = n * (n + 1) // 2
        covariance = full_sky_covariance(self.fiducial + self.offset)
        self.like = HamimecheLewis(
            info(),
            fields,
            one_window_per_multipole(elements),
            self.data,
            self.fiducial,
            self.offset,
            covariance,
        )
        self.covariance = covariance

    def spectra(self, models: np.ndarray) -> Spectra:
        i, j = np.triu_indices(self.n)
        dl = {}
        for a, b in zip(i, j, strict=True):
            values = np.zeros((len(models), LMAX + 1))
            values[:, LMIN:] = models[:, :, a, b]
            dl[canonical_pair(self.fields[a], self.fields[b])] = torch.from_numpy(values)
        return Spectra(dl)

    def log_prob(self, models: np.ndarray) -> np.ndarray:
        return self.like.log_prob(self.spectra(models), {}).numpy()

    def exact(self, models: np.ndarray) -> np.ndarray:
        """Wishart density of the data, as a function of the model, up to its value at model = data."""
        out = np.zeros(len(models))
        for b in range(self.data.shape[0]):
            ell = LMIN + b
            nu = 2 * ell + 1
            data = self.data[b] + self.offset[b]

            def density(c: np.ndarray, nu: int = nu, data: np.ndarray = data) -> float:
                sign_c, log_c = np.linalg.slogdet(c)
                assert sign_c > 0
                return -0.5 * nu * (np.trace(data @ np.linalg.inv(c)) + log_c)

            out += [density(m[b] + self.offset[b]) - density(data) for m in models]
        return out


@pytest.mark.parametrize("fields", ["b", "te", "eb", "teb"])
def test_equals_the_exact_likelihood_on_the_full_sky(rng, fields) -> None:
    case = Case(rng, fields)
    np.testing.assert_allclose(case.log_prob(case.models), case.exact(case.models), rtol=1e-9)


@pytest.mark.parametrize("n", [1, 2])
def test_scipy_wishart_differences(rng, n) -> None:
    """scipy's own density: differences of ln L between models, free of every convention of ours."""
    case = Case(rng, "te"[:n], noise=0.0)
    mine = case.log_prob(case.models)
    theirs = np.zeros(case.batch)
    for k, m in enumerate(case.models):
        for b in range(m.shape[0]):
            nu = 2 * (LMIN + b) + 1
            theirs[k] += scipy.stats.wishart(nu, m[b] / nu).logpdf(case.data[b])
    np.testing.assert_allclose(np.diff(mine), np.diff(theirs), rtol=1e-9)


def test_is_zero_and_greatest_where_model_equals_data(rng) -> None:
    case = Case(rng, "te")
    assert case.log_prob(case.data[None])[0] == pytest.approx(0, abs=1e-12)
    assert (case.log_prob(case.models) < -1).all()


def test_at_the_fiducial_it_is_the_gaussian_for_small_deviations(rng) -> None:
    """Second order: (C^ - C_f) M^-1 (C^ - C_f), with an error of the third."""
    base = Case(rng, "te")
    i, j = np.triu_indices(2)
    shift = rng.standard_normal(base.data.shape)
    shift += shift.transpose(0, 2, 1)
    errors = []
    for size in (1e-3, 1e-4):
        data = base.fiducial + size * shift
        like = HamimecheLewis(
            info(), "te", one_window_per_multipole(3), data, base.fiducial, base.offset, base.covariance
        )
        found = like.log_prob(base.spectra(base.fiducial[None]), {}).item()
        delta = (size * shift)[:, i, j].ravel()
        gauss = -0.5 * delta @ np.linalg.solve(base.covariance, delta)
        errors.append(abs(found / gauss - 1))
    assert errors[0] < 1e-2
    assert errors[1] < 0.2 * errors[0]


def test_gradients(rng) -> None:
    """Also at the data themselves, where all eigenvalues are equal and eigenvectors have no derivative."""
    case = Case(rng, "te", batch=2)
    pairs = ("tt", "te", "ee")

    def log_prob(*x: torch.Tensor) -> torch.Tensor:
        return case.like.log_prob(Spectra(dict(zip(pairs, x, strict=True))), {})

    for models in (case.models, case.fiducial[None].repeat(2, 0), case.data[None] + 1e-7):
        inputs = [case.spectra(models).dl[p].requires_grad_() for p in pairs]
        assert torch.autograd.gradcheck(log_prob, inputs, eps=1e-6, atol=1e-5, rtol=1e-5)
    at_data = [case.spectra(case.data[None]).dl[p].requires_grad_() for p in pairs]
    log_prob(*at_data).sum().backward()
    assert max(float(x.grad.abs().max()) for x in at_data) < 1e-9  # type: ignore[union-attr]


def test_g() -> None:
    """Smooth through the switch to the series; limits of its definition."""
    x = torch.tensor(
        [0.2, 1 - 1.0001e-3, 1 - 0.9999e-3, 1, 1 + 0.9999e-3, 1 + 1.0001e-3, 5], dtype=torch.float64
    )
    # arbitrary precision, as an outside truth
    mp.dps = 40
    wanted = [float(mp.sign(mpf(v) - 1) * mp.sqrt(2 * (mpf(v) - mp.log(mpf(v)) - 1))) for v in x.tolist()]
    np.testing.assert_allclose(g(x).numpy(), wanted, rtol=1e-11)


def test_rows_of_a_batch_do_not_touch_each_other_and_bad_models_are_impossible(rng) -> None:
    case = Case(rng, "te")
    whole = case.log_prob(case.models)
    np.testing.assert_allclose([case.log_prob(m[None])[0] for m in case.models], whole, rtol=1e-12)
    broken = case.models.copy()
    broken[2, 1] = [[1.0, 9.0], [9.0, 1.0]]
    spectra = case.spectra(broken)
    for x in spectra.dl.values():
        x.requires_grad_()
    found = case.like.log_prob(spectra, {})
    assert found[2] == -torch.inf
    np.testing.assert_allclose(found.detach().numpy()[[0, 1, 3, 4, 5]], whole[[0, 1, 3, 4, 5]], rtol=1e-12)
    found[torch.isfinite(found)].sum().backward()
    assert all(torch.isfinite(x.grad).all() for x in spectra.dl.values())  # type: ignore[arg-type]


def test_channels_share_one_theory_and_null_pairs_need_none(rng) -> None:
    """Two B channels read one bb; with eb declared null only ee and bb are asked for."""
    bins = LMAX + 1 - LMIN
    offset = np.tile(np.array([[1.0, 0], [0, 2]]), (bins, 1, 1))
    fiducial = np.ones((bins, 2, 2))
    covariance = full_sky_covariance(fiducial + offset)
    windows = one_window_per_multipole(3)
    like = HamimecheLewis(info(), "bb", windows, fiducial, fiducial, offset, covariance)
    assert like.pairs == ("bb",)
    dl = torch.zeros(1, LMAX + 1, dtype=torch.float64)
    dl[:, LMIN:] = 1.0
    assert like.log_prob(Spectra({"bb": dl}), {}).item() == pytest.approx(0, abs=1e-12)
    data = fiducial * np.eye(2)
    null = HamimecheLewis(info(), "eb", windows, data, data, offset, covariance, null=("eb",))
    assert null.pairs == ("ee", "bb")
    assert null.log_prob(Spectra({"ee": dl, "bb": dl}), {}).item() == pytest.approx(0, abs=1e-12)
    assert null.to("cpu").settings()["fields"] == ("e", "b")
    with pytest.raises(SpectrumError, match="bb"):
        null.log_prob(Spectra({"ee": dl}), {})


def test_refusals(rng) -> None:
    case = Case(rng, "te")
    parts = {
        "fields": "te",
        "windows": one_window_per_multipole(3),
        "data": case.data,
        "fiducial": case.fiducial,
        "offset": case.offset,
        "covariance": case.covariance,
    }
    skew, hole = case.data.copy(), case.data.copy()
    skew[0, 0, 1] += 1
    hole[0, 0, 0] = np.nan
    for change, message in (
        ({"fields": "tx"}, "expected letters"),
        ({"windows": one_window_per_multipole(2)}, "do not fit"),
        ({"data": skew}, "symmetric"),
        ({"data": hole}, "finite numbers"),
        ({"data": -case.data}, "raise the offset"),
        ({"fiducial": -case.fiducial}, "fiducial plus offset"),
        ({"covariance": -case.covariance}, "not positive definite"),
        ({"covariance": np.full_like(case.covariance, np.inf)}, "non-finite"),
    ):
        with pytest.raises(LikelihoodError, match=message):
            HamimecheLewis(info(), **(parts | change))  # type: ignore[arg-type]
