"""A few points in numpy are what torch computes, for every folded posterior: values, gradients, and reasons of zeros."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from cmbfit.inference.restrict import restrict
from cmbfit.likelihood import Posterior, Uniform, load_likelihood
from cmbfit.likelihood import few_points as module
from cmbfit.likelihood.compiled import compile_posterior
from cmbfit.likelihood.few_points import MOST, few_points
from cmbfit.likelihood.priors import Gaussian, Prior
from cmbfit.theory.emulator.bundle import load_emulator
from tests.likelihood.test_compiled import bandpowers

SETS: Mapping[str, tuple[str, Sequence[str]]] = {
    "planck": (
        "lcdm_planck2018",
        ["planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "planck2018_lowl_ee"],
    ),
    "planck with tau": ("lcdm_planck2018", ["planck2018_plik_lite_tt", "tau_lowe"]),
    "distances": ("lcdm_planck2018", ["desi_dr2", "sixdf_bao"]),
    "planck with distances": (
        "lcdm_planck2018",
        ["planck2018_plik_lite_tt", "tau_lowe", "desi_dr2", "union3"],
    ),
    "all spectra from l = 2": ("lcdm_planck2018", []),
    "act lite": ("lcdm_high", ["act_dr4_cmb_only"]),
    "spt lite": ("lcdm_high", ["spt3g_2018_lite"]),
    "act and spt": ("lcdm_high", ["act_dr4_cmb_only", "spt3g_2018_lite", "tau_lowe"]),
}


@functools.cache
def folded(name: str) -> Posterior:
    bundle, sets = SETS[name]
    emulator = load_emulator(bundle)
    priors = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    if not sets:
        # powers -2, 1 and 2 of two calibrations; of low-l EE exponentials
        made = bandpowers(np.random.default_rng(2), ("tt", "te", "ee", "pp", "bb"), 2)
        return compile_posterior(Posterior(emulator, [made], priors))
    return compile_posterior(Posterior(emulator, [load_likelihood(x) for x in sets], priors))


def points(posterior: Posterior, n: int, seed: int = 1) -> torch.Tensor:
    """The middle half of the box, in which low-l tables and windows see all of their range."""
    rng = np.random.default_rng(seed)
    columns = []
    for name in posterior.parameters:
        prior: Prior = posterior.priors[name]
        if isinstance(prior, Gaussian):
            columns.append(rng.normal(prior.mean, prior.std, n))
        else:
            low, high = posterior.support[name]
            columns.append(rng.uniform(0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high, n))
    return torch.from_numpy(np.stack(columns, 1))


def both(
    posterior: Posterior, theta: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """ln P, ln P again and its gradient: in numpy, then in torch."""
    out = []
    for most in (MOST, 0):
        monkeypatch.setattr(module, "MOST", most)
        with torch.no_grad():
            value = posterior.log_prob(theta)
        out.append((value, *posterior.log_prob_and_gradient(theta)))
    return out


@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize(
    "name", [*list(SETS)[:3], *(pytest.param(name, marks=pytest.mark.slow) for name in list(SETS)[3:])]
)
def test_numpy_computes_what_torch_does(name: str, batch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """1e-12 of ln L, and 1e-11 of the largest slope: rounding of sums of hundreds of terms in another order."""
    posterior = folded(name)
    assert few_points(posterior) is not None
    for theta in points(posterior, 40).split(batch)[:4]:
        ours, torchs = both(posterior, theta, monkeypatch)
        assert torch.isfinite(torchs[0]).any() or batch == 1
        for a, b in zip(ours[:2], torchs[:2], strict=True):
            torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        largest = float(torchs[2].abs().max(0).values.clamp(min=1e-300).max())
        torch.testing.assert_close(ours[2], torchs[2], rtol=1e-9, atol=1e-11 * largest)


def test_a_gradient_is_that_of_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Central differences of numpy's own values, at steps of 1e-4 of the box: no kink of the table is that close."""
    posterior = folded("planck with tau")
    theta = points(posterior, 1, seed=3)
    _, gradient = posterior.log_prob_and_gradient(theta)
    for i, name in enumerate(posterior.parameters):
        low, high = posterior.support[name]
        step = torch.zeros_like(theta)
        step[0, i] = 1e-5 * (high - low if math.isfinite(high - low) else 0.01)
        change = posterior.log_prob(theta + step) - posterior.log_prob(theta - step)
        assert float(change / (2 * step[0, i])) == pytest.approx(float(gradient[0, i]), rel=1e-4, abs=1e-2)


def test_points_outside_are_counted_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a prior, beyond the low-l table, NaN, infinite and zero calibrations; a row alone and among others."""
    posterior = folded("planck")
    theta = points(posterior, 12)
    theta[1, 0], theta[2, 6], theta[3, 5], theta[4, 6], theta[5, 6] = 0.5, 0.0, math.nan, math.inf, -1.0
    theta[6, 3], theta[7, 4] = 0.15, 3.4  # tau and logA at their walls: EE may leave the table
    for rows in (theta, *theta.split(1)):
        counts = []
        for most in (MOST, 0):
            monkeypatch.setattr(module, "MOST", most)
            counts.append(posterior.evaluate(rows).counts)
        assert counts[0] == counts[1]
        ours, torchs = both(posterior, rows, monkeypatch)
        torch.testing.assert_close(ours[0], torchs[0], rtol=1e-12, atol=0)
        zero = torch.isneginf(torchs[0])
        assert (ours[2][zero] == 0).all()
    assert not torch.isnan(posterior.log_prob(theta)).any()


def test_a_smaller_model_and_autograd_go_on_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = folded("planck")
    held = restrict(whole, {"ns": 0.96, "A_planck": 1.001})
    theta = points(held, 8)
    ours, torchs = both(held, theta, monkeypatch)
    torch.testing.assert_close(ours[0], torchs[0], rtol=1e-12, atol=0)
    torch.testing.assert_close(ours[2], torchs[2], rtol=1e-9, atol=1e-6)
    free = theta.clone().requires_grad_()
    (slope,) = torch.autograd.grad(held.log_prob(free).sum(), free)
    torch.testing.assert_close(slope, torchs[2], rtol=1e-9, atol=1e-6)


def test_what_is_not_folded_has_no_such_path() -> None:
    emulator = load_emulator("lcdm_planck2018")
    priors = {p: Uniform(*emulator.box[p]) for p in emulator.parameters}
    plain = Posterior(emulator, [load_likelihood("planck2018_plik_lite_tt")], priors)
    assert few_points(plain) is None
    assert torch.isfinite(plain.log_prob(points(plain, 2))).all()
