"""CLASS against CAMB: two codes of different authors, one physics; and how CLASS is driven."""

from __future__ import annotations

import sys
from dataclasses import replace

import camb
import numpy as np
import pytest

from cmbfit.errors import ConfigError, MissingCodeError, OutsideBoxError, ParameterError
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import PRESETS as CAMB_PRESETS
from cmbfit.theory.camb_code import CambSettings, CambTheory, camb_parameters
from cmbfit.theory.class_code import PRESETS, ClassSettings, ClassTheory, class_parameters, get_preset
from cmbfit.theory.parameters import DERIVED
from cmbfit.theory.spectra import Spectra

POINT = {
    "ombh2": 0.02237,
    "omch2": 0.12,
    "theta_mc": 1.0409,
    "tau": 0.0544,
    "logA": 3.044,
    "ns": 0.9649,
}
CAMB_SMALL = CambSettings(lmax=300, lens_potential_accuracy=1)
SMALL = ClassSettings(300, "RECFAST", "2015", CAMB_SMALL)


@pytest.fixture(scope="module")
def classy() -> None:
    pytest.importorskip("classy", reason="CLASS's Python module classy is not installed")


def _sigma(spectra: Spectra, pair: str) -> np.ndarray:
    """One multipole's cosmic variance of the full sky."""
    tt, ee, te = (spectra.dl[p][0].numpy() for p in ("tt", "ee", "te"))
    ell = np.arange(len(tt))
    if pair == "te":
        return np.sqrt((tt * ee + te**2) / (2 * ell + 1))
    return np.sqrt(2 / (2 * ell + 1)) * spectra.dl[pair][0].numpy()


def _difference(a: Spectra, b: Spectra, pair: str, low: int, high: int) -> float:
    """Largest |a - b| in cosmic-variance sigmas of one multipole."""
    x = np.abs((a.dl[pair] - b.dl[pair])[0].numpy()[low : high + 1])
    return float((x / _sigma(b, pair)[low : high + 1]).max())


def _same_derived(a: Spectra, b: Spectra, sigma8: float = 3e-4) -> None:
    """The definitions are one: 1e-6 in what geometry fixes, 3e-4 where the matter power is integrated."""
    tolerance = {"H0": 1e-12, "omegam": 1e-5, "thetastar": 2e-5, "rdrag": 1e-4, "age": 5e-5, "zrei": 5e-4}
    for name in DERIVED:
        expected = b.parameters[name].item()
        assert a.parameters[name].item() == pytest.approx(expected, rel=tolerance.get(name, sigma8)), name


def test_class_agrees_with_camb(classy: None) -> None:
    """Default precision of both, l <= 300: 0.2% or 0.05 cosmic-variance sigma of one multipole."""
    a, b = ClassTheory(SMALL), CambTheory(CAMB_SMALL)
    point = point_from_values(a, POINT)
    got, expected = a.spectra(point), b.spectra(point)
    for pair in ("tt", "ee", "te"):
        assert _difference(got, expected, pair, 2, 300) < 0.05, pair
    np.testing.assert_allclose(got.dl["tt"][0, 2:], expected.dl["tt"][0, 2:], rtol=3e-3)
    np.testing.assert_allclose(got.dl["pp"][0, 2:], expected.dl["pp"][0, 2:], rtol=5e-3)
    assert (got.dl["tt"][0, :2] == 0).all()
    _same_derived(got, expected)


def test_input_of_class() -> None:
    """Written down once more: neutrinos as CAMB has them, no fluid where a cosmological constant is meant."""
    words = class_parameters(SMALL, POINT)
    assert words["N_ur"] == pytest.approx(3.044 * 2 / 3)
    assert words["T_ncdm"] == pytest.approx(0.71377 * (3.044 / 3) ** 0.25, rel=1e-5)
    more = class_parameters(SMALL, POINT | {"nnu": 3.3})
    assert more["N_ur"] == pytest.approx(3.3 - 3.044 / 3)
    assert more["T_ncdm"] == words["T_ncdm"]
    assert "w0_fld" not in words
    assert words["modes"] == "s"
    assert class_parameters(SMALL, POINT | {"mnu": 0.0})["N_ur"] == 3.044
    tensors = class_parameters(SMALL, POINT | {"r": 0.1})
    assert (tensors["modes"], tensors["n_t"]) == ("s,t", "scc")


