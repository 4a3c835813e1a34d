"""Nothing is counted twice: skies, tau, priors; the remedy that an error names works."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from scipy import stats

from cmbfit.errors import ConfigError, LikelihoodError
from cmbfit.fit import Fit, complete_fit
from cmbfit.fit.build import build_likelihoods, load_data
from cmbfit.likelihood import Posterior, Uniform, load_likelihood
from cmbfit.likelihood.base import DataSetInfo, refuse_double_counting
from cmbfit.likelihood.selection import combinations, select
from cmbfit.theory.spectra import Spectra

from .conftest import fetched
from .helpers import info

PLIK = "planck2018_plik_lite_ttteee"


def sky(name: str, survey: str, **pairs: tuple[int, int]) -> DataSetInfo:
    return info(name, survey=survey, pairs=pairs)


def test_full_sky_surveys_see_the_same_modes() -> None:
    with pytest.raises(LikelihoodError, match="both measure tau: use one of them"):
        refuse_double_counting([sky("a", "planck", ee=(2, 29)), sky("b", "WMAP7", ee=(2, 23))])
    with pytest.raises(LikelihoodError, match="count the same"):
        refuse_double_counting([sky("a", "planck2018", tt=(2, 29)), sky("b", "wmap", tt=(2, 29))])
    refuse_double_counting([sky("a", "planck", tt=(2, 29)), sky("b", "wmap", ee=(2, 29))])
    # patches are skies of their own: published fits neglect the overlap of SPT with ACT and Planck
    refuse_double_counting([sky("a", "act", tt=(600, 6000)), sky("b", "spt3g", tt=(400, 3000))])


def test_a_reason_lifts_the_refusal() -> None:
    a, b = sky("a", "planck", tt=(2, 29)), sky("b", "planck", tt=(2, 29))
    refuse_double_counting([a, replace(b, allow_overlap="splits of one map, fitted to test the code")])
    with pytest.raises(LikelihoodError, match="allow_overlap"):
        refuse_double_counting([a, b])
    with pytest.raises(LikelihoodError, match="listed twice"):
        refuse_double_counting([a, replace(a, allow_overlap="never by accident")])


def test_the_remedy_in_the_message_is_one() -> None:
    act = sky("act", "planck", tt=(1000, 6325), te=(600, 6325), ee=(600, 6325))
    with pytest.raises(LikelihoodError) as error:
        refuse_double_counting([act, load_likelihood(PLIK).info])
    words = re.search(r"cut one: (\{.*\}\}\})", str(error.value))
    assert words is not None
    ((name, options),) = yaml.safe_load(words[1]).items()
    assert name == PLIK
    refuse_double_counting([act, load_likelihood(name, **options).info])


@pytest.mark.parametrize("second", ["tau_lowe", "planck2018_lowl_ee"])
def test_two_measurements_of_tau_are_refused(second: str) -> None:
    data = ["planck2018_lowl_ee", "tau_lowe"]
    if second == "planck2018_lowl_ee":
        data.reverse()
    with pytest.raises(LikelihoodError, match="both measure tau"):
        load_data(data)
    reason = {"allow_overlap": "a check of the prior"}
    assert len(load_data([data[0], {data[1]: reason}])) == 2


def fit_of(data: list[Any], priors: Mapping[str, Any]) -> Fit:
    return complete_fit("mine", {"data": data, "priors": priors}, "lcdm_planck2018")


def test_a_gaussian_prior_on_tau_beside_low_l_ee_is_refused() -> None:
    gaussian = {"tau": {"gaussian": [0.0544, 0.0073]}}
    for name in ("planck2018_lowl_ee", "tau_lowe"):
        with pytest.raises(LikelihoodError, match="same measurement twice"):
            build_likelihoods(fit_of([name], gaussian))
    build_likelihoods(fit_of(["planck2018_plik_lite_tt"], gaussian))
    build_likelihoods(fit_of(["tau_lowe"], {"tau": {"uniform": [0.02, 0.15]}}))


class WideTheory:
    """A theory that gives zeros as far as any data set asks: only priors are of interest here."""

    parameters = ("ombh2", "ns")
    box: Mapping[str, tuple[float, float]] = {"ombh2": (0.02, 0.025), "ns": (0.9, 1.0)}
    lmax = 8500
    settings: dict[str, Any] = {}  # noqa: RUF012

    def spectra(self, theta: torch.Tensor) -> Spectra:
        zero = torch.zeros(len(theta), self.lmax + 1, dtype=torch.float64)
        return Spectra(dict.fromkeys(("tt", "te", "ee", "bb", "pp"), zero))


def scipy_density(spec: Mapping[str, Any]) -> Any:
    ((kind, (a, b)),) = spec.items()
    return stats.norm(a, b) if kind == "gaussian" else stats.uniform(a, b - a)


@pytest.mark.network
@pytest.mark.parametrize("name", ["planck2018", "planck_act_spt"])
def test_the_joint_prior_is_the_product_of_the_declared_ones(name: str, rng: np.random.Generator) -> None:
    """Every nuisance parameter of a combination once, however many data sets use it, by scipy's densities."""
    for group in {s.registry_group for s in select([name])}:
        fetched(group)
    likelihoods = load_data([name])
    box = {p: Uniform(*WideTheory.box[p]) for p in WideTheory.parameters}
    posterior = Posterior(WideTheory(), likelihoods, box)
    declared = {
        "planck2018": {"A_planck": {"gaussian": [1.0, 0.0025]}},
        "planck_act_spt": {"A_act": {"gaussian": [1.0, 0.003]}, "P_act": {"uniform": [0.9, 1.1]}},
    }
    expected = {"Tcal", "Ecal"} if name == "planck_act_spt" else set()
    assert set(posterior.parameters) == {"ombh2", "ns", *declared[name], *expected}
    values = {"ombh2": 0.0221, "ns": 0.96, "A_planck": 1.003, "A_act": 0.996, "P_act": 1.02}
    calibration = np.array([1.002, 0.991])
    values |= dict(zip(("Tcal", "Ecal"), calibration, strict=True))
    total = (
        -np.log(0.005)
        - np.log(0.1)
        + sum(scipy_density(spec).logpdf(values[p]) for p, spec in declared[name].items())
    )
    if expected:
        from cmbfit import data

        covariance = np.array(
            data.read_bytes("spt3g_2018_lite/lite_cal_cov.txt").split(), dtype=float
        ).reshape(2, 2)
        total += stats.multivariate_normal([1, 1], covariance).logpdf(calibration)
    theta = torch.tensor([[values[p] for p in posterior.parameters]], dtype=torch.float64)
    assert posterior.log_prior(theta).item() == pytest.approx(total, rel=1e-12)
    # and nothing of it hides in a likelihood: with theory and data the same, ln L has no term of the priors
    log_prob = posterior.log_prob(theta).item()
    parts = sum(x.item() for x in posterior.log_likelihoods(theta).values())
    assert log_prob == pytest.approx(total + parts, rel=1e-12)
    if expected:
        # plik-lite's bins are 5 wide from 30, 9 wide from 100 (Planck 2018 V): 14 + 100 below 1000, 14 + 55 below 600
        assert sum(like.info.n_data for like in likelihoods) == 114 + 2 * 69 + 2 + 135 + 123


