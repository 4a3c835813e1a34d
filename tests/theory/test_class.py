"""CLASS against CAMB: two codes of different authors, one physics; and how CLASS is driven."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from cmbfit.errors import ConfigError, MissingCodeError, OutsideBoxError, ParameterError
from cmbfit.theory.base import point_from_values
from cmbfit.theory.camb_code import PRESETS as CAMB_PRESETS
from cmbfit.theory.camb_code import CambSettings, CambTheory
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


def _same_derived(a: Spectra, b: Spectra) -> None:
    """The definitions are one: 1e-6 in what geometry fixes, 3e-4 where the matter power is integrated."""
    tolerance = {"H0": 1e-12, "omegam": 1e-5, "thetastar": 2e-5, "rdrag": 1e-4, "age": 5e-5, "zrei": 5e-4}
    for name in DERIVED:
        expected = b.parameters[name].item()
        assert a.parameters[name].item() == pytest.approx(expected, rel=tolerance.get(name, 3e-4)), name


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
