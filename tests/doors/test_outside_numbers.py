"""Each fit of the doors beside a number that is not cmbfit's own: another code's, a published one, numpy's, scipy's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

import cmbfit
from cmbfit import data
from cmbfit.likelihood import Posterior
from cmbfit.theory.spectra import Spectra
from tests.conftest import PLANCK_POINT

from .doors import Case, loglike
from .files import TOGETHER, candl_by_hand, product_by_hand, published

PLIK_LITE = "planck2018_plik_lite_ttteee"


def spectra_of(dl: Mapping[str, np.ndarray]) -> Spectra:
    return Spectra({pair: torch.from_numpy(x)[None] for pair, x in dl.items()})


def one(x: float) -> torch.Tensor:
    return torch.tensor([x], dtype=torch.float64)


def at_spectrum(
    case: Case, names: list[str], dl: Mapping[str, np.ndarray], nuisance: Mapping[str, float]
) -> list[float]:
    """Ln L of data sets at given spectra: as three doors' posteriors hold them, and by ``cmbfit loglike``."""
    values = {p: one(x) for p, x in nuisance.items()}
    out = []
    for posterior in case.posteriors:
        likes = {like.info.name: like for like in posterior.likelihoods}
        out.append(sum(likes[n].log_prob(spectra_of(dl), values).item() for n in names))
    ell = np.arange(2, len(dl["tt"]))
    columns = np.column_stack([ell, *(dl[p][2:] for p in ("tt", "te", "ee"))])
    np.savetxt("given.txt", columns, header="ell tt te ee", fmt="%.17g")
    words = [f"--nuisance={p}={x!r}" for p, x in nuisance.items()]
    return [*out, loglike(names, "--spectrum=given.txt", *words)["log_like"]]


def candls_test_spectrum(file: str) -> dict[str, np.ndarray]:
    """Columns ell tt te ee bb ... of candl's own tests, read by numpy."""
    table = np.loadtxt(data.fetch(f"candl_tests/{file}", progress=False))
    return {p: np.concatenate([[0.0, 0.0], table[:, i]]) for i, p in enumerate(("tt", "te", "ee"), start=1)}


def at_plancks_best_fit(case: Case, posterior: Posterior, **more: float) -> dict[str, float]:
    """Chi2 of Planck's data sets at the point of Cobaya's own tests."""
    emulator = cmbfit.load_emulator(case.emulator)
    row = cmbfit.point_from_values(emulator, PLANCK_POINT)[0].tolist()
    point = dict(zip(emulator.parameters, row, strict=True)) | {"A_planck": 1.00044, **more}
    theta = torch.tensor([[point[p] for p in posterior.parameters]], dtype=torch.float64)
    total = -2 * (posterior.log_like(theta)).item()
    return {n: -2 * x.item() for n, x in posterior.log_likelihoods(theta).items()} | {"total": total}


def planck(case: Case, **more: float) -> None:
    """Cobaya's test of its Planck likelihoods with CAMB: 584.23, 4.00 (588.23 - 584.23), 396.06; see tests/test_cobaya.py."""
    wanted = {
        PLIK_LITE: 584.23,
        "planck2018_lowl_tt_2bin": 4.00,
        "planck2018_lowl_ee": 396.06,
        "total": 984.29,
    }
    for posterior in case.posteriors:
        # CAMB there with lens_potential_accuracy 1; with 4, as the emulator was trained, chi2 is 0.16 less
        assert at_plancks_best_fit(case, posterior, **more) == pytest.approx(wanted, abs=0.2)


def planck2018(case: Case) -> None:
    planck(case)
    # planck-lite-py (Prince & Dunkley 2019) at its own test spectrum: high l, and with the two low bins
    for names, wanted in (
        ([PLIK_LITE], -291.33481235418026),
        ([PLIK_LITE, "planck2018_lowl_tt_2bin"], -293.95586501795134),
    ):
        # no Boltzmann code is involved: rounding of double sums is left
        assert at_spectrum(case, names, published(), {"A_planck": 1.0}) == pytest.approx(
            [wanted] * 4, abs=1e-8
        )


def p_act(case: Case) -> None:
    # candl's own test of ACT DR6's data set: chi2 695.5870410399649
    dl = candls_test_spectrum("ACT_DR6_TTTEEE_test_spec.txt")
    got = at_spectrum(case, ["act_dr6_cmb_only"], dl, {"A_act": 1.01, "P_act": 0.95})
    assert got == pytest.approx([-695.5870410399649 / 2] * 4, abs=1e-8)