def test_combinations_name_known_data_once() -> None:
    for name in combinations():
        chosen = select([name])
        assert len({s.name for s in chosen}) == len(chosen)
    names = [s.name for s in select(["planck_act_spt"])]
    assert names[-2:] == ["act_dr6_cmb_only", "spt3g_2018_lite"]


@pytest.mark.network
def test_act_and_the_whole_of_planck_are_refused_with_the_published_cut() -> None:
    fetched("act_dr6_cmb_only")
    with pytest.raises(LikelihoodError, match=r"cuts: \{tt: \[30, 999\], te: \[30, 599\], ee: \[30, 599\]\}"):
        load_data([PLIK, "act_dr6_cmb_only"])


@pytest.mark.parametrize(
    ("items", "error", "message"),
    [
        (["planck2018_plik"], LikelihoodError, "unknown data set 'planck2018_plik'"),
        (["p_acts"], LikelihoodError, "did you mean 'p_act'"),
        ([{"p_act": {"cuts": {}}}], ConfigError, "takes no options"),
        ([{PLIK: {"cut": {}}}], ConfigError, "did you mean 'cuts'"),
        ([{PLIK: {"cuts": {"tt": [30]}}}], ConfigError, r"expected two whole numbers \[lmin, lmax\]"),
        ([{PLIK: {"allow_overlap": True}}], ConfigError, "the reason in words"),
        ([{PLIK: 3}], ConfigError, "expected options such as"),
        ([3], ConfigError, "expected a name"),
        ([{"sacc": "x.fits"}], LikelihoodError, "x.fits: expected a SACC file"),
        ([{"candl": "absent.yaml"}], Exception, "absent.yaml: no such file"),
        ([{"sacc": "x.fits", "units": "dl"}], ConfigError, "units"),
    ],
)
def test_bad_items_are_refused_by_name(items: list[Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_data(items)