def test_what_class_cannot_do_is_a_typed_error(classy: None, monkeypatch: pytest.MonkeyPatch) -> None:
    theory = ClassTheory(SMALL)
    with pytest.raises(OutsideBoxError, match="tau"):
        theory.spectra(point_from_values(theory, POINT | {"tau": 0.9}))
    broken = ClassTheory(replace(SMALL, precision=(("l_linstep", "many"),)))
    with pytest.raises(ParameterError, match="CLASS failed at"):
        broken.spectra(point_from_values(theory, POINT))
    with pytest.raises(ConfigError, match="recombination"):
        replace(SMALL, recombination="Peebles")
    with pytest.raises(ConfigError, match="did you mean 'high'"):
        get_preset("hihg")
    monkeypatch.setitem(sys.modules, "classy", None)
    with pytest.raises(MissingCodeError, match="pip install"):
        ClassTheory(SMALL)


def test_expansion_of_the_extensions(classy: None) -> None:
    """H(z) from dark energy to nucleosynthesis, everything varied: 2e-5, the two codes' physical constants.

    The neutrinos' share of N_eff at another temperature would show as 3e-4 in the matter density.
    """
    import classy as code

    point = POINT | {"mnu": 0.2, "nnu": 3.3, "w": -0.9, "wa": 0.1, "omk": 0.01}
    results = camb.get_background(camb_parameters(CAMB_SMALL, **point), no_thermo=True)
    cosmo = code.Class()
    cosmo.set(class_parameters(SMALL, point))
    cosmo.compute(level=["background"])
    z = np.array([0.0, 0.5, 2.0, 30.0, 1100.0, 1e4, 1e6])
    np.testing.assert_allclose([cosmo.Hubble(x) for x in z], results.h_of_z(z), rtol=2e-5)
    assert cosmo.Neff() == pytest.approx(3.3, rel=2e-5)


def _check_response(got: tuple[Spectra, Spectra], expected: tuple[Spectra, Spectra]) -> None:
    """Compare (extended - LCDM) of CLASS with CAMB's, in cosmic-variance sigmas of one multipole.

    0.02 is 0.1% of a spectrum at l = 300, the accuracy that the authors state. 3% of the response is what
    reionisation leaves open in the polarisation of tensors (1.4% of their BB at l = 13).
    """
    largest = []
    for pair in ("tt", "ee", "te"):
        sigma = _sigma(expected[0], pair)[2:]
        a, b = ((x[1].dl[pair] - x[0].dl[pair])[0].numpy()[2:] / sigma for x in (got, expected))
        largest.append(np.abs(b).max())
        assert np.abs(a - b).max() < 0.02 + 0.03 * largest[-1], pair
    assert max(largest) > 0.2, "the step is too small to tell anything"


@pytest.fixture(scope="module")
def bases(classy: None) -> tuple[Spectra, Spectra]:
    """LCDM without lensing by CLASS and CAMB."""
    a, b = ClassTheory(SMALL, lensed=False), CambTheory(CAMB_SMALL, lensed=False)
    point = point_from_values(a, POINT)
    return a.spectra(point), b.spectra(point)


@pytest.mark.slow
@pytest.mark.parametrize(
    "step",
    [
        {"mnu": 0.6},
        {"nnu": 3.6},
        {"omk": 0.03},
        {"w": -0.6},
        {"w": -0.8, "wa": 0.5},
        {"YHe": 0.35},
        {"nrun": 0.02},
        {"r": 0.1},
        {"r": 0.1, "nt": 0.3},
        {"mnu": 0.2, "nnu": 3.3, "w": -0.9, "wa": 0.1, "nrun": 0.01, "r": 0.1},
    ],
    ids="-".join,
)
def test_response_to_extensions(bases: tuple[Spectra, Spectra], step: dict[str, float]) -> None:
    """One extension after the other, without lensing, l <= 300."""
    a = ClassTheory(SMALL, tuple(step), lensed=False)
    point = point_from_values(a, POINT | step)
    got, expected = a.spectra(point), CambTheory(CAMB_SMALL, tuple(step), lensed=False).spectra(point)
    _check_response((bases[0], got), (bases[1], expected))
    # CLASS's default treats massive neutrinos as a fluid late: 0.5% of sigma_8 for each eV
    _same_derived(got, expected, sigma8=1.5e-3 + 6e-3 * step.get("mnu", 0.0))
    if "r" in step:  # reionisation differs by 1.4% at l = 13
        np.testing.assert_allclose(got.dl["bb"][0, 2:301], expected.dl["bb"][0, 2:301], rtol=0.02)
        np.testing.assert_allclose(got.dl["bb"][0, 35:301], expected.dl["bb"][0, 35:301], rtol=0.012)


