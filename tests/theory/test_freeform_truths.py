"""Free-form P(k) against outside truth: CAMB with the same kinks, mock skies with and without features, ranks. Slow."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from cmbfit.inference.freeform import Member, average
from cmbfit.inference.restrict import restrict
from cmbfit.inference.tempered import TemperedSettings, run_tempered
from cmbfit.inference.tempering import equal_weight
from cmbfit.likelihood import Posterior
from cmbfit.theory.camb_code import PRESETS
from cmbfit.theory.emulator.bundle import load_emulator
from cmbfit.theory.primordial import get_model
from cmbfit.theory.primordial.knots import RANGE, unordered
from cmbfit.theory.primordial_exact import compute_primordial
from cmbfit.theory.primordial_theory import PrimordialTheory
from cmbfit.theory.transfer.expansion import TransferExpansion
from tests.inference.known_evidence import Known
from tests.theory.test_primordial_truths import (
    F_SKY,
    LMAX,
    cosmic_sigma,
    mock,
    posterior_of,
    real_expansion,
)

pytestmark = pytest.mark.slow
log = logging.getLogger(__name__)


@pytest.fixture(scope="module")
def expansion() -> TransferExpansion:
    return real_expansion()


BACKGROUND = {"ombh2": 0.0224, "omch2": 0.1201, "theta_mc": 1.0409, "tau": 0.0544}
SPAN = float(np.log(RANGE[1] / RANGE[0]))


def theory_of(n: int, expansion: TransferExpansion) -> PrimordialTheory:
    return PrimordialTheory(load_emulator("lcdm_planck2018"), get_model(f"knots_{n}"), expansion)


def point(theory: PrimordialTheory, k: list[float], log_p: list[float]) -> torch.Tensor:
    """A spectrum with knots at k [1/Mpc] between the ends, in Planck's cosmology."""
    t = torch.log(torch.tensor([k], dtype=torch.float64) / RANGE[0]) / SPAN
    values = BACKGROUND | {
        f"d{i}": y - tilted(x)
        for i, (x, y) in enumerate(zip([RANGE[0], *k, RANGE[1]], log_p, strict=True), 1)
    }
    values |= {f"u{i}": u for i, u in enumerate(unordered(t)[0].tolist(), 2)}
    return torch.tensor([[values[p] for p in theory.parameters]], dtype=torch.float64)


def tilted(k: float) -> float:
    return 3.044 - 0.0351 * float(np.log(k / 0.05))


def spectra(theory: PrimordialTheory, theta: torch.Tensor) -> dict[str, np.ndarray]:
    with torch.no_grad():
        dl = theory.spectra(theta).dl
    return {p: dl[p][0, : LMAX + 1].numpy() for p in ("tt", "te", "ee")}


BUMP = (
    [0.008, 0.015, 0.028],
    [tilted(RANGE[0]), tilted(0.008), tilted(0.015) + 0.1, tilted(0.028), tilted(RANGE[1])],
)
"""Ten percent at k = 0.015/Mpc, the second peak's side of l = 210."""


def test_spectra_with_kinks_are_those_of_camb(expansion: TransferExpansion) -> None:
    """The same marks as for smooth features: a fifth of a cosmic-variance sigma at each l, one in the root sum."""
    theory = theory_of(5, expansion)
    theta = point(theory, *BUMP)
    exact = compute_primordial(theory, theta.numpy(), PRESETS["planck2018"], log=lambda _: None)
    got, wanted = (
        spectra(theory, theta),
        dict(zip(("tt", "te", "ee"), exact.dl[0, :3, : LMAX + 1], strict=True)),
    )
    sigma = cosmic_sigma(wanted)
    for pair in ("tt", "te", "ee"):
        error = (got[pair][2:] - wanted[pair][2:]) / sigma[pair][2:]
        log.info("%s: largest %.3f, root sum %.3f", pair, np.abs(error).max(), np.sqrt((error**2).sum()))
        assert np.abs(error).max() < 0.2, pair
        assert np.sqrt((error**2).sum()) < 1, pair


def held(theory: PrimordialTheory, dl: dict[str, np.ndarray], rng: np.random.Generator | None) -> Posterior:
    """Of the primordial parameters alone; the background is not what is tested."""
    whole = posterior_of(theory, mock(dl, rng), dict(theory.box))
    assert whole.not_folded is None
    return restrict(whole, BACKGROUND)


def fitted(n: int, expansion: TransferExpansion, dl: dict[str, np.ndarray], seed: int) -> Member:
    theory = theory_of(n, expansion)
    posterior = held(theory, dl, np.random.default_rng(seed))
    weighed = run_tempered(posterior, TemperedSettings(particles=400, moves=6, mixture=False), seed)
    own = weighed.points[equal_weight(weighed, np.random.default_rng(seed))]
    priors = {p: x.describe() for p, x in theory.model.priors.items()}
    evidence = {"log_z": weighed.log_z, "log_z_error": weighed.log_z_error, "method": "particles"}
    return Member(f"knots_{n}", f"{n} knots", n, theory.model, priors, own, evidence)


