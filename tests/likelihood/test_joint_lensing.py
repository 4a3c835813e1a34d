"""Lensing of Planck PR4, ACT DR6 and SPT-3G (MUSE), together and apart: numbers of the releases' own tests."""

from __future__ import annotations

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from cmbfit.errors import DataError, LikelihoodError
from cmbfit.fit.build import load_data
from cmbfit.likelihood import load_likelihood
from cmbfit.likelihood.base import refuse_double_counting
from cmbfit.likelihood.datasets import self_check
from cmbfit.likelihood.datasets.aps_lensing import read_aps
from cmbfit.likelihood.datasets.catalog import read_files
from cmbfit.likelihood.datasets.load import registry_group
from cmbfit.likelihood.datasets.reference import read_reference_spectrum
from cmbfit.likelihood.gaussian import GaussianBandpowers
from cmbfit.likelihood.selection import select
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory
from cmbfit.theory.spectra import Spectra

from .conftest import fetched

LMAX = {"act": 2999, "planck": 2999, "spt3g": 3101}


def fiducial() -> Spectra:
    """The model of the release's tests, which candl's file has to L = 3001, continued to where SPT-3G's windows end.

    Beyond it lie 5% of the last window: 10% of the continuation are 0.002 in chi2.
    """
    fetched("candl_tests")
    pp = read_reference_spectrum(
        "candl_tests/ACT_DR6_Lens_test_spec.txt", ["ell", "tt", "te", "ee", "bb", "-", "kk"]
    ).dl["pp"][0]
    ell = np.arange(len(pp))
    slope, height = np.polyfit(np.log(ell[2800:]), np.log(pp[2800:].numpy()), 1)
    beyond = np.exp(height + slope * np.log(np.arange(len(pp), 3102)))
    return Spectra({"pp": torch.cat([pp, torch.from_numpy(beyond)])[None]})


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "chi2", "n"),
    [
        # printed with two digits in the release's tests, with 796 simulations for ACT where its users take 792: 0.006
        ("lensing_ap", 21.07, 19),
        ("lensing_as", 33.00, 26),
        ("lensing_aps", 38.17, 35),
        ("spt3g_muse_lensing", 19.69, 16),
    ],
)
def test_the_releases_own_numbers(mirrored: Path, name: str, chi2: float, n: int) -> None:
    assert mirrored.is_dir()
    like = load_likelihood(name)
    assert like.info.n_data == n
    assert -2 * like.log_prob(fiducial(), {}).item() == pytest.approx(chi2, abs=0.015)


@pytest.mark.network
def test_the_self_check_of_act_and_planck(mirrored: Path) -> None:
    assert mirrored.is_dir()
    fetched("candl_tests")
    assert abs(self_check("lensing_ap") or 1.0) < 0.0025  # half a digit of what is printed


def test_surveys_of_the_joint_covariance_are_its_rows(mirrored: Path) -> None:
    """Rows by hand; a pair of surveys differs from the joint set's rows only by what was simulated or computed."""
    files = {p.name: p.read_bytes() for p in (mirrored / "aps_lensing").iterdir()}
    every = ("act", "planck", "spt3g")
    whole = read_aps(files, every, (2, 12), LMAX)
    joint = np.loadtxt(mirrored / "aps_lensing" / "covmat_actplanckspt3g_analytic_offdiagonal.txt")
    rows = [*range(2, 12), *range(18, 43)]
    np.testing.assert_array_equal(whole.covariance, joint[np.ix_(rows, rows)])
    two = read_aps(files, ("spt3g", "planck"), (2, 12), LMAX)
    np.testing.assert_array_equal(two.covariance, joint[18:, 18:])
    assert list(two.windows) == ["planck", "spt3g"]
    np.testing.assert_array_equal(two.data, whole.data[10:])
    for pair, part in ((("act", "spt3g"), [*range(10), *range(19, 35)]), (("act", "planck"), range(19))):
        got = read_aps(files, pair, (2, 12), LMAX)
        np.testing.assert_array_equal(got.data, whole.data[list(part)])
        np.testing.assert_allclose(np.diag(got.covariance), np.diag(whole.covariance)[list(part)], rtol=0.02)
    # correlated, for the lenses are the same: up to 23% between ACT and Planck, whose sky is twice as large
    correlation = whole.covariance / np.sqrt(np.outer(*[np.diag(whole.covariance)] * 2))
    assert correlation[:10, 10:19].max() > 0.2
    assert correlation[:10, 19:].max() > 0.05


def test_lensing_sets_of_one_sky_are_refused_by_name(mirrored: Path) -> None:
    assert mirrored.is_dir()
    infos = {
        name: load_likelihood(name).info
        for name in (
            "planck2018_lensing",
            "planck_pr4_lensing",
            "lensing_as",
            "spt3g_muse_lensing",
            "lensing_aps",
        )
    }
    for one, two in itertools.combinations(infos.values(), 2):
        words = rf"{one.name} .* and {two.name} .*PP.*the same lenses.*lensing_aps"
        with pytest.raises(LikelihoodError, match=words):
            refuse_double_counting([one, two])


