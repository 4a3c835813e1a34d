"""Cuts against the rule that ACT's own code publishes, and against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cmbfit.errors import LikelihoodError
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.cuts import Bandpowers, cut, cut_sky, kept_bins
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.theory.spectra import Spectra

from .helpers import one, random_covariance

P_ACT = {"tt": (30, 1000), "te": (30, 600), "ee": (30, 600)}


def test_p_act_is_the_published_cut_of_plik_lite(fixed: Spectra) -> None:
    """ACT DR6's PlanckActCut: bins that reach beyond the cut get variance 1e10 and no correlation."""
    whole = load_likelihood("planck2018_plik_lite_ttteee")
    kept = load_likelihood("planck2018_plik_lite_ttteee", cuts=P_ACT)
    covariance = whole.covariance.numpy()
    start = 0
    for block in whole.blocks:
        pair, window = block.pair, block.window
        for row, w in enumerate(window.numpy()):
            if np.flatnonzero(w)[-1] > P_ACT[pair][1]:
                covariance[start + row, :] = covariance[:, start + row] = 0.0
                covariance[start + row, start + row] = 1e10
        start += len(window)
    nuisance = {"A_planck": one(value=1.002)}
    residual = (whole.bandpowers(fixed, nuisance)[0] - whole.data).numpy()
    expected = residual @ np.linalg.solve(covariance, residual)
    # the 1e10 of uK^4 leave 1e-7 of chi2 from bandpowers of 1e-3 to 1 uK^2; rounding of the inverse is 1e-8
    assert kept.chi2(fixed, nuisance).item() == pytest.approx(expected, rel=1e-6)
    # 215 bins of 5 to 33 multipoles: the last whole ones below the cuts end at 999 and 594
    assert kept.info.sky == {"planck": {"tt": (30, 999), "te": (30, 594), "ee": (30, 594)}}
    assert kept.info.n_data == len(kept.data) < 613


def test_a_cut_is_a_marginal_likelihood(rng: np.random.Generator) -> None:
    """Leaving bandpowers out equals integrating over them: the marginal of a Gaussian."""
    windows = {"tt": np.eye(8, 30, 4), "ee": np.eye(6, 30, 10)}
    covariance, data = random_covariance(rng, 14), rng.standard_normal(14)
    got = cut("toy", Bandpowers(windows, data, covariance), {"tt": (6, 9), "ee": (0, 0)}, whole=True)
    assert list(got.windows) == ["tt"]
    np.testing.assert_array_equal(got.data, data[2:6])
    # the precision of the rest after the others are integrated out (Schur complement)
    precision = np.linalg.inv(covariance)
    keep, drop = np.arange(2, 6), np.r_[0:2, 6:14]
    cross = precision[np.ix_(keep, drop)]
    schur = precision[np.ix_(keep, keep)] - cross @ np.linalg.solve(precision[np.ix_(drop, drop)], cross.T)
    np.testing.assert_allclose(np.linalg.inv(got.covariance), schur, rtol=1e-10)
    assert cut_sky({"s": {"tt": (4, 11), "ee": (10, 15)}}, got, {"tt": (6, 9), "ee": (0, 0)}, whole=True) == {
        "s": {"tt": (6, 9)}
    }


def test_windows_with_tails_are_kept_by_their_centre() -> None:
    ell = np.arange(60.0)
    windows = np.stack([np.exp(-0.5 * ((ell - c) / 3) ** 2) for c in (15, 25, 35)])
    assert kept_bins(windows, 20, 40, whole=False).tolist() == [1, 2]
    assert kept_bins(windows, 20, 40, whole=True).tolist() == []


@pytest.mark.parametrize(
    ("cuts", "message"),
    [
        ({"bb": (2, 30)}, "cuts name the pair 'bb'; this data set has tt, te, ee"),
        ({"tt": (900, 300)}, r"expected \[lmin, lmax\], found \[900, 300\]"),
        ({"tt": (31, 32)}, r"no tt bandpower lies inside l = 31-32; \[0, 0\] drops"),
        (dict.fromkeys(("tt", "te", "ee"), (0, 0)), "leave no bandpower"),
    ],
)
def test_senseless_cuts_are_refused(cuts: dict[str, tuple[int, int]], message: str) -> None:
    with pytest.raises(LikelihoodError, match=message):
        load_likelihood("planck2018_plik_lite_ttteee", cuts=cuts)


def test_what_cannot_be_cut_says_so() -> None:
    for name in ("planck2018_lowl_ee", "tau_lowe", "planck2018_lensing"):
        with pytest.raises(LikelihoodError, match="cannot be cut"):
            load_likelihood(name, cuts={"ee": (2, 10)})


def test_a_nuisance_under_another_name_is_shared(fixed: Spectra) -> None:
    from cmbfit.likelihood import Gaussian

    prior = Gaussian(1.0, 0.003)
    like = load_likelihood("planck2018_plik_lite_tt", rename={"A_planck": "A_act"}, priors={"A_act": prior})
    plain = load_likelihood("planck2018_plik_lite_tt")
    assert like.info.nuisance == {"A_act": prior}
    a = one(value=1.004)
    assert torch.equal(like.log_prob(fixed, {"A_act": a}), plain.log_prob(fixed, {"A_planck": a}))
    with pytest.raises(LikelihoodError, match="renamed to A_act, which has no prior"):
        load_likelihood("planck2018_plik_lite_tt", rename={"A_planck": "A_act"})
    with pytest.raises(LikelihoodError, match="did you mean 'A_planck'"):
        load_likelihood("planck2018_plik_lite_tt", rename={"A_plank": "A_act"})
    with pytest.raises(LikelihoodError, match="unknown nuisance parameter 'A_act'"):
        load_likelihood("planck2018_plik_lite_tt", priors={"A_act": prior})


def test_empty_windows_and_bad_covariances_name_the_bandpower(rng: np.random.Generator) -> None:
    from .helpers import info

    windows = {"tt": np.eye(2, 30, 4), "te": np.eye(3, 30, 10)}
    windows["te"][1] = 0
    with pytest.raises(LikelihoodError, match="window of te bandpower 2 is empty"):
        GaussianBandpowers(info(), windows, np.ones(5), np.eye(5))
    windows["te"][1, 5] = 1
    covariance = random_covariance(rng, 5)
    covariance[3, 3] = -1.0
    with pytest.raises(
        LikelihoodError, match=r"not positive definite \(row 4, te bandpower 2\); .* both triangles"
    ):
        GaussianBandpowers(info(), windows, np.ones(5), covariance)
