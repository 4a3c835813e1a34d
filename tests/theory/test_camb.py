"""CAMB with pinned settings against published spectra, fresh runs and CAMB's own derived values."""

from __future__ import annotations

from pathlib import Path

import camb
import numpy as np
import pytest
import torch

from cmbfit.errors import ConfigError, ParameterError
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import (
    CambSettings,
    CambTheory,
    camb_parameters,
    get_preset,
    spectra_of_one_background,
)
from cmbfit.theory.parameters import DERIVED
from cmbfit.theory.spectra import Spectra

BACKGROUND = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.041, "tau": 0.055}
SMALL = CambSettings(lmax=200, lens_potential_accuracy=1)


@pytest.fixture(scope="module")
def published(reference_folder: Path) -> np.ndarray:
    """Planck 2018's best fit as CosmoMC wrote it: columns TT TE EE BB PP from l = 2."""
    table = np.loadtxt(reference_folder / "base_plikHM_TTTEEE_lowl_lowE.minimum.theory_cl")
    assert table[0, 0] == 2
    return table[:, 1:].T


def test_planck_best_fit_spectra_are_the_published_ones(
    published: np.ndarray, camb_planck_point: Spectra
) -> None:
    """Differences in units of one multipole's cosmic variance.

    CAMB of 2018 and today differ in recombination's and lensing's details (the damping tail, TT) and in
    the width of reionisation's dip in EE at l = 10-15; the parameters are printed to four digits.
    A Planck-like fit sees 0.3 sigma per multipole at l > 2000 as nothing (its noise is several times that).
    """
    tt, te, ee, _, _ = published
    ell = np.arange(2, 2509)
    sigma = {
        "tt": np.sqrt(2 / (2 * ell + 1)) * tt,
        "te": np.sqrt((tt * ee + te**2) / (2 * ell + 1)),
        "ee": np.sqrt(2 / (2 * ell + 1)) * ee,
    }
    for pair, column in (("tt", tt), ("te", te), ("ee", ee)):
        error = np.abs(camb_planck_point.dl[pair][0, 2:].numpy() - column) / sigma[pair]
        assert error.max() < 0.3, pair
        assert error[ell < 1500].max() < (0.25 if pair == "ee" else 0.1), pair
        assert np.median(error) < 0.05, pair


def test_published_bb_and_lensing_agree(published: np.ndarray, camb_planck_point: Spectra) -> None:
    # their units and normalisation (7 powers of ten, [L(L+1)]^2/2pi) and the lensing to some percent:
    # PP of 2018 ran with less accurate transfer functions and an older HMcode
    for pair, column in (("bb", published[3]), ("pp", published[4])):
        rows = slice(0, 999)
        ratio = camb_planck_point.dl[pair][0, 2:1001].numpy() / column[rows]
        assert np.abs(ratio - 1).max() < 0.03, pair


def test_derived_parameters_of_the_planck_best_fit(camb_planck_point: Spectra) -> None:
    """Planck 2018 VI table 1 (best fit, Plik), each within half a unit of the digits that theta_MC's rounding keeps."""
    got = {p: camb_planck_point.parameters[p].item() for p in DERIVED}
    assert got["H0"] == pytest.approx(67.32, abs=0.03)
    assert got["omegam"] == pytest.approx(0.3158, abs=3e-4)
    assert got["sigma8"] == pytest.approx(0.8120, abs=1e-3)
    assert got["age"] == pytest.approx(13.7971, abs=3e-3)
    assert got["rdrag"] == pytest.approx(147.049, abs=0.03)
    assert got["thetastar"] == pytest.approx(1.041085, abs=1e-4)
    assert got["zrei"] == pytest.approx(7.68, abs=0.05)


def test_lensed_reference_numbers() -> None:
    """CAMB, lens_potential_accuracy 2, CAMB's default recombination and HMcode.

    Recombination moves D_l by 1e-3 at l = 1000 and the damping tail by some 1e-3; HMcode's version moves
    the smoothing at l = 2000 and BB by a percent or less.
    """
    theory = CambTheory(CambSettings(lens_potential_accuracy=2))
    values = {"H0": 67.36, "ombh2": 0.02237, "omch2": 0.12, "tau": 0.0544, "logA": 3.044, "ns": 0.9649}
    got = theory.spectra(point_from_values(theory, values))
    expected = {
        220: (5729.29, 0.883754, 0.0173414, 13.4905),
        1000: (1060.83, 42.0786, 0.0973679, -24.2307),
        2000: (230.867, 8.62918, 0.0538078, -18.0434),
    }
    for ell, row in expected.items():
        for pair, number in zip(("tt", "ee", "bb", "te"), row, strict=True):
            tolerance = 0.01 if pair == "bb" else 4e-3
            assert got.dl[pair][0, ell].item() == pytest.approx(number, rel=tolerance), (pair, ell)
    assert got.parameters["rdrag"].item() == pytest.approx(147.103, abs=0.03)
    assert got.parameters["thetastar"].item() == pytest.approx(1.041198, abs=1e-4)