def test_a_power_law_is_recovered_and_needs_no_third_knot(expansion: TransferExpansion) -> None:
    """One knot is excluded, a third is not asked for (ln B below 1: idle knots hide beyond the data, so that it costs little, as in figure 20 of
    Planck 2018 X), and the average's 95% band holds the truth where data are.

    Bands are of single wavenumbers: of 200 correlated ones, one in 20 may lie outside by chance, more where one excursion is wide.
    """
    dl = spectra(theory_of(2, expansion), point(theory_of(2, expansion), [], [tilted(k) for k in RANGE]))
    found = average([fitted(n, expansion, dl, 5) for n in (1, 2, 3)], np.random.default_rng(0))
    ln_b = {m["knots"]: m["ln_b"] for m in found["models"]}
    log.info("ln B against two knots: %s", ln_b)
    assert ln_b[1] < -5
    assert ln_b[3] < 1
    k = np.array(found["k"])
    seen = (k > 1e-3) & (k < LMAX / 14_000)
    truth = 3.044 - 0.0351 * np.log(k / 0.05)
    low, high = (np.array(found["average"][q]) for q in ("q2.5", "q97.5"))
    assert ((truth > low) & (truth < high))[seen].mean() > 0.8


def test_an_injected_bump_is_recovered_and_needs_more_knots(expansion: TransferExpansion) -> None:
    """Ten percent at k = 0.015/Mpc: the evidence asks for five knots, and the band follows the bump."""
    theory = theory_of(5, expansion)
    theta = point(theory, *BUMP)
    dl = spectra(theory, theta)
    found = average([fitted(n, expansion, dl, 6) for n in (2, 3, 5)], np.random.default_rng(0))
    ln_b = {m["knots"]: m["ln_b"] for m in found["models"]}
    log.info("ln B against two knots: %s", ln_b)
    assert max(ln_b, key=lambda n: ln_b[n]) == 5
    assert ln_b[5] > 5
    k = np.array(found["k"])
    seen = (k > 2e-3) & (k < LMAX / 14_000)
    truth = torch.log(1e10 * theory.model.power(torch.from_numpy(k), theta[:, 4:]))[0].numpy()
    low, high = (np.array(found["average"][q]) for q in ("q2.5", "q97.5"))
    inside = ((truth > low) & (truth < high))[seen].mean()
    log.info("share of the truth inside the 95%% band: %.2f", inside)
    assert inside > 0.8
    at = np.abs(np.log(k / 0.015)).argmin()
    assert low[at] > tilted(0.015)  # the power law is outside at the bump


def test_ranks_are_uniform_over_skies(expansion: TransferExpansion) -> None:
    """Truths from the prior of three knots, ranks in their posteriors by tempering (Talts et al. 2018), on 100 simulated skies.

    Unlensed TT in bands to l = 650 of 60% of the sky, scattered by its sample variance, in Planck's cosmology: linear in P(k), the same
    matrix to simulate and to fit. Kolmogorov-Smirnov against uniform, 0.1% for each parameter and for P at two wavenumbers.
    """
    edges = np.unique(np.concatenate([np.arange(2, 30, 4), np.arange(30, LMAX + 2, 20)]))
    bands = list(itertools.pairwise(edges))
    rows = torch.zeros(len(bands), expansion.lmax + 1, dtype=torch.float64)
    for i, (low, high) in enumerate(bands):
        rows[i, low:high] = 1 / (high - low)
    matrix = expansion.pull_back({"tt": rows})[0].double()  # of the centre: shape (bands, n_k)
    part = torch.searchsorted(
        nodes := torch.logspace(-4.5, -0.5, 240, dtype=torch.float64), expansion.k
    ).clamp_max(239)
    response = torch.zeros(len(bands), 240, dtype=torch.float64).index_add_(1, part, matrix)
    model, n_modes = (
        get_model("knots_3"),
        torch.tensor([F_SKY * (2 * np.arange(a, b) + 1).sum() for a, b in bands]),
    )
    sigma = (model.power(nodes, model.defaults()) @ response.T)[0] * torch.sqrt(2 / n_modes)
    rng, low, high = np.random.default_rng(11), [-0.4, -0.4, -0.4, 0.0], [0.4, 0.4, 0.4, 1.0]
    settings = TemperedSettings(particles=240, moves=6, components=8, mixture=False)
    at = torch.tensor([2e-3, 2e-2], dtype=torch.float64)
    ranks = []
    for i in range(100):
        true = torch.from_numpy(rng.uniform(low, high))[None]
        sky = (model.power(nodes, true) @ response.T)[0] + sigma * torch.from_numpy(
            rng.standard_normal(len(bands))
        )

        def log_like(theta: np.ndarray, sky: torch.Tensor = sky) -> np.ndarray:
            inside = torch.from_numpy(theta.clip(low, high))
            residual = (model.power(nodes, inside) @ response.T - sky) / sigma
            return (-0.5 * residual.square().sum(1)).numpy()

        found = run_tempered(Known(low, high, log_like, 0.0), settings, i)  # type: ignore[arg-type]
        both = torch.cat([torch.from_numpy(found.points), true])
        table = torch.cat([both, model.power(at, both)], 1).numpy()
        ranks.append((table[:-1] < table[-1]).mean(0))
    for name, rank in zip((*model.parameter_names, "P(0.002)", "P(0.02)"), np.array(ranks).T, strict=True):
        p, inside = kstest(rank, "uniform").pvalue, ((rank > 0.16) & (rank < 0.84)).mean()
        log.info("%s: p %.3f, %.2f of the truths within 68%%", name, p, inside)
        assert p > 1e-3, name
