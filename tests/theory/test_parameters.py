"""Spellings of parameters, their checks, and points from named values."""

from __future__ import annotations

import math

import camb
import pytest

from cmbfit.errors import ParameterError
from cmbfit.theory.background.angle import theta_mc_from_h0
from cmbfit.theory.base import check_box, point_from_values
from cmbfit.theory.camb_code import CambSettings, CambTheory, camb_parameters
from cmbfit.theory.emulator.linear import LinearEmulator
from cmbfit.theory.parameters import LCDM, PARAMETERS, canonical_parameters

POINT = {"ombh2": 0.0224, "omch2": 0.12, "theta_mc": 1.041, "tau": 0.055, "logA": 3.045, "ns": 0.965}


@pytest.mark.parametrize(
    ("spelling", "value", "name", "canonical"),
    [
        ("theta_MC_100", 1.0409, "theta_mc", 1.0409),  # Cobaya
        ("100theta_MC", 1.0409, "theta_mc", 1.0409),
        ("cosmomc_theta", 0.010409, "theta_mc", 1.0409),  # CAMB: without the factor of 100
        ("As", 2.1e-9, "logA", math.log(21.0)),
        ("omegabh2", 0.0224, "ombh2", 0.0224),  # GetDist's Planck chains
        ("omega_cdm", 0.12, "omch2", 0.12),  # CLASS
        ("n_s", 0.965, "ns", 0.965),  # CLASS
        ("h", 0.6736, "H0", 67.36),  # CLASS
    ],
)
def test_other_codes_spellings_are_translated(
    spelling: str, value: float, name: str, canonical: float
) -> None:
    got = canonical_parameters({spelling: value}, [*LCDM, "H0"])
    assert got == {name: pytest.approx(canonical, rel=1e-14)}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"omb2": 0.02}, "unknown parameter 'omb2'; did you mean 'ombh2'"),
        ({"zzz": 1}, r"unknown parameter 'zzz' \(known"),
        ({"As": 2e-9, "logA": 3.0}, "'logA' is given twice"),
        ({"cosmomc_theta": 0.0104, "theta_mc": 1.04}, "'theta_mc' is given twice"),
        ({"ns": math.nan}, "'ns': expected a finite number"),
        ({"ns": math.inf}, "'ns': expected a finite number"),
        ({"As": -2e-9}, "'As': expected a finite number in its range"),
        ({"H0": 67.0}, "unknown parameter 'H0'"),  # known to cmbfit, not allowed here
    ],
)
def test_unusable_values_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        canonical_parameters(values, LCDM)


def test_point_keeps_the_order_of_the_theory(emulator: LinearEmulator) -> None:
    theta = point_from_values(emulator, dict(reversed(POINT.items())))
    assert theta.tolist() == [[POINT[p] for p in emulator.parameters]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": None}, r"missing parameter\(s\): tau"),
        ({"H0": 67.4}, "either H0 or theta_mc"),
        ({"theta_mc": None, "ombh2": None, "H0": 67.4}, "'ombh2' is missing"),
        ({"theta_mc": None, "H0": 500.0}, "H0: expected km/s/Mpc between 20 and 150"),
        ({"mnu": 0.1}, "holds mnu = 0.06"),
        ({"nnu": 3.046}, "holds nnu = 3.044"),
        ({"nrun": 0.0}, "unknown parameter 'nrun'"),
    ],
)
def test_points_that_the_theory_cannot_hold_are_refused(
    emulator: LinearEmulator, change: dict[str, float | None], message: str
) -> None:
    values = {k: v for k, v in (POINT | change).items() if v is not None}
    with pytest.raises(ParameterError, match=message):
        point_from_values(emulator, values)


def test_the_fixed_values_themselves_may_be_given(emulator: LinearEmulator) -> None:
    same = point_from_values(emulator, POINT | {"mnu": 0.06, "nnu": 3.044})
    assert same.tolist() == point_from_values(emulator, POINT).tolist()


@pytest.mark.parametrize("h0", [55.0, 67.36, 80.0])
def test_theta_mc_from_h0_inverts_camb(h0: float) -> None:
    theta_mc = theta_mc_from_h0(h0, 0.0224, 0.12)
    pars = camb.set_params(
        ombh2=0.0224, omch2=0.12, cosmomc_theta=theta_mc / 100, mnu=0.06, nnu=3.044, tau=0.05,
        num_massive_neutrinos=1, TCMB=2.7255, bbn_predictor="PArthENoPE_880.2_standard.dat",
    )  # fmt: skip
    # CAMB's own search for H0 stops at 1e-5 relative
    assert pytest.approx(h0, rel=2e-5) == pars.H0


@pytest.mark.parametrize(
    "extended",
    [
        {},
        {"mnu": 0.0},
        {"mnu": 0.8},
        {"nnu": 2.0},
        {"omk": 0.1},
        {"omk": -0.1},
        {"w": -1.3, "wa": 0.4},
        {"YHe": 0.3},
    ],
)
@pytest.mark.parametrize(("h0", "ombh2", "omch2"), [(52.0, 0.019, 0.16), (83.0, 0.027, 0.09)])
def test_theta_mc_is_cambs_own(h0: float, ombh2: float, omch2: float, extended: dict[str, float]) -> None:
    """To 1e-6 of itself, three thousandths of Planck's error: CAMB's integrals and splines are good to 1e-7."""
    pars = camb_parameters(CambSettings(), ombh2=ombh2, omch2=omch2, tau=0.05, H0=h0, **extended)
    expected = 100 * camb.get_background(pars, no_thermo=True).cosmomc_theta()
    assert theta_mc_from_h0(h0, ombh2, omch2, **extended) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("values", [(10.0, 0.0224, 0.12), (67.0, -0.02, 0.12), (30.0, 0.0224, 0.12, 5.0)])
def test_no_angle_without_a_universe(values: tuple[float, ...]) -> None:
    """H0 that nobody can mean, negative baryons, and so much curvature that space closes on the way to last scattering."""
    h0, ombh2, omch2, *curvature = values
    with pytest.raises(ParameterError):
        theta_mc_from_h0(h0, ombh2, omch2, **({"omk": -curvature[0]} if curvature else {}))


def test_theta_mc_of_the_planck_best_fit() -> None:
    # Planck 2018 best fit (CosmoMC): H0 67.32 and 100 theta_MC 1.040909; d theta / d H0 = 0.003 per km/s/Mpc
    assert theta_mc_from_h0(67.32, 0.022383, 0.12011) == pytest.approx(1.040909, abs=1e-4)


def test_h0_may_stand_for_theta_mc(emulator: LinearEmulator) -> None:
    values = {k: v for k, v in POINT.items() if k != "theta_mc"} | {"H0": 67.36}
    theta = point_from_values(emulator, values)
    # the emulator's derived H0 closes the circle within its own error
    assert emulator.derived(theta)["H0"].item() == pytest.approx(67.36, rel=2e-4)


def test_camb_refuses_points_outside_its_range() -> None:
    theta = point_from_values(CambTheory(), POINT)
    theta[0, 2] = 1.5
    with pytest.raises(ParameterError, match=r"theta_mc = 1\.5 \(row 0\)"):
        CambTheory().spectra(theta)
    with pytest.raises(ParameterError, match=r"expected shape \(batch, 6\)"):
        check_box(theta[:, :5], LCDM, CambTheory().box)


def test_every_label_is_usable_between_dollars() -> None:
    for name, parameter in PARAMETERS.items():
        assert parameter.name == name
        assert "$" not in parameter.latex
        assert parameter.latex.count("{") == parameter.latex.count("}")