def spt3g_2018(case: Case) -> None:
    # candl's own test: chi2 141.74004888, whose digits end at 1e-8
    dl = candls_test_spectrum("SPT3G_2018_TTTEEE_lite_test_spec.txt")
    got = at_spectrum(case, ["spt3g_2018_lite"], dl, {"Tcal": 1.001, "Ecal": 1.001})
    assert got == pytest.approx([-141.74004888 / 2] * 4, abs=1e-8)
    # the prior of both calibrations together: the covariance of the release
    covariance = np.loadtxt(data.fetch("spt3g_2018_lite/lite_cal_cov.txt", progress=False))
    assert covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]) == pytest.approx(0.19, abs=0.01)
    prior_of_both(case, covariance)


def prior_of_both(case: Case, covariance: np.ndarray) -> None:
    """The density of Tcal and Ecal at every door, by scipy."""
    for i, point in enumerate(case.points):
        cal = [point["Tcal"], point["Ecal"]]
        wanted = stats.multivariate_normal([1, 1], covariance).logpdf(cal)
        apart = sum(stats.norm(1, covariance[j, j] ** 0.5).logpdf(cal[j]) for j in (0, 1))
        assert abs(wanted - apart) > 1e-3  # without the correlation it would be seen
        found = [p.log_prior(case.theta)[i].item() - case.theory_prior(point) for p in case.posteriors]
        found.append(case.loglike(point)["log_prior"])
        # Cobaya's is held against these in test_every_door
        assert found == pytest.approx([wanted] * 4, rel=1e-10)


def by_numpy(
    case: Case, log_like: Callable[[dict[str, np.ndarray], Mapping[str, float]], float]
) -> list[float]:
    """Ln L by hand at the emulator's LCDM spectra, with tau = 0.0506 +- 0.0086 (Planck Collaboration V 2020, eq. 12)."""
    emulator = cmbfit.load_emulator(case.emulator)
    out = []
    for point in case.points:
        theta = torch.tensor([[point[p] for p in emulator.parameters]], dtype=torch.float64)
        dl = {pair: x[0].numpy() for pair, x in emulator.spectra(theta).dl.items()}
        out.append(log_like(dl, point) - 0.5 * ((point["tau"] - 0.0506) / 0.0086) ** 2)
    return out


def candl(case: Case) -> None:
    candl_file(case)
    prior_of_both(case, TOGETHER)


def candl_file(case: Case) -> None:
    wanted = by_numpy(case, lambda dl, point: candl_by_hand(Path("mine"), dl, point))
    for posterior in case.posteriors:
        # chi2 of a few hundred at covariances of condition 1e6
        assert posterior.unfolded(case.theta).tolist() == pytest.approx(wanted, rel=1e-9)


def own_spectra(case: Case) -> None:
    wanted = by_numpy(case, lambda dl, _: product_by_hand(dl))
    for posterior in case.posteriors:
        assert posterior.unfolded(case.theta).tolist() == pytest.approx(wanted, rel=1e-9)


def evaporation(case: Case) -> None:
    planck(case, f_pbh=0.0)  # without holes it is LCDM
    theta = case.theta.clone()
    theta[:, case.python.parameters.index("f_pbh")] = 0.0
    assert (case.python.unfolded(case.theta) - case.python.unfolded(theta)).abs().min() > 0.01


def cutoff_exponential(case: Case) -> None:
    """A cut-off at l = 5 leaves the bandpowers from l = 30 as they are, one at l = 100 does not."""
    at = case.python.parameters.index("ln_kc")
    theta = case.theta.clone()
    theta[:, case.python.parameters.index("steepness")] = 3.35
    wanted = by_numpy(case, lambda dl, point: candl_by_hand(Path("mine"), dl, point))
    for ln_kc, same in ((np.log(5 / 14_000), True), (np.log(100 / 14_000), False)):
        theta[:, at] = ln_kc
        for posterior in case.posteriors:
            close = (posterior.log_like(theta) - torch.tensor(wanted, dtype=torch.float64)).abs() < 0.02
            assert bool(close.all()) == same


OUTSIDE = {
    f.__name__: f
    for f in (planck2018, p_act, spt3g_2018, candl, own_spectra, evaporation, cutoff_exponential)
} | {"power_law": candl_file}


def test_the_fit_is_the_outside_number(case: Case) -> None:
    OUTSIDE[case.name](case)
