"""How many multipoles are asked for does not change those that are given: every door to a Boltzmann code."""

from __future__ import annotations

from collections.abc import Callable

import camb
import numpy as np
import pytest

from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory, spectra_of_one_background
from cmbfit.theory.hawking.pbh import evaporation_spectra
from cmbfit.theory.primordial_exact import camb_with_power
from cmbfit.theory.tensor_template import tensor_template

BACKGROUND = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.041, "tau": 0.055}
POINT = {**BACKGROUND, "logA": 3.044, "ns": 0.965}


def _settings(lmax: int) -> CambSettings:
    return CambSettings(lmax=lmax, lens_potential_accuracy=1)


def _by_theory(lmax: int) -> np.ndarray:
    theory = CambTheory(_settings(lmax), extra=("r",))
    dl = theory.spectra(point_from_values(theory, {**POINT, "r": 0.05})).dl
    return np.array([dl[p][0].numpy() for p in ("tt", "ee", "bb", "pp")])


def _by_table(lmax: int) -> np.ndarray:
    k = np.geomspace(1e-6, 50.0, 400)
    power = 1e-10 * np.exp(3.044) * (k / 0.05) ** (0.965 - 1)
    return camb_with_power(_settings(lmax), POINT, k, power, 1.0, 1.0)[0][[0, 2, 3, 4]]


def _by_background(lmax: int) -> np.ndarray:
    return spectra_of_one_background(_settings(lmax), BACKGROUND, [(3.044, 0.965)])[0][0][[0, 2, 3, 4]]


@pytest.fixture(scope="module")
def wide() -> dict[str, np.ndarray]:
    """CAMB itself, asked for far more than anybody wants here: D_l [uK^2] of scalars, lensed, and of tensors at r = 1."""
    pars = camb.set_params(
        ombh2=0.0224, omch2=0.12, cosmomc_theta=0.01041, tau=0.055, As=1e-10 * np.exp(3.044), ns=0.965, mnu=0.06,
        nnu=3.044, num_massive_neutrinos=1, TCMB=2.7255, bbn_predictor="PArthENoPE_880.2_standard.dat",
        recombination_model="Recfast", recfast_approx_model="planck", halofit_version="mead2016", lmax=4000,
        lens_potential_accuracy=1, WantTensors=True, r=1.0, nt=0.0,
    )  # fmt: skip
    pars.max_eta_k_tensor = 6000.0
    got = camb.get_results(pars).get_cmb_power_spectra(CMB_unit="muK", lmax=2000)
    scalar, tensor = got["lensed_scalar"].T, got["tensor"].T
    return {"scalar": np.array([*scalar[:3], got["lens_potential"][:, 0]]), "tensor": tensor[2]}


@pytest.mark.parametrize("door", [_by_table, _by_background])
@pytest.mark.slow
def test_camb_gives_the_same_low_multipoles_however_few_are_asked_for(
    door: Callable[[int], np.ndarray], wide: dict[str, np.ndarray]
) -> None:
    """1e-3 of a run to l = 4000: at the old cut BB(80) was 2-8% low. Above l = 10, where CAMB's sums over k agree."""
    got = door(300)
    assert got.shape == (4, 301)
    np.testing.assert_allclose(got[:, 10:], wide["scalar"][:, 10:301], rtol=1e-3)


@pytest.mark.slow
def test_tensors_are_whole_however_few_multipoles_are_asked_for(wide: dict[str, np.ndarray]) -> None:
    """BB of tensors and of lensing from a template of 120 multipoles; it was 0.6% low."""
    got = tensor_template(POINT, lmax=120)
    assert got.lmax == 120
    np.testing.assert_allclose(got._tensors[20:].numpy(), wide["tensor"][20:121], rtol=2e-3)
    # lens_potential_accuracy 4 here, 1 there: 0.5% of lensing's BB
    np.testing.assert_allclose(got._lensing[20:].numpy(), wide["scalar"][2, 20:121], rtol=6e-3)


@pytest.mark.slow
@pytest.mark.parametrize("door", [_by_theory, _by_table, _by_background])
def test_every_length_gives_the_same_bits(door: Callable[[int], np.ndarray]) -> None:
    whole = door(2600)
    for lmax in (2, 100, 700, 1900, 2599):
        np.testing.assert_array_equal(door(lmax), whole[:, : lmax + 1])


def test_evaporation_by_class_does_not_depend_on_the_length() -> None:
    """5730 uK^2 is TT(220) of LCDM (CAMB's, and CLASS's to l = 2500); 300 multipoles gave 5598, BB 78% low."""
    pytest.importorskip("classy")
    short = evaporation_spectra(1e15, 0.0, lmax=300).dl
    assert len(short["tt"]) == 301
    assert short["tt"][220] == pytest.approx(5730, rel=2e-3)
    long = evaporation_spectra(1e15, 0.0, lmax=2600).dl
    np.testing.assert_array_equal(short["bb"], long["bb"][:301])