@pytest.mark.slow
def test_draws_on_one_background_are_bit_identical_to_fresh_runs() -> None:
    draws = [(3.045, 0.965), (2.9, 1.0), (3.2, 0.93)]
    together, unlensed, derived = spectra_of_one_background(SMALL, BACKGROUND, draws)
    for i in (0, 2):
        alone, alone_unlensed, alone_derived = spectra_of_one_background(SMALL, BACKGROUND, [draws[i]])
        np.testing.assert_array_equal(together[i], alone[0])
        np.testing.assert_array_equal(unlensed[i], alone_unlensed[0])
        np.testing.assert_array_equal(derived[i], alone_derived[0])
    # primordial draws change sigma8, and nothing of the background
    assert len(set(derived[:, DERIVED.index("sigma8")])) == 3
    assert len(set(derived[:, DERIVED.index("H0")])) == 1


@pytest.mark.slow
def test_spectra_and_derived_values_are_camb_s_own() -> None:
    theory = CambTheory(SMALL)
    got = theory.spectra(point_from_values(theory, BACKGROUND | {"logA": 3.0, "ns": 0.97}))
    pars = camb_parameters(SMALL, **BACKGROUND, logA=3.0, ns=0.97)
    pars.set_matter_power(redshifts=[0.0], kmax=1.2, silent=True)
    results = camb.get_results(pars)
    total = results.get_total_cls(200, CMB_unit="muK")
    for column, pair in enumerate(("tt", "ee", "bb", "te")):  # CAMB's order
        # with matter power asked for, CAMB samples k elsewhere: 1e-4
        np.testing.assert_allclose(
            got.dl[pair][0, 2:].numpy(),
            total[2:, column],
            rtol=1e-3,
            atol=1e-3 * np.abs(total[:, column]).max(),
        )
    table = {p: got.parameters[p].item() for p in DERIVED}
    omegam = results.get_Omega("baryon") + results.get_Omega("cdm") + results.get_Omega("nu")
    expected = results.get_derived_params()
    assert table["sigma8"] == pytest.approx(float(results.get_sigma8_0()), rel=1e-3)
    assert table["omegam"] == pytest.approx(omegam, rel=1e-5)
    assert table["S8"] == pytest.approx(table["sigma8"] * np.sqrt(omegam / 0.3), rel=1e-5)
    assert table["H0"] == pytest.approx(results.hubble_parameter(0), rel=1e-8)
    assert table["age"] == pytest.approx(expected["age"], rel=1e-8)
    assert table["rdrag"] == pytest.approx(expected["rdrag"], rel=1e-8)
    assert table["thetastar"] == pytest.approx(expected["thetastar"], rel=1e-8)
    assert (got.dl["tt"][0, :2] == 0).all()
    assert got.dl["tt"].dtype == torch.float64


def test_settings_that_give_wrong_lensing_are_refused() -> None:
    with pytest.raises(ConfigError, match="lens_potential_accuracy: expected >= 1"):
        CambSettings(lens_potential_accuracy=0)
    with pytest.raises(ConfigError, match="lmax"):
        CambSettings(lmax=1)


def test_a_point_that_camb_refuses_is_a_typed_error() -> None:
    with pytest.raises(ParameterError, match="CAMB refuses"):
        camb_parameters(SMALL, ombh2=0.0224, omch2=0.12, theta_mc=5.0, tau=0.05)


def test_settings_record_what_moves_chi2() -> None:
    record = CambTheory().settings
    assert record["version"] == camb.__version__
    assert record["recombination"] == "Recfast"
    assert record["recfast_approximation"] == "planck"
    assert record["halofit"] == "mead2016"
    pars = camb_parameters(CambSettings(), **BACKGROUND)
    assert type(pars.Recomb).__name__ == "Recfast"
    assert pars.NonLinearModel.halofit_version == "mead2016"
    assert pars.omnuh2 == pytest.approx(0.06 / 94.07 * (3.044 / 3) ** 0.75, rel=2e-3)


