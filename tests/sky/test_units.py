from __future__ import annotations

import pytest

from cmbfit.errors import MapError
from cmbfit.sky.units import factor_to_uk_cmb, rj_to_cmb


@pytest.mark.parametrize(
    ("unit", "factor"),
    [("K", 1e6), ("mK", 1e3), ("uK", 1.0), ("K_CMB", 1e6), ("Kcmb", 1e6), ("mK_CMB", 1e3), ("uK_CMB", 1.0),
     ("K (CMB)", 1e6), ("mK,thermodynamic", 1e3), ("mK, counts", None), ("mK_thermo", 1e3), (" uK ", 1.0), ("microK", 1.0), ("muK", 1.0), ("muK_CMB", 1.0), ("MuK", None),
     ("counts", None), ("", None), ("unknown", None), ("MK", None), ("mJy/sr", None), ("K^2", None)],
)  # fmt: skip
def test_units(unit: str, factor: float | None) -> None:
    if factor is None:
        with pytest.raises(MapError, match="expected K, mK"):
            factor_to_uk_cmb(unit, 100.0)
    else:
        assert factor_to_uk_cmb(unit) == factor


@pytest.mark.parametrize(
    ("ghz", "factor"),
    [(22.8, 1.0135), (44.1, 1.0513), (93.5, 1.2473), (143, 1.6536), (217, 2.9913), (353, 12.9055)],
)
def test_rayleigh_jeans_against_published_factors(ghz: float, factor: float) -> None:
    assert rj_to_cmb(ghz) == pytest.approx(factor, abs=6e-5)
    assert factor_to_uk_cmb("mK_RJ", ghz) == pytest.approx(1e3 * factor, rel=6e-5)


def test_brightness_against_planck_bandpass_value() -> None:
    # Planck 2013 IX: 58.04 MJy/sr per K_CMB at 545 GHz with the bandpass; monochromatic is close
    assert 1e6 / factor_to_uk_cmb("MJy/sr", 545.0) == pytest.approx(58.04, rel=0.02)
    assert factor_to_uk_cmb("kJy/sr", 545.0) == pytest.approx(1e-3 * factor_to_uk_cmb("MJy/sr", 545.0))


@pytest.mark.parametrize("unit", ["K_RJ", "MJy/sr"])
def test_needs_a_frequency(unit: str) -> None:
    with pytest.raises(MapError, match="needs a frequency"):
        factor_to_uk_cmb(unit)