@pytest.mark.slow
def test_tensors_agree_to_where_camb_ends_them(classy: None) -> None:
    """BB of tensors alone, to 3% at every l (the troughs differ most) and 0.5% at half of them.

    Cut off in k as CAMB does by itself it would be 5% low at the median l of 300 to 550.
    """
    small = replace(SMALL, lmax=600, camb=replace(CAMB_SMALL, lmax=600))
    a, b = (ClassTheory(small, ("r",), lensed=False), CambTheory(small.camb, ("r",), lensed=False))
    point = point_from_values(a, POINT | {"r": 0.1})
    got, expected = a.spectra(point).dl["bb"][0], b.spectra(point).dl["bb"][0]
    ratio = (expected / got).numpy()[35:551] - 1
    assert np.abs(ratio).max() < 0.03
    assert np.median(np.abs(ratio[:265])) < 0.005
    assert np.median(np.abs(ratio[265:])) < 0.015


@pytest.mark.slow
def test_response_to_lensing_amplitude(classy: None) -> None:
    """A_L scales the potential handed out and BB by the same factor in both codes."""
    camb_settings = CambSettings(lmax=2000, lens_potential_accuracy=2)
    settings = replace(SMALL, lmax=2000, camb=camb_settings)
    a, b = ClassTheory(settings, ("Alens",)), CambTheory(camb_settings, ("Alens",))
    points = [point_from_values(a, POINT | {"Alens": x}) for x in (1.0, 1.2)]
    got, expected = (tuple(theory.spectra(x) for x in points) for theory in (a, b))
    _check_response(got, expected)
    for low, high in (got, expected):
        np.testing.assert_allclose(high.dl["pp"][0, 2:], 1.2 * low.dl["pp"][0, 2:], rtol=1e-9)
    a_bb, b_bb = (x[1].dl["bb"][0, 2:1501] / x[0].dl["bb"][0, 2:1501] for x in (got, expected))
    np.testing.assert_allclose(a_bb, b_bb, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["planck2018", "high"])
def test_presets_of_both_codes_agree(classy: None, preset: str) -> None:
    """The authors state 0.1%; at `high` TT and EE reach it to l = 4000.

    planck2018 is both codes at their default precision: 0.1 cosmic-variance sigma to l = 2500. CLASS at its default
    misses 5% of BB at 2500 (lensing power from higher l), and 1.7% of the potential.
    """
    theory = ClassTheory(PRESETS[preset])
    point = point_from_values(theory, POINT)
    got, expected = theory.spectra(point), CambTheory(CAMB_PRESETS[preset]).spectra(point)
    _same_derived(got, expected)
    limits = {"planck2018": ((2500, 0.1),), "high": ((2500, 0.06), (4000, 0.08), (5000, 0.2))}
    for lmax, limit in limits[preset]:
        for pair in ("tt", "ee", "te"):
            assert _difference(got, expected, pair, 2, lmax) < limit, (pair, lmax)
    if preset == "high":
        for pair in ("tt", "ee"):
            np.testing.assert_allclose(got.dl[pair][0, 30:4001], expected.dl[pair][0, 30:4001], rtol=1.2e-3)
        np.testing.assert_allclose(got.dl["bb"][0, 30:4001], expected.dl["bb"][0, 30:4001], rtol=4e-3)
        np.testing.assert_allclose(got.dl["pp"][0, 30:2001], expected.dl["pp"][0, 30:2001], rtol=4e-3)