@pytest.mark.slow
def test_extensions_at_their_base_values_change_nothing() -> None:
    base = spectra_of_one_background(SMALL, BACKGROUND, [(3.04, 0.965)])
    trivial = {"mnu": 0.06, "nnu": 3.044, "omk": 0.0, "w": -1.0, "wa": 0.0}
    draw = {"logA": 3.04, "ns": 0.965, "nrun": 0.0, "Alens": 1.0, "r": 0.0}
    for a, b in zip(base, spectra_of_one_background(SMALL, BACKGROUND | trivial, [draw]), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_extensions_are_camb_s_own() -> None:
    """One call of CAMB's set_params with its own words: scalars with tensors to 1e-6."""
    extended = {"mnu": 0.2, "nnu": 3.3, "omk": 0.005, "w": -0.9, "wa": 0.1, "YHe": 0.25}
    draw = {"nrun": 0.01, "Alens": 1.2, "r": 0.05, "nt": 0.1}
    theory = CambTheory(SMALL, [*extended, *draw])
    point = BACKGROUND | {"logA": 3.0, "ns": 0.97} | extended | draw
    got = theory.spectra(point_from_values(theory, point))
    pars = camb.set_params(
        ombh2=0.0224, omch2=0.12, cosmomc_theta=0.01041, tau=0.055, num_massive_neutrinos=1, **extended,
        dark_energy_model="ppf", As=np.exp(3.0) * 1e-10, ns=0.97, **draw, recombination_model="Recfast",
        recfast_approx_model="planck", halofit_version="mead2016", lmax=2600, lens_potential_accuracy=1,
        max_eta_k_tensor=4000,
    )  # fmt: skip
    total = camb.get_results(pars).get_total_cls(200, CMB_unit="muK")
    for column, pair in enumerate(("tt", "ee", "bb", "te")):
        scale = np.abs(total[:, column]).max()
        np.testing.assert_allclose(
            got.dl[pair][0, 2:].numpy(), total[2:, column], rtol=1e-5, atol=1e-6 * scale
        )
    assert got.parameters["H0"].item() == pytest.approx(pars.H0, rel=1e-10)
    assert got.parameters["r"].item() == 0.05


@pytest.mark.slow
def test_unlensed_spectra_and_tensors() -> None:
    """FID of r = 0.01: tensor BB at l = 80 and 150 by CAMB 2.0.5, run apart from this package."""
    draw = {"r": 0.01}
    values = {"H0": 67.36, "ombh2": 0.02237, "omch2": 0.12, "tau": 0.0544, "logA": 3.044, "ns": 0.9649}
    theory = CambTheory(SMALL, draw, lensed=False)
    point = point_from_values(theory, values | draw)
    got = theory.spectra(point)
    # recombination differs (Planck's fudge factors here), and CAMB samples tensors sparsely in l: 3e-3
    assert got.dl["bb"][0, 80].item() == pytest.approx(6.4809e-4, rel=3e-3)
    assert got.dl["bb"][0, 150].item() == pytest.approx(3.1079e-4, rel=3e-3)
    assert theory.settings["lensed"] is False
    lensed = CambTheory(SMALL, draw).spectra(point)
    # lensing makes most of B at l = 150 for this r, and smooths the acoustic peaks of T
    assert lensed.dl["bb"][0, 150] > 5 * got.dl["bb"][0, 150]
    assert torch.equal(lensed.dl["pp"], got.dl["pp"])


def test_hubble_constant_and_angle_of_an_extended_model() -> None:
    theory = CambTheory(SMALL, ["mnu"])
    values = {"H0": 66.0, "ombh2": 0.0224, "omch2": 0.12, "tau": 0.05, "logA": 3.0, "ns": 0.97, "mnu": 0.3}
    angle = point_from_values(theory, values)[0, theory.parameters.index("theta_mc")].item()
    pars = camb_parameters(SMALL, ombh2=0.0224, omch2=0.12, tau=0.05, theta_mc=angle, mnu=0.3)
    assert pytest.approx(66.0, abs=2e-3) == pars.H0  # the tolerance of CAMB for the angle


def test_unknown_extensions_and_presets_are_refused() -> None:
    with pytest.raises(ParameterError, match="did you mean 'mnu'"):
        CambTheory(SMALL, ["mnuu"])
    with pytest.raises(ParameterError, match="twice"):
        CambTheory(SMALL, ["mnu", "mnu"])
    with pytest.raises(ParameterError, match="unknown primordial parameter 'mnu'"):
        spectra_of_one_background(SMALL, BACKGROUND, [{"logA": 3.0, "ns": 0.97, "mnu": 0.1}])
    with pytest.raises(ParameterError, match="unknown extended parameter 'logB'"):
        camb_parameters(SMALL, **BACKGROUND, logB=3.0)
    with pytest.raises(ConfigError, match="did you mean 'planck2018'"):
        get_preset("planck18")