def test_pr4_lensing_beside_cobayas_reader(mirror: Path, mirrored: Path, tmp_path: Path) -> None:
    """Cobaya's class on the release's own definition, at the FFP10 model of the release."""
    module = pytest.importorskip("cobaya.likelihoods.base_classes", reason="no Cobaya")
    assert mirrored.is_dir()
    for path in (mirror / "pr4_lensing").rglob("*"):
        if path.is_file() and path.suffix != ".xz":
            target = tmp_path / "pr4" / path.relative_to(mirror / "pr4_lensing")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    marged = next((tmp_path / "pr4").glob("*CMBmarged.dataset")).name
    peer = module.CMBlikes({"path": str(tmp_path / "pr4"), "dataset_file": marged})
    table = np.loadtxt(mirror / "pr4_lensing" / "FFP10_wdipole_lenspotentialCls.dat.xz")
    pp = np.concatenate([[0.0, 0.0], table[table[:, 0] >= 2, 5]])[:2501]
    like = load_likelihood("planck_pr4_lensing")
    for scale in (1.0, 0.9):
        expected = peer.log_likelihood({"pp": scale * pp})
        got = like.log_prob(Spectra({"pp": torch.from_numpy(scale * pp)[None]}), {}).item()
        assert got == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.slow
def test_camb_gives_the_chi2_of_the_pr4_release(mirrored: Path) -> None:
    """8.368 at the parameters of the release's tests, to the 0.05 that another version of CAMB is worth."""
    assert mirrored.is_dir()
    theory = CambTheory(CambSettings(lmax=2508, lens_potential_accuracy=1, halofit="mead"))
    values = {
        "ombh2": 0.022274,
        "omch2": 0.11913,
        "theta_MC_100": 1.040867,
        "logA": float(np.log(21.32755716)),
        "ns": 0.96597,
        "tau": 0.0639,
    }
    spectra = theory.spectra(point_from_values(theory, values))
    assert -2 * load_likelihood("planck_pr4_lensing").log_prob(spectra, {}).item() == pytest.approx(
        8.368, abs=0.05
    )


def test_damaged_files_are_named(mirrored: Path) -> None:
    assert mirrored.is_dir()
    files = read_files("lensing_aps")
    all_three = ("act", "planck", "spt3g")
    for changes, message in (
        ({"muse_likelihood.npz": b"no archive"}, "muse_likelihood.npz: expected the arrays"),
        ({"clkk_bandpowers_planck.txt": b"1 2 3"}, r"clkk_bandpowers_planck.txt: expected shape \(9,\)"),
        ({"binning_matrix_act.txt": b"1 nan"}, "binning_matrix_act.txt: row . holds"),
    ):
        with pytest.raises(DataError, match=message):
            read_aps(files | changes, all_three, (2, 12), LMAX)
    with pytest.raises(LikelihoodError, match="unknown survey 'spt'"):
        read_aps(files, ("act", "spt"), (2, 12), LMAX)
    with pytest.raises(DataError, match=r"covmat_act_cmbmarg.txt: named by"):
        read_aps(files, ("act",), (2, 12), LMAX)
    buffer = io.BytesIO()
    np.savez(buffer, bpwf=np.ones((16, 5000)), d_kk=np.full(16, np.nan), cov_kk=np.eye(16))
    with pytest.raises(DataError, match="d_kk: expected"):
        read_aps(files | {"muse_likelihood.npz": buffer.getvalue()}, all_three, (2, 12), LMAX)


def test_windows_are_on_convergence(mirrored: Path) -> None:
    """Kappa = L(L+1) phi / 2, so that C^kk = pi/2 of [L(L+1)]^2 C^phiphi / 2 pi: a flat C^kk of 1 gives 1 in every bin."""
    assert mirrored.is_dir()
    like = load_likelihood("lensing_aps")
    assert isinstance(like, GaussianBandpowers)
    flat = Spectra({"pp": torch.full((1, 3102), 2 / np.pi, dtype=torch.float64)})
    np.testing.assert_allclose(like.bandpowers(flat, {})[0], 1.0, rtol=5e-3)


@pytest.mark.network
@pytest.mark.slow
def test_the_joint_lensing_enters_a_combination_once(mirrored: Path) -> None:
    """35 bandpowers more, no nuisance parameter, no prior; any further lensing of these skies is refused."""
    for group in {s.registry_group for s in select(["planck_act_spt"])}:
        fetched(group)
    assert mirrored.is_dir()
    without, with_lensing = (load_data([name]) for name in ("planck_act_spt", "planck_act_spt_lensing"))
    assert sum(x.info.n_data for x in with_lensing) == sum(x.info.n_data for x in without) + 35
    assert [n for x in with_lensing for n in x.info.nuisance] == [n for x in without for n in x.info.nuisance]
    assert [x.info.name for x in load_data(["p_act", "lensing_ap"])] == [
        s.name for s in select(["p_act_lensing"])
    ]
    for again in (
        "planck2018_lensing",
        "planck_pr4_lensing",
        "act_dr6_lensing",
        "spt3g_2018_lensing",
        "lensing_ap",
    ):
        fetched(registry_group(again))
        with pytest.raises(LikelihoodError, match="the same lenses"):
            load_data(["planck_act_spt_lensing", again])
